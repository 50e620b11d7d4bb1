/*
 * Owns writing a block file: what is kept of a linear, checksums, header. A first pass over the linears
 * counts, checks and sums; a second one writes, a row at a time.
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/half.h"
#include "base/mem.h"
#include "io/safetensors_writer.h"
#include "model/codes.h"
#include "pack/bits.h"
#include "pack/block_file.h"
#include "pack/block_parts.h"

enum { CHUNK = 1 << 16 }; /* codes packed at a time: whole words at any width */

/* A linear on its way into the file. */
typedef struct part {
    const pons_pack_linear *given;
    const char *name;
    pons_pack_scheme scheme; /* group_size 0 where one group is the whole row */
    int64_t rows, cols, groups, kept;
    uint64_t sum;
} part;

typedef struct writer {
    const pons_model_config *config;
    int64_t layer;
    pons_dtype dtype;
    bool dense;
    int linears;
    part *parts;
    const float *gains;
    char *header;
    /* Work: one row, and a chunk of kept codes. */
    float *row, *values;
    uint8_t *mask, *stored;
    int8_t *codes;
    uint32_t *words;
    pons_st_writer *file;
} writer;

char *pons_block_file_path(const char *run, int64_t layer)
{
    return pons_mem_printf("%s/blocks/block-%03lld.safetensors", run, (long long)layer);
}

/* ---- One row. */

/* x, rounded to the output dtype in w->row; refused when a finite float becomes Inf there. */
static pons_status round_row(writer *w, const char *name, int64_t row, const float *x, int64_t n)
{
    memcpy(w->row, x, (size_t)n * sizeof *x);
    pons_dtype_round(w->dtype, w->row, n);
    for (int64_t j = 0; j < n; j++)
        if (!isfinite(w->row[j]))
            return pons_fail(PONS_ERR_NUMERIC,
                             "tensor model.layers.%lld.%s row %lld: found %g, which %s cannot hold",
                             (long long)w->layer, name, (long long)row, (double)x[j],
                             pons_dtype_name(w->dtype));
    return PONS_OK;
}

static int8_t zero_of(const part *p, int64_t row, int64_t column)
{
    int64_t group = p->scheme.group_size ? column / p->scheme.group_size : 0;
    return p->scheme.symmetric ? 0 : p->given->zero[row * p->groups + group];
}

/* Values of a row of codes in w->values. */
static void dequantize_row(writer *w, const part *p, int64_t row)
{
    const int8_t *codes = p->given->codes + row * p->cols;
    for (int64_t j = 0; j < p->cols; j++) {
        int64_t group = p->scheme.group_size ? j / p->scheme.group_size : 0;
        w->values[j] =
            p->given->scale[row * p->groups + group] * (float)(codes[j] - zero_of(p, row, j));
    }
}

/* The mask of a row in w->mask; of dense ones w->row is rounded first. */
static pons_status mask_row(writer *w, const part *p, int64_t row)
{
    pons_status st = PONS_OK;
    const int8_t *codes = p->given->codes + row * p->cols;
    bool dense = p->scheme.bits == 16;
    if (dense) PONS_TRY(st, round_row(w, p->name, row, p->given->value + row * p->cols, p->cols));
    memset(w->mask, 0, (size_t)pons_block_mask_bytes(p->cols));
    for (int64_t j = 0; j < p->cols; j++) {
        bool kept = dense ? pons_float_bits(w->row[j]) != 0 : codes[j] != zero_of(p, row, j);
        w->mask[j / 8] |= (uint8_t)(kept << j % 8);
    }
done:
    return st;
}

static bool is_kept(const writer *w, int64_t j) { return w->mask[j / 8] >> j % 8 & 1; }

/* ---- First pass. */

static pons_status measure(writer *w, part *p)
{
    pons_status st = PONS_OK;
    bool dense = p->scheme.bits == 16;
    for (int64_t r = 0; r < p->rows; r++) {
        PONS_TRY(st, mask_row(w, p, r));
        for (int64_t j = 0; j < p->cols; j++)
            p->kept += is_kept(w, j);
        p->sum = dense ? pons_checksum(p->sum, w->row, (size_t)p->cols * sizeof *w->row)
                       : pons_checksum(p->sum, p->given->codes + r * p->cols, (size_t)p->cols);
        if (dense || !w->dense) continue;
        dequantize_row(w, p, r);
        PONS_TRY(st, round_row(w, p->name, r, w->values, p->cols));
    }
    size_t scales = (size_t)(p->rows * p->groups);
    if (!dense) p->sum = pons_checksum(p->sum, p->given->scale, scales * sizeof(float));
    if (!dense && !p->scheme.symmetric) p->sum = pons_checksum(p->sum, p->given->zero, scales);
done:
    return st;
}

static pons_status take_linear(writer *w, int linear, const pons_pack_linear *given)
{
    part *p = &w->parts[linear];
    *p = (part){
        .given = given, .name = w->config->arch->linear[linear].name, .scheme = given->scheme};
    pons_linear_shape(w->config, linear, &p->rows, &p->cols);
    if (p->scheme.bits == 16) p->scheme.symmetric = true, p->scheme.group_size = 0;
    if (p->scheme.group_size == p->cols) p->scheme.group_size = 0;
    if (p->scheme.group_size && p->cols % p->scheme.group_size)
        return pons_fail(
            PONS_ERR_SHAPE, "block %lld %s: group_size %lld does not divide its %lld columns",
            (long long)w->layer, p->name, (long long)p->scheme.group_size, (long long)p->cols);
    p->groups = pons_pack_groups(&p->scheme, p->cols);
    return measure(w, p);
}

/* Checksum of biases and gains, which must fit the output dtype. */
static pons_status take_rest(writer *w, uint64_t *rest)
{
    pons_status st = PONS_OK;
    char name[PONS_BLOCK_NAME];
    *rest = 0;
    for (int l = 0; l < w->linears; l++) {
        const part *p = &w->parts[l];
        if (!p->given->bias) continue;
        pons_block_part_name(p->name, PONS_BLOCK_BIAS, name);
        PONS_TRY(st, round_row(w, name, 0, p->given->bias, p->rows));
        *rest = pons_checksum(*rest, w->row, (size_t)p->rows * sizeof *w->row);
    }
    for (int g = 0; g < w->config->arch->gains; g++) {
        int64_t width = pons_width_of(w->config, w->config->arch->gain[g].width);
        snprintf(name, sizeof name, "%s.weight", w->config->arch->gain[g].name);
        PONS_TRY(st, round_row(w, name, 0, w->gains + pons_gain_offset(w->config, g), width));
        *rest = pons_checksum(*rest, w->row, (size_t)width * sizeof *w->row);
    }
done:
    return st;
}

/* ---- Header. */

static json_t *describe(const part *p)
{
    char sum[17];
    pons_block_sum_text(p->sum, sum);
    return json_pack("{s:s, s:I, s:I, s:i, s:b, s:I, s:I, s:b, s:s}", "name", p->name, "rows",
                     (json_int_t)p->rows, "cols", (json_int_t)p->cols, "bits", p->scheme.bits,
                     "symmetric", (int)p->scheme.symmetric, "group_size",
                     (json_int_t)p->scheme.group_size, "kept", (json_int_t)p->kept, "bias",
                     p->given->bias != NULL, "checksum", sum);
}

static pons_status make_header(writer *w, uint64_t rest, char checksum[17])
{
    pons_status st = PONS_OK;
    uint64_t *sums = NULL;
    char rest_text[17];
    json_t *root = NULL, *linears = json_array();
    int bad = !linears;
    PONS_ALLOC(st, sums, w->linears);
    for (int l = 0; l < w->linears && !bad; l++) {
        sums[l] = w->parts[l].sum;
        bad = json_array_append_new(linears, describe(&w->parts[l]));
    }
    pons_block_sum_text(rest, rest_text);
    pons_block_sum_text(pons_block_sum(rest, w->linears, sums), checksum);
    root = json_pack("{s:i, s:I, s:s, s:s, s:s, s:O}", "layout", PONS_BLOCK_LAYOUT, "layer",
                     (json_int_t)w->layer, "dtype", pons_dtype_name(w->dtype), "checksum", checksum,
                     "rest_checksum", rest_text, "linears", linears);
    if (!bad && root) w->header = json_dumps(root, JSON_COMPACT);
    if (!w->header) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the header of a block");
done:
    json_decref(root);
    json_decref(linears);
    pons_mem_free(sums);
    return st;
}

/* ---- Second pass. */

/* Type and shape of a part; false when the linear does not have it. */
static bool shape_of(const writer *w, const part *p, pons_block_part kind, pons_dtype *type,
                     int *ndim, int64_t shape[2])
{
    bool dense = p->scheme.bits == 16;
    *ndim = 1;
    shape[0] = p->rows;
    switch (kind) {
    case PONS_BLOCK_CODES:
        *type = PONS_DTYPE_I32;
        shape[0] = pons_code_words(p->scheme.bits, p->kept);
        return !dense;
    case PONS_BLOCK_VALUES:
        *type = w->dtype;
        shape[0] = p->kept;
        return dense;
    case PONS_BLOCK_BIAS: *type = PONS_DTYPE_F32; return p->given->bias != NULL;
    case PONS_BLOCK_MASK:
        *type = PONS_DTYPE_U8;
        *ndim = 2;
        shape[1] = pons_block_mask_bytes(p->cols);
        return true;
    default:
        *type = kind == PONS_BLOCK_SCALE ? PONS_DTYPE_F32 : PONS_DTYPE_I8;
        *ndim = 2;
        shape[1] = p->groups;
        return !dense && (kind == PONS_BLOCK_SCALE || !p->scheme.symmetric);
    }
}

/* The first n codes of the chunk, packed. */
static pons_status write_chunk(writer *w, const part *p, int64_t n)
{
    pons_pack_row(p->scheme.bits, n, w->codes, w->words);
    return pons_st_writer_write(w->file, w->words,
                                (size_t)pons_code_words(p->scheme.bits, n) * sizeof *w->words);
}

static pons_status write_codes(writer *w, const part *p)
{
    pons_status st = PONS_OK;
    int64_t n = 0;
    for (int64_t r = 0; r < p->rows; r++) {
        PONS_TRY(st, mask_row(w, p, r));
        for (int64_t j = 0; j < p->cols; j++) {
            if (!is_kept(w, j)) continue;
            w->codes[n++] = p->given->codes[r * p->cols + j];
            if (n < CHUNK) continue;
            PONS_TRY(st, write_chunk(w, p, n));
            n = 0;
        }
    }
    if (n) PONS_TRY(st, write_chunk(w, p, n));
done:
    return st;
}

static pons_status write_values(writer *w, const part *p)
{
    pons_status st = PONS_OK;
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t n = 0;
        PONS_TRY(st, mask_row(w, p, r));
        for (int64_t j = 0; j < p->cols; j++)
            if (is_kept(w, j)) w->values[n++] = w->row[j];
        pons_dtype_from_float(w->dtype, w->values, n, w->stored);
        PONS_TRY(st, pons_st_writer_write(w->file, w->stored, pons_dtype_bytes(w->dtype, n)));
    }
done:
    return st;
}

static pons_status write_mask(writer *w, const part *p)
{
    pons_status st = PONS_OK;
    for (int64_t r = 0; r < p->rows; r++) {
        PONS_TRY(st, mask_row(w, p, r));
        PONS_TRY(st,
                 pons_st_writer_write(w->file, w->mask, (size_t)pons_block_mask_bytes(p->cols)));
    }
done:
    return st;
}

static pons_status write_rounded(writer *w, const float *x, int64_t n)
{
    memcpy(w->row, x, (size_t)n * sizeof *x);
    pons_dtype_round(w->dtype, w->row, n);
    return pons_st_writer_write(w->file, w->row, (size_t)n * sizeof *x);
}

static pons_status write_part(writer *w, const part *p, pons_block_part kind)
{
    size_t scales = (size_t)(p->rows * p->groups);
    switch (kind) {
    case PONS_BLOCK_CODES: return write_codes(w, p);
    case PONS_BLOCK_VALUES: return write_values(w, p);
    case PONS_BLOCK_MASK: return write_mask(w, p);
    case PONS_BLOCK_SCALE:
        return pons_st_writer_write(w->file, p->given->scale, scales * sizeof(float));
    case PONS_BLOCK_BIAS: return write_rounded(w, p->given->bias, p->rows);
    default: return pons_st_writer_write(w->file, p->given->zero, scales);
    }
}

/* Parts whose elements have this many bytes: declared, or written. */
static pons_status each_part(writer *w, size_t bytes, bool write)
{
    pons_status st = PONS_OK;
    char name[PONS_BLOCK_NAME];
    for (int l = 0; l < w->linears; l++)
        for (int k = 0; k < PONS_BLOCK_PARTS; k++) {
            const part *p = &w->parts[l];
            pons_dtype type;
            int ndim;
            int64_t shape[2];
            if (!shape_of(w, p, (pons_block_part)k, &type, &ndim, shape)) continue;
            if (pons_dtype_bytes(type, 1) != bytes) continue;
            pons_block_part_name(p->name, (pons_block_part)k, name);
            PONS_TRY(st, write ? write_part(w, p, (pons_block_part)k)
                               : pons_st_writer_declare(w->file, name, type, ndim, shape));
        }
done:
    return st;
}

/* Gains, then every part, larger elements first, then the header. */
static pons_status write_all(writer *w, const char *path)
{
    pons_status st = PONS_OK;
    int64_t text = (int64_t)strlen(w->header);
    PONS_TRY(st, pons_st_writer_create(path, &w->file));
    for (int g = 0; g < w->config->arch->gains; g++) {
        int64_t width = pons_width_of(w->config, w->config->arch->gain[g].width);
        PONS_TRY(st, pons_st_writer_declare(w->file, w->config->arch->gain[g].name, PONS_DTYPE_F32,
                                            1, &width));
    }
    for (size_t bytes = 4; bytes >= 1; bytes /= 2)
        PONS_TRY(st, each_part(w, bytes, false));
    PONS_TRY(st, pons_st_writer_declare(w->file, "header", PONS_DTYPE_U8, 1, &text));
    for (int g = 0; g < w->config->arch->gains; g++)
        PONS_TRY(st, write_rounded(w, w->gains + pons_gain_offset(w->config, g),
                                   pons_width_of(w->config, w->config->arch->gain[g].width)));
    for (size_t bytes = 4; bytes >= 1; bytes /= 2)
        PONS_TRY(st, each_part(w, bytes, true));
    PONS_TRY(st, pons_st_writer_write(w->file, w->header, (size_t)text));
    if (pons_fault(PONS_FAULT_COMMIT_WRITE))
        PONS_TRY(st, pons_fail_errno(PONS_ERR_IO, ENOSPC, "cannot write %s", path));
    PONS_TRY(st, pons_st_writer_commit(&w->file));
    pons_fault_die(PONS_FAULT_COMMIT_DIE);
done:
    pons_st_writer_abandon(&w->file);
    return st;
}

static pons_status reserve(writer *w)
{
    pons_status st = PONS_OK;
    int64_t widest = 0, rows, cols;
    for (int l = 0; l < w->linears; l++) {
        pons_linear_shape(w->config, l, &rows, &cols);
        widest = rows > widest ? rows : widest;
        widest = cols > widest ? cols : widest;
    }
    for (int g = 0; g < w->config->arch->gains; g++)
        if (pons_width_of(w->config, w->config->arch->gain[g].width) > widest)
            widest = pons_width_of(w->config, w->config->arch->gain[g].width);
    PONS_ALLOC(st, w->row, widest);
    PONS_ALLOC(st, w->values, widest);
    PONS_ALLOC(st, w->stored, 4 * widest);
    PONS_ALLOC(st, w->mask, pons_block_mask_bytes(widest));
    PONS_ALLOC(st, w->codes, CHUNK);
    PONS_ALLOC(st, w->words, pons_code_words(8, CHUNK));
    PONS_CALLOC(st, w->parts, w->linears);
done:
    return st;
}

pons_status pons_block_file_write(const char *path, const pons_model_config *config, int64_t layer,
                                  pons_dtype dtype, bool dense, const pons_pack_linear *linears,
                                  const float *gains, char checksum[17])
{
    pons_status st = PONS_OK;
    uint64_t rest = 0;
    writer w = {.config = config,
                .layer = layer,
                .dtype = dtype,
                .dense = dense,
                .linears = config->arch->linears,
                .gains = gains};
    PONS_TRY(st, reserve(&w));
    for (int l = 0; l < w.linears; l++)
        PONS_TRY(st, take_linear(&w, l, &linears[l]));
    PONS_TRY(st, take_rest(&w, &rest));
    PONS_TRY(st, make_header(&w, rest, checksum));
    PONS_TRY(st, write_all(&w, path));
done:
    free(w.header);
    pons_mem_free(w.parts);
    pons_mem_free(w.words);
    pons_mem_free(w.codes);
    pons_mem_free(w.mask);
    pons_mem_free(w.stored);
    pons_mem_free(w.values);
    pons_mem_free(w.row);
    return st;
}
