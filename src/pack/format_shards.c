/*
 * Owns the two forms that are a Hugging Face directory: compressed-tensors (pack-quantized) and dense. One
 * shard per block and one for embedding, final norm and head; config.json, the index, tokenizer files.
 * Source: formats.md sections 1-3.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "model/transforms.h"
#include "pack/companions.h"
#include "pack/format.h"
#include "pack/output_config.h"
#include "pack/shard.h"
#include "pack/verify.h"

typedef struct shards {
    pons_format_job job;
    pons_model_config config; /* of the output */
    bool dense;
    pons_pack_scheme *scheme; /* [linears] of the block in work */
    /* The block in work. */
    float **bias, *gains;
    uint64_t *sum; /* [linears] of what was given */
    pons_shard_tensor *tensors;
    int count;
    /* The linear that is written now; -1: none. */
    int loaded;
    pons_pack_linear linear;
    int8_t *codes, *zero;
    float *scale, *value;
} shards;

static void shard_name(const shards *s, int64_t number, char name[64])
{
    snprintf(name, 64, "model-%05lld-of-%05lld.safetensors", (long long)number,
             (long long)(s->config.layers + 1));
}

/* ---- State. */

static void unload(shards *s)
{
    pons_mem_free(s->value);
    pons_mem_free(s->scale);
    pons_mem_free(s->zero);
    pons_mem_free(s->codes);
    s->codes = s->zero = NULL;
    s->scale = s->value = NULL;
    s->loaded = -1;
}

static void end(void **state)
{
    shards *s = *state;
    if (!s) return;
    unload(s);
    for (int l = 0; s->bias && l < s->config.arch->linears; l++)
        pons_mem_free(s->bias[l]);
    pons_mem_free(s->tensors);
    pons_mem_free(s->sum);
    pons_mem_free(s->gains);
    pons_mem_free(s->bias);
    pons_mem_free(s->scheme);
    pons_mem_free(s);
    *state = NULL;
}

static pons_status begin(const pons_format_job *job, bool dense, void **state)
{
    pons_status st = PONS_OK;
    shards *s = NULL;
    PONS_CALLOC(st, s, 1);
    s->job = *job;
    s->dense = dense;
    s->loaded = -1;
    s->config = *pons_pack_source_config(job->source);
    s->config.dtype = job->dtype;
    int linears = s->config.arch->linears;
    PONS_ALLOC(st, s->scheme, linears);
    PONS_CALLOC(st, s->bias, linears);
    PONS_ALLOC(st, s->gains, pons_gain_floats(&s->config));
    PONS_ALLOC(st, s->sum, linears);
    PONS_ALLOC(st, s->tensors, 5 * linears + s->config.arch->gains);
    *state = s;
    s = NULL;
done:
    end((void **)&s);
    return st;
}

static pons_status begin_packed(const pons_format_job *job, void **state)
{
    return begin(job, false, state);
}
static pons_status begin_dense(const pons_format_job *job, void **state)
{
    return begin(job, true, state);
}

/* In which form the shard holds a linear of the open block. */
static pons_pack_scheme scheme_of(const shards *s, int linear)
{
    const pons_pack_scheme dense = {.bits = 16, .symmetric = true};
    return s->dense ? dense : pons_pack_source_scheme(s->job.source, linear);
}

/* ---- A block. */

/* pons_shard_tensor's load: one linear is in memory at a time. */
static pons_status load(pons_shard_tensor *t)
{
    pons_status st = PONS_OK;
    shards *s = t->user;
    int l = t->linear;
    int64_t rows, cols;
    pons_linear_shape(&s->config, l, &rows, &cols);
    if (s->loaded != l) {
        unload(s);
        s->linear = (pons_pack_linear){.scheme = s->scheme[l]};
        if (s->scheme[l].bits == 16) {
            PONS_ALLOC(st, s->value, rows * cols);
            PONS_TRY(st, pons_pack_source_values(s->job.source, l, s->value));
        } else {
            int64_t scales = rows * pons_pack_groups(&s->scheme[l], cols);
            PONS_ALLOC(st, s->codes, rows * cols);
            PONS_ALLOC(st, s->scale, scales);
            PONS_ALLOC(st, s->zero, scales);
            PONS_TRY(st, pons_pack_source_codes(s->job.source, l, s->codes, s->scale, s->zero));
        }
        s->linear.codes = s->codes;
        s->linear.scale = s->scale;
        s->linear.zero = s->zero;
        s->linear.value = s->value;
        PONS_TRY(st, pons_verify_given(&s->config, l, s->job.dtype, &s->linear, &s->sum[l]));
        s->loaded = l;
    }
    t->codes = t->kind == PONS_SHARD_ZEROS ? s->zero : s->codes;
    t->values = t->kind == PONS_SHARD_SCALES ? s->scale : s->value;
done:
    return st;
}

static pons_shard_tensor *add(shards *s, pons_shard_kind kind, int64_t layer, const char *module,
                              const char *suffix, int64_t rows, int64_t cols)
{
    pons_shard_tensor *t = &s->tensors[s->count++];
    *t = (pons_shard_tensor){.kind = kind, .rows = rows, .cols = cols, .user = s};
    snprintf(t->name, sizeof t->name, "model.layers.%lld.%s.%s", (long long)layer, module, suffix);
    return t;
}

static void add_loaded(shards *s, pons_shard_kind kind, int64_t layer, int linear,
                       const char *suffix, int64_t rows, int64_t cols)
{
    pons_shard_tensor *t =
        add(s, kind, layer, s->config.arch->linear[linear].name, suffix, rows, cols);
    t->load = load;
    t->linear = linear;
    t->bits = s->scheme[linear].bits;
}

/* The tensors of one linear; its bias is read. */
static pons_status list_linear(shards *s, int64_t layer, int linear)
{
    pons_status st = PONS_OK;
    int64_t rows, cols;
    bool present = false;
    const char *name = s->config.arch->linear[linear].name;
    pons_linear_shape(&s->config, linear, &rows, &cols);
    pons_pack_scheme scheme = s->scheme[linear] = scheme_of(s, linear);
    int64_t groups = pons_pack_groups(&scheme, cols);
    if (scheme.bits == 16) {
        add_loaded(s, PONS_SHARD_REALS, layer, linear, "weight", rows, cols);
    } else {
        add(s, PONS_SHARD_SHAPE, layer, name, "weight_shape", rows, cols);
        add_loaded(s, PONS_SHARD_CODES, layer, linear, "weight_packed", rows, cols);
        add_loaded(s, PONS_SHARD_SCALES, layer, linear, "weight_scale", rows, groups);
        if (!scheme.symmetric)
            add_loaded(s, PONS_SHARD_ZEROS, layer, linear, "weight_zero_point", rows, groups);
    }
    pons_mem_free(s->bias[linear]);
    PONS_ALLOC(st, s->bias[linear], rows);
    PONS_TRY(st, pons_pack_source_bias(s->job.source, linear, s->bias[linear], &present));
    if (present) add(s, PONS_SHARD_REALS, layer, name, "bias", 0, rows)->values = s->bias[linear];
done:
    return st;
}

static pons_status list_block(shards *s, int64_t layer)
{
    pons_status st = PONS_OK;
    s->count = 0;
    unload(s);
    for (int l = 0; l < s->config.arch->linears; l++)
        PONS_TRY(st, list_linear(s, layer, l));
    PONS_TRY(st, pons_pack_source_gains(s->job.source, s->gains));
    for (int g = 0; g < s->config.arch->gains; g++)
        add(s, PONS_SHARD_REALS, layer, s->config.arch->gain[g].name, "weight", 0,
            pons_width_of(&s->config, s->config.arch->gain[g].width))
            ->values = s->gains + pons_gain_offset(&s->config, g);
done:
    return st;
}

/* A vector of the shard against the given one. */
static pons_status compare(const shards *s, const float *read, const float *given, int64_t n,
                           bool *same)
{
    uint64_t a, b;
    pons_status st = pons_verify_given_floats(s->job.dtype, given, n, &a);
    if (st == PONS_OK) st = pons_verify_given_floats(PONS_DTYPE_F32, read, n, &b);
    if (st == PONS_OK && a != b) *same = false;
    return st;
}

/* Every number that was written, read back. */
static pons_status verify(const shards *s, int64_t layer, const char *path)
{
    pons_status st = PONS_OK;
    pons_model *shard = NULL;
    float *x = NULL;
    bool same = true, present = false;
    uint64_t sum;
    PONS_TRY(st, pons_model_open_block(path, &s->config, layer, &shard));
    for (int l = 0; l < s->config.arch->linears; l++) {
        int64_t rows, cols;
        pons_linear_shape(&s->config, l, &rows, &cols);
        PONS_TRY(st, pons_verify_read(shard, layer, l, &sum));
        same = same && sum == s->sum[l];
        PONS_ALLOC(st, x, rows);
        PONS_TRY(st, pons_model_read_bias(shard, layer, l, x, &present));
        if (present) PONS_TRY(st, compare(s, x, s->bias[l], rows, &same));
        pons_mem_free(x);
        x = NULL;
    }
    int64_t floats = pons_gain_floats(&s->config);
    PONS_ALLOC(st, x, floats);
    PONS_TRY(st, pons_model_read_gains(shard, layer, x));
    PONS_TRY(st, compare(s, x, s->gains, floats, &same));
    if (!same) st = pons_fail(PONS_ERR_IO, "%s: what was read back is not what was written", path);
done:
    pons_mem_free(x);
    pons_model_close(&shard);
    return st;
}

static pons_status write_block(void *state, int64_t layer, pons_format_file *file)
{
    pons_status st = PONS_OK;
    shards *s = state;
    char *path = NULL;
    shard_name(s, layer + 2, file->name);
    path = pons_mem_printf("%s/%s", s->job.directory, file->name);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, list_block(s, layer));
    PONS_TRY(st,
             pons_shard_write(s->job.directory, file->name, s->job.dtype, s->tensors, s->count));
    unload(s);
    PONS_TRY(st, verify(s, layer, path));
    PONS_TRY(st, pons_file_digest(path, file->sha256));
done:
    pons_mem_free(path);
    return st;
}

/* ---- The rest. */

static pons_status write_ends(shards *s, pons_format_file *file)
{
    pons_status st = PONS_OK;
    float *gain = NULL;
    char *path = NULL;
    pons_ends_source ends;
    PONS_ALLOC(st, gain, s->config.hidden);
    PONS_TRY(st, pons_pack_source_ends(s->job.source, gain, &ends));
    shard_name(s, 1, file->name);
    PONS_TRY(st, pons_ends_write(s->job.directory, file->name, &s->config, s->job.dtype, &ends));
    path = pons_mem_printf("%s/%s", s->job.directory, file->name);
    PONS_TRY(st, path ? pons_file_digest(path, file->sha256) : PONS_ERR_NOMEM);
done:
    pons_mem_free(path);
    pons_mem_free(gain);
    return st;
}

static pons_status write_index(const shards *s, const pons_format_file *blocks,
                               const pons_format_file *ends)
{
    pons_status st = PONS_OK;
    pons_shard_index index = {.weight_map = json_object()};
    for (int64_t layer = 0; layer < s->config.layers; layer++)
        PONS_TRY(st, pons_shard_index_enter(&index, s->job.directory, blocks[layer].name));
    PONS_TRY(st, pons_shard_index_enter(&index, s->job.directory, ends->name));
    PONS_TRY(st, pons_shard_index_write(s->job.directory, &index));
done:
    json_decref(index.weight_map);
    return st;
}

/* config.json needs the form of every linear. */
static pons_status write_config(const shards *s)
{
    pons_status st = PONS_OK;
    int linears = s->config.arch->linears;
    pons_pack_scheme *all = NULL;
    PONS_ALLOC(st, all, s->config.layers * linears);
    for (int64_t layer = 0; layer < s->config.layers; layer++) {
        PONS_TRY(st, pons_pack_source_open_block(s->job.source, layer));
        for (int l = 0; l < linears; l++)
            all[layer * linears + l] = scheme_of(s, l);
    }
    PONS_TRY(st, pons_output_config_write(s->job.directory, pons_pack_source_files(s->job.source),
                                          &s->config, all));
done:
    pons_mem_free(all);
    return st;
}

static pons_status copy_transforms(const shards *s)
{
    pons_status st = PONS_OK;
    char *from =
        pons_mem_printf("%s/%s", pons_pack_source_files(s->job.source), PONS_TRANSFORMS_FILE);
    char *to = pons_mem_printf("%s/%s", s->job.directory, PONS_TRANSFORMS_FILE);
    if (!from || !to) st = PONS_ERR_NOMEM;
    if (st == PONS_OK && pons_file_exists(from)) st = pons_file_copy(from, to);
    pons_mem_free(to);
    pons_mem_free(from);
    return st;
}

static pons_status finish(void *state, const pons_format_file *blocks, json_t *files)
{
    pons_status st = PONS_OK;
    shards *s = state;
    pons_format_file ends;
    PONS_TRY(st, write_ends(s, &ends));
    PONS_TRY(st, write_config(s));
    PONS_TRY(st, write_index(s, blocks, &ends));
    PONS_TRY(st, pons_companions_copy(s->job.directory, pons_pack_source_files(s->job.source)));
    PONS_TRY(st, copy_transforms(s));
    bool bad = json_object_set_new(files, ends.name, json_string(ends.sha256));
    for (int64_t layer = 0; layer < s->config.layers; layer++)
        bad |= json_object_set_new(files, blocks[layer].name, json_string(blocks[layer].sha256));
    if (bad) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the list of files");
done:
    return st;
}

/* Codes that a dense output was made of are not in it. */
static pons_status check_packed(const pons_format_job *job)
{
    const json_t *linears = json_object_get(pons_pack_source_manifest(job->source), "linears");
    int64_t bits = json_integer_value(json_object_get(json_array_get(linears, 0), "bits"));
    if (bits < 2 || bits > 8 || pons_pack_source_scheme(job->source, 0).bits < 16) return PONS_OK;
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "%s: found a dense output, which has no codes; allowed: its state directory",
                     pons_pack_source_files(job->source));
}

const pons_format pons_format_compressed_tensors = {
    .name = PONS_FORMAT_COMPRESSED_TENSORS,
    .summary = "pack-quantized safetensors, as transformers and vLLM load them",
    .check = check_packed,
    .begin = begin_packed,
    .block = write_block,
    .finish = finish,
    .end = end};

const pons_format pons_format_dense = {.name = PONS_FORMAT_DENSE,
                                       .summary = "safetensors in --dtype, weights as values",
                                       .begin = begin_dense,
                                       .block = write_block,
                                       .finish = finish,
                                       .end = end};
