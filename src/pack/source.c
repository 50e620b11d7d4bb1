/* Owns the two kinds of source of an export. Does not know the formats that are made of them. */
#include "pack/source.h"

#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "pack/block_file.h"
#include "pack/format.h"
#include "pack/run_model.h"

struct pons_pack_source {
    char *path, *files;
    json_t *manifest;
    pons_model_config config;
    int64_t layer;     /* of the open block */
    pons_model *model; /* an output directory; NULL: RUN, with the following */
    json_t *run;
    pons_ends *ends;
    pons_block_file *block;
};

/* ---- Opening. */

static pons_status read_json(const char *directory, const char *name, json_t **out)
{
    char *path = pons_mem_printf("%s/%s", directory, name);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_json_read(path, out);
    pons_mem_free(path);
    return st;
}

static pons_status open_run(pons_pack_source *s)
{
    pons_status st = PONS_OK;
    char *config = NULL, *ends = NULL;
    s->files = pons_mem_printf("%s/model", s->path);
    config = pons_mem_printf("%s/model/config.json", s->path);
    ends = pons_mem_printf("%s/model/ends.safetensors", s->path);
    if (!s->files || !config || !ends) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, read_json(s->files, "run.json", &s->run));
    int64_t layout = json_integer_value(json_object_get(s->run, "layout"));
    if (layout != PONS_BLOCK_LAYOUT)
        PONS_TRY(st, pons_fail(PONS_ERR_INPUT, "%s/run.json: layout: found %lld, allowed: %d",
                               s->files, (long long)layout, PONS_BLOCK_LAYOUT));
    PONS_TRY(st, pons_model_config_read(config, &s->config));
    PONS_TRY(st, pons_ends_open(ends, &s->config, &s->ends));
    s->config.tied = pons_ends_tied(s->ends);
    size_t blocks = json_array_size(json_object_get(s->run, "checksums"));
    if (blocks != (size_t)s->config.layers)
        st = pons_fail(PONS_ERR_INPUT, "%s/run.json: checksums: found %zu, allowed: %lld", s->files,
                       blocks, (long long)s->config.layers);
done:
    pons_mem_free(ends);
    pons_mem_free(config);
    return st;
}

static pons_status open_output(pons_pack_source *s)
{
    pons_status st = PONS_OK;
    s->files = pons_mem_strdup(s->path);
    if (!s->files) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_model_open(s->path, &s->model));
    s->config = *pons_model_get_config(s->model);
done:
    return st;
}

static pons_status open_either(pons_pack_source *s)
{
    pons_status st = PONS_OK;
    char *journal = pons_mem_printf("%s/journal.jsonl", s->path);
    char *manifest = pons_mem_printf("%s/pons.json", s->path);
    bool run = pons_run_model_exists(s->path);
    if (!journal || !manifest)
        st = PONS_ERR_NOMEM;
    else if (run)
        st = open_run(s);
    else if (pons_file_exists(manifest))
        st = open_output(s);
    else if (pons_file_exists(journal))
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: found a run that did not finish, or whose blocks were not kept; "
                       "allowed: a finished run, or an output directory",
                       s->path);
    else
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: found neither a state directory nor an output directory of Pons",
                       s->path);
    if (st == PONS_OK) st = read_json(s->files, run ? "manifest.json" : "pons.json", &s->manifest);
    pons_mem_free(manifest);
    pons_mem_free(journal);
    return st;
}

pons_status pons_pack_source_open(const char *path, pons_pack_source **out)
{
    pons_status st = PONS_OK;
    pons_pack_source *s = NULL;
    PONS_CALLOC(st, s, 1);
    s->path = pons_mem_strdup(path);
    if (!s->path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, open_either(s));
    json_object_del(s->manifest, "files");
    *out = s;
    s = NULL;
done:
    pons_pack_source_close(&s);
    return st;
}

void pons_pack_source_close(pons_pack_source **source)
{
    pons_pack_source *s = *source;
    if (!s) return;
    pons_block_file_close(&s->block);
    pons_ends_close(&s->ends);
    pons_model_close(&s->model);
    json_decref(s->run);
    json_decref(s->manifest);
    pons_mem_free(s->files);
    pons_mem_free(s->path);
    pons_mem_free(s);
    *source = NULL;
}

const pons_model_config *pons_pack_source_config(const pons_pack_source *s) { return &s->config; }
const char *pons_pack_source_files(const pons_pack_source *s) { return s->files; }
const json_t *pons_pack_source_manifest(const pons_pack_source *s) { return s->manifest; }

const char *pons_pack_source_format(const pons_pack_source *s)
{
    const json_t *exported = json_object_get(s->manifest, "export");
    const char *name = json_string_value(json_object_get(exported ? exported : s->run, "format"));
    if (name) return name;
    return s->model && !pons_model_is_packed(s->model) ? PONS_FORMAT_DENSE
                                                       : PONS_FORMAT_COMPRESSED_TENSORS;
}

/* ---- Blocks. */

pons_status pons_pack_source_open_block(pons_pack_source *s, int64_t layer)
{
    pons_status st = PONS_OK;
    char *path = NULL;
    s->layer = layer;
    if (s->model) return PONS_OK;
    pons_block_file_close(&s->block);
    path = pons_block_file_path(s->path, layer);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_block_file_open(path, &s->config, layer, &s->block));
    const json_t *sums = json_object_get(s->run, "checksums");
    const char *expected = json_string_value(json_array_get(sums, (size_t)layer));
    if (!expected || strcmp(expected, pons_block_file_checksum(s->block)))
        st = pons_fail(PONS_ERR_INPUT, "%s: is not the block of this run: checksum %s, allowed: %s",
                       path, pons_block_file_checksum(s->block), expected ? expected : "none");
done:
    pons_mem_free(path);
    return st;
}

pons_pack_scheme pons_pack_source_scheme(const pons_pack_source *s, int linear)
{
    if (!s->model) return *pons_block_file_scheme(s->block, linear);
    pons_pack_scheme scheme = {0};
    int64_t groups, rows, cols;
    pons_linear_shape(&s->config, linear, &rows, &cols);
    pons_model_linear_format(s->model, s->layer, linear, &scheme.bits, &groups, &scheme.symmetric);
    if (scheme.bits < 16 && groups > 1) scheme.group_size = cols / groups;
    return scheme;
}

pons_status pons_pack_source_codes(const pons_pack_source *s, int linear, int8_t *codes,
                                   float *scale, int8_t *zero)
{
    return s->model ? pons_model_read_codes(s->model, s->layer, linear, codes, scale, zero)
                    : pons_block_file_read_codes(s->block, linear, codes, scale, zero);
}

pons_status pons_pack_source_values(const pons_pack_source *s, int linear, float *W)
{
    int64_t rows, cols;
    pons_linear_shape(&s->config, linear, &rows, &cols);
    return s->model ? pons_model_read_linear(s->model, s->layer, linear, 0, rows, W)
                    : pons_block_file_read_values(s->block, linear, W);
}

pons_status pons_pack_source_bias(const pons_pack_source *s, int linear, float *bias, bool *present)
{
    int64_t rows, cols;
    if (s->model) return pons_model_read_bias(s->model, s->layer, linear, bias, present);
    const float *given = pons_block_file_bias(s->block, linear);
    pons_linear_shape(&s->config, linear, &rows, &cols);
    *present = given != NULL;
    if (given) memcpy(bias, given, (size_t)rows * sizeof *bias);
    return PONS_OK;
}

pons_status pons_pack_source_gains(const pons_pack_source *s, float *gains)
{
    if (s->model) return pons_model_read_gains(s->model, s->layer, gains);
    memcpy(gains, pons_block_file_gains(s->block),
           (size_t)pons_gain_floats(&s->config) * sizeof *gains);
    return PONS_OK;
}

/* ---- Ends. */

static pons_status embedding_rows(void *user, int64_t row, int64_t n, float *out)
{
    const pons_pack_source *s = user;
    return s->model ? pons_model_read_embedding_rows(s->model, row, n, out)
                    : pons_ends_embedding_rows(s->ends, row, n, out);
}

static pons_status head_rows(void *user, int64_t row, int64_t n, float *out)
{
    const pons_pack_source *s = user;
    return s->model ? pons_model_read_head_rows(s->model, row, n, out)
                    : pons_ends_head_rows(s->ends, row, n, out);
}

pons_status pons_pack_source_ends(pons_pack_source *s, float *gain, pons_ends_source *out)
{
    *out = (pons_ends_source){.embedding = embedding_rows,
                              .head = s->config.tied ? NULL : head_rows,
                              .user = s,
                              .final_norm = gain};
    return s->model ? pons_model_read_final_norm(s->model, gain)
                    : pons_ends_final_norm(s->ends, gain);
}
