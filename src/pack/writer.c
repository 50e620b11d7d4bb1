/*
 * Owns the life of an output directory: staged, or found as an earlier process left it, filled shard by
 * shard, checked by reading back, then committed, left for a later process, or abandoned without a trace.
 *
 * Invariants: everything is under OUT.part until commit; a block is written, or adopted, once; a commit
 * happens only when every block and the ends are written and read back equal to what was given.
 */
#include "pack/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/fault.h"
#include "base/mem.h"
#include "io/file.h"
#include "model/tensors.h"
#include "model/transforms.h"
#include "pack/companions.h"
#include "pack/output_config.h"
#include "pack/shard.h"
#include "pack/verify.h"

struct pons_pack_writer {
    char *out, *part;
    const pons_model *source; /* not owned */
    pons_dtype dtype;
    bool dense, untie;
    pons_model_config config; /* of the output */
    pons_pack_scheme *scheme; /* [layers, linears] of the blocks that are written */
    bool *written;            /* [layers + 1]; last: the ends */
    uint64_t *sum;            /* [layers + 1]: checksums of what was given */
    json_t *files;            /* shard name -> SHA-256 of its bytes */
    pons_shard_index index;
};

static void destroy(pons_pack_writer **writer)
{
    pons_pack_writer *w = *writer;
    if (!w) return;
    json_decref(w->files);
    json_decref(w->index.weight_map);
    pons_mem_free(w->sum);
    pons_mem_free(w->written);
    pons_mem_free(w->scheme);
    pons_mem_free(w->part);
    pons_mem_free(w->out);
    pons_mem_free(w);
    *writer = NULL;
}

/* --force may replace an older output, never the model that is being read. */
static pons_status refuse_source(const char *out, const pons_model *source)
{
    char *a = realpath(out, NULL), *b = realpath(pons_model_path(source), NULL);
    bool same = a && b && !strcmp(a, b);
    free(b);
    free(a);
    return same ? pons_fail(PONS_ERR_EXISTS, "%s: the output directory is the model that is read",
                            out)
                : PONS_OK;
}

static pons_status find_staged(const char *out, char **part)
{
    char *path = pons_dir_beside(out, ".part");
    if (!path) return PONS_ERR_NOMEM;
    if (!pons_dir_exists(path)) {
        pons_status st =
            pons_fail(PONS_ERR_INPUT,
                      "%s: the blocks that were finished are not there; was it --out %s "
                      "that they were written for?",
                      path, out);
        pons_mem_free(path);
        return st;
    }
    *part = path;
    return PONS_OK;
}

pons_status pons_pack_writer_create(const char *out, pons_pack_staging staging,
                                    const pons_model *source, const pons_recipe *recipe, bool untie,
                                    pons_pack_writer **writer)
{
    pons_status st = PONS_OK;
    pons_pack_writer *w = NULL;
    PONS_TRY(st, refuse_source(out, source));
    PONS_CALLOC(st, w, 1);
    w->source = source;
    w->config = *pons_model_get_config(source);
    w->config.dtype = recipe->output.dtype;
    w->dtype = recipe->output.dtype;
    w->dense = recipe->output.format == PONS_OUTPUT_DENSE;
    w->untie = untie;
    w->out = pons_mem_strdup(out);
    w->index.weight_map = json_object();
    w->files = json_object();
    if (!w->out || !w->index.weight_map || !w->files) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_CALLOC(st, w->scheme, w->config.layers * w->config.arch->linears);
    PONS_CALLOC(st, w->written, w->config.layers + 1);
    PONS_CALLOC(st, w->sum, w->config.layers + 1);
    if (staging == PONS_PACK_CONTINUE)
        PONS_TRY(st, find_staged(out, &w->part));
    else
        PONS_TRY(st, pons_dir_stage(out, staging == PONS_PACK_REPLACE, &w->part));
    *writer = w;
    w = NULL;
done:
    destroy(&w);
    return st;
}

/* Shard 1 holds embedding, final norm and head; block n is in shard n + 2. */
static void shard_name(const pons_pack_writer *w, int64_t shard, char name[64])
{
    snprintf(name, 64, "model-%05lld-of-%05lld.safetensors", (long long)shard,
             (long long)(w->config.layers + 1));
}

char *pons_pack_shard_path(const char *out, const pons_model_config *config, int64_t layer)
{
    char name[64], *part = pons_dir_beside(out, ".part"), *path = NULL;
    const pons_pack_writer named = {.config = *config};
    shard_name(&named, layer + 2, name);
    if (part) path = pons_mem_printf("%s/%s", part, name);
    pons_mem_free(part);
    return path;
}

const char *pons_pack_writer_sha256(const pons_pack_writer *w, int64_t layer)
{
    char name[64];
    shard_name(w, layer + 2, name);
    return json_string_value(json_object_get(w->files, name));
}

/* Note the SHA-256 of a finished shard. */
static pons_status note_sha256(pons_pack_writer *w, const char *file)
{
    char hex[65], *path = pons_mem_printf("%s/%s", w->part, file);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_file_digest(path, hex);
    if (st == PONS_OK && json_object_set_new(w->files, file, json_string(hex)))
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for %s", path);
    pons_mem_free(path);
    return st;
}

/* ---- Blocks. */

/* What config.json will say of a linear. */
static pons_status keep_scheme(pons_pack_writer *w, int64_t layer, const pons_pack_linear *p)
{
    pons_pack_scheme given = {p->bits, p->bits == 16 || p->symmetric,
                              p->bits == 16 ? 0 : p->group_size};
    int64_t rows, cols;
    pons_linear_shape(&w->config, p->linear, &rows, &cols);
    if (given.group_size == cols) given.group_size = 0;
    if (given.group_size && cols % given.group_size)
        return pons_fail(PONS_ERR_SHAPE,
                         "%s: group_size %lld does not divide the %lld columns of %s", w->out,
                         (long long)given.group_size, (long long)cols,
                         w->config.arch->linear[p->linear].short_name);
    w->scheme[layer * w->config.arch->linears + p->linear] = given;
    return PONS_OK;
}

static pons_shard_tensor named(pons_shard_kind kind, int64_t layer, const char *module,
                               const char *suffix, int64_t rows, int64_t cols)
{
    pons_shard_tensor t = {.kind = kind, .rows = rows, .cols = cols};
    snprintf(t.name, sizeof t.name, "model.layers.%lld.%s.%s", (long long)layer, module, suffix);
    return t;
}

/* Tensors of one linear; returns how many. */
static int list_linear(const pons_pack_writer *w, int64_t layer, const pons_pack_linear *p,
                       pons_shard_tensor *t)
{
    int n = 0;
    int64_t rows, cols;
    const char *module = w->config.arch->linear[p->linear].name;
    pons_linear_shape(&w->config, p->linear, &rows, &cols);
    if (p->bits == 16) {
        t[n] = named(PONS_SHARD_REALS, layer, module, "weight", rows, cols);
        t[n++].values = p->value;
    } else {
        int64_t groups = p->group_size ? cols / p->group_size : 1;
        t[n++] = named(PONS_SHARD_SHAPE, layer, module, "weight_shape", rows, cols);
        t[n] = named(PONS_SHARD_CODES, layer, module, "weight_packed", rows, cols);
        t[n].bits = p->bits;
        t[n++].codes = p->codes;
        t[n] = named(PONS_SHARD_SCALES, layer, module, "weight_scale", rows, groups);
        t[n++].values = p->scale;
        if (!p->symmetric) {
            t[n] = named(PONS_SHARD_ZEROS, layer, module, "weight_zero_point", rows, groups);
            t[n].bits = p->bits;
            t[n++].codes = p->zero;
        }
    }
    if (p->bias) {
        t[n] = named(PONS_SHARD_REALS, layer, module, "bias", 0, rows);
        t[n++].values = p->bias;
    }
    return n;
}

pons_status pons_pack_writer_block(pons_pack_writer *w, int64_t layer,
                                   const pons_pack_linear *linears, const float *gains)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = &w->config;
    const pons_arch *arch = c->arch;
    pons_pack_linear *stored = NULL;
    pons_shard_tensor *tensors = NULL;
    int count = 0;
    char file[64];
    PONS_ASSERT(layer >= 0 && layer < c->layers && !w->written[layer]);
    PONS_ALLOC(st, tensors, 5 * arch->linears + arch->gains);
    PONS_ALLOC(st, stored, arch->linears);
    for (int l = 0; l < arch->linears; l++) {
        PONS_ASSERT(linears[l].linear == l && !linears[l].bias == !pons_linear_has_bias(c, l));
        stored[l] = linears[l];
        if (w->dense) stored[l].bits = 16;
        PONS_TRY(st, keep_scheme(w, layer, &stored[l]));
        count += list_linear(w, layer, &stored[l], tensors + count);
    }
    for (int g = 0; g < arch->gains; g++) {
        tensors[count] = named(PONS_SHARD_REALS, layer, arch->gain[g].name, "weight", 0,
                               pons_width_of(c, arch->gain[g].width));
        tensors[count++].values = gains + pons_gain_offset(c, g);
    }
    shard_name(w, layer + 2, file);
    PONS_TRY(st, pons_shard_write(w->part, file, w->dtype, tensors, count, &w->index));
    PONS_TRY(st, pons_verify_given(&w->config, w->dtype, stored, gains, &w->sum[layer]));
    PONS_TRY(st, note_sha256(w, file));
    w->written[layer] = true;
done:
    pons_mem_free(stored);
    pons_mem_free(tensors);
    return st;
}

/* ---- Blocks of an earlier process. */

/* What config.json and the index say of a block, from its shard. */
static pons_status enter_shard(pons_pack_writer *w, int64_t layer, const char *file,
                               const pons_model *block)
{
    pons_status st = PONS_OK;
    for (int l = 0; l < w->config.arch->linears; l++) {
        const pons_linear_tensors *t = pons_model_linear(block, layer, l);
        pons_pack_linear p = {
            .linear = l, .bits = t->bits, .symmetric = !t->zero, .group_size = t->group_size};
        PONS_TRY(st, keep_scheme(w, layer, &p));
    }
    PONS_TRY(st, pons_shard_index_enter(&w->index, file, pons_model_store(block)));
done:
    return st;
}

pons_status pons_pack_writer_adopt(pons_pack_writer *w, int64_t layer, const char *sha256)
{
    pons_status st = PONS_OK;
    pons_model *block = NULL;
    char file[64], *path = NULL;
    PONS_ASSERT(layer >= 0 && layer < w->config.layers && !w->written[layer]);
    shard_name(w, layer + 2, file);
    path = pons_mem_printf("%s/%s", w->part, file);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, note_sha256(w, file));
    if (strcmp(pons_pack_writer_sha256(w, layer), sha256)) {
        st =
            pons_fail(PONS_ERR_INPUT, "%s: SHA-256 is not the one noted when it was written", path);
        goto done;
    }
    PONS_TRY(st, pons_model_open_block(path, &w->config, layer, &block));
    PONS_TRY(st, pons_verify_read(block, layer, &w->sum[layer]));
    PONS_TRY(st, enter_shard(w, layer, file, block));
    w->written[layer] = true;
done:
    pons_model_close(&block);
    pons_mem_free(path);
    return st;
}

static bool is_adopted(const char *name, const void *user)
{
    const pons_pack_writer *w = user;
    char file[64];
    for (int64_t layer = 0; layer < w->config.layers; layer++) {
        shard_name(w, layer + 2, file);
        if (w->written[layer] && !strcmp(file, name)) return true;
    }
    return false;
}

pons_status pons_pack_writer_sweep(pons_pack_writer *w)
{
    return pons_dir_clean(w->part, is_adopted, w);
}

/* ---- Embedding, final norm, head. */

/* Passes rows through and checksums them as they will be stored. */
typedef struct summing_reader {
    pons_pack_rows rows;
    void *user;
    pons_dtype dtype;
    int64_t cols;
    uint64_t *sum;
} summing_reader;

static pons_status read_and_sum(void *user, int64_t row, int64_t n, float *out)
{
    const summing_reader *r = user;
    pons_status st = r->rows(r->user, row, n, out);
    if (st != PONS_OK) return st;
    pons_dtype_round(r->dtype, out, n * r->cols);
    *r->sum = pons_checksum(*r->sum, out, (size_t)(n * r->cols) * sizeof *out);
    return PONS_OK;
}

pons_status pons_pack_writer_ends(pons_pack_writer *w, pons_pack_rows embedding,
                                  pons_pack_rows head, void *user, const float *final_norm)
{
    pons_status st = PONS_OK;
    int64_t hidden = w->config.hidden;
    uint64_t s = 0;
    summing_reader readers[2] = {{embedding, user, w->dtype, hidden, &s},
                                 {head, user, w->dtype, hidden, &s}};
    pons_shard_tensor tensors[3];
    float *gain = NULL;
    char file[64];
    int count = 0;
    PONS_ASSERT(head ? true : w->config.tied && !w->untie);
    w->config.tied = !head;
    tensors[count++] = (pons_shard_tensor){.name = "model.embed_tokens.weight",
                                           .kind = PONS_SHARD_READER,
                                           .rows = w->config.vocab,
                                           .cols = hidden,
                                           .reader = read_and_sum,
                                           .user = &readers[0]};
    if (head) {
        tensors[count] = tensors[0];
        snprintf(tensors[count].name, sizeof tensors[count].name, "lm_head.weight");
        tensors[count++].user = &readers[1];
    }
    tensors[count++] = (pons_shard_tensor){.name = "model.norm.weight",
                                           .kind = PONS_SHARD_REALS,
                                           .cols = hidden,
                                           .values = final_norm};
    PONS_ALLOC(st, gain, hidden);
    memcpy(gain, final_norm, (size_t)hidden * sizeof *gain);
    pons_dtype_round(w->dtype, gain, hidden);
    shard_name(w, 1, file);
    PONS_TRY(st, pons_shard_write(w->part, file, w->dtype, tensors, count, &w->index));
    PONS_TRY(st, note_sha256(w, file));
    w->sum[w->config.layers] = pons_checksum(s, gain, (size_t)hidden * sizeof *gain);
    w->written[w->config.layers] = true;
done:
    pons_mem_free(gain);
    return st;
}

/* The same checksum from disk. */
static pons_status verify_ends(const pons_model *model, uint64_t *sum)
{
    enum { ROWS = 256 };
    pons_status st = PONS_OK;
    uint64_t s = 0;
    float *panel = NULL;
    const pons_model_config *c = pons_model_get_config(model);
    PONS_ALLOC(st, panel, ROWS * c->hidden);
    for (int pass = 0; pass < (c->tied ? 1 : 2); pass++)
        for (int64_t row = 0; row < c->vocab; row += ROWS) {
            int64_t n = c->vocab - row < ROWS ? c->vocab - row : ROWS;
            PONS_TRY(st, pass ? pons_model_read_head_rows(model, row, n, panel)
                              : pons_model_read_embedding_rows(model, row, n, panel));
            s = pons_checksum(s, panel, (size_t)(n * c->hidden) * sizeof *panel);
        }
    PONS_TRY(st, pons_model_read_final_norm(model, panel));
    *sum = pons_checksum(s, panel, (size_t)c->hidden * sizeof *panel);
done:
    pons_mem_free(panel);
    return st;
}

pons_status pons_pack_writer_transforms(pons_pack_writer *w, const float *blocks)
{
    return pons_transforms_write(w->part, &w->config, blocks);
}

/* ---- Commit. */

static pons_status verify(const pons_pack_writer *w)
{
    pons_status st = PONS_OK;
    pons_model *model = NULL;
    uint64_t sum = 0;
    PONS_TRY(st, pons_model_open(w->part, &model));
    for (int64_t layer = 0; layer <= w->config.layers; layer++) {
        bool ends = layer == w->config.layers;
        PONS_TRY(st, ends ? verify_ends(model, &sum) : pons_verify_read(model, layer, &sum));
        if (sum != w->sum[layer]) {
            char file[64];
            shard_name(w, ends ? 1 : layer + 2, file);
            st = pons_fail(PONS_ERR_IO, "%s/%s: what was read back is not what was written",
                           w->part, file);
            goto done;
        }
    }
done:
    pons_model_close(&model);
    return st;
}

/* The manifest, with the SHA-256 of every shard in order of their names. */
static pons_status write_manifest(const pons_pack_writer *w, json_t *manifest)
{
    json_t *files = json_object();
    char file[64], *path = pons_mem_printf("%s/pons.json", w->part);
    bool ok = path && files;
    for (int64_t shard = 1; ok && shard <= w->config.layers + 1; shard++) {
        shard_name(w, shard, file);
        ok = !json_object_set(files, file, json_object_get(w->files, file));
    }
    ok = ok && !json_object_set(manifest, "files", files);
    pons_status st = ok ? pons_json_write(path, manifest)
                        : pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
    json_decref(files);
    pons_mem_free(path);
    return st;
}

pons_status pons_pack_writer_commit(pons_pack_writer **writer, json_t *manifest)
{
    pons_status st = PONS_OK;
    pons_pack_writer *w = *writer;
    for (int64_t layer = 0; layer <= w->config.layers; layer++)
        PONS_ASSERT(w->written[layer]);
    PONS_TRY(st, pons_output_config_write(w->part, w->source, &w->config, w->dtype, w->scheme));
    PONS_TRY(st, pons_shard_index_write(w->part, &w->index));
    PONS_TRY(st, pons_companions_write(w->part, w->source));
    PONS_TRY(st, write_manifest(w, manifest));
    PONS_TRY(st, verify(w));
    if (pons_fault(PONS_FAULT_OUT_COMMIT))
        PONS_TRY(st, pons_fail_errno(PONS_ERR_IO, EIO, "cannot rename %s", w->part));
    PONS_TRY(st, pons_dir_commit(w->part, w->out));
    pons_fault_die(PONS_FAULT_OUT_DIE);
    destroy(writer);
done:
    return st;
}

void pons_pack_writer_abandon(pons_pack_writer **writer)
{
    pons_pack_writer *w = *writer;
    if (!w) return;
    /* Best effort, and silent: the sentence of the failure that led here must survive. */
    char sentence[PONS_ERROR_MESSAGE_BYTES];
    snprintf(sentence, sizeof sentence, "%s", pons_error_message());
    if (pons_dir_remove(w->part) != PONS_OK) (void)pons_fail(PONS_ERR_IO, "%s", sentence);
    destroy(writer);
}

void pons_pack_writer_leave(pons_pack_writer **writer) { destroy(writer); }
