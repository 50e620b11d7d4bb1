/*
 * Owns reading a block file: header, tensors and their shapes, expansion of what is kept, and the checks
 * of every number that is given out.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/store.h"
#include "model/codes.h"
#include "model/fields.h"
#include "pack/block_file.h"
#include "pack/block_parts.h"
#include "quant/weight.h"

/* A linear as the header and the tensors describe it. */
typedef struct part {
    const char *name;
    pons_pack_scheme scheme;
    int64_t rows, cols, groups, kept;
    uint64_t sum;
    bool has_bias;
    float *bias;
    const pons_tensor_view *tensor[PONS_BLOCK_PARTS];
} part;

struct pons_block_file {
    pons_model_config config;
    pons_store *store;
    int linears;
    part *parts;
    float *gains;
    pons_dtype dtype; /* of the values of dense linears */
    char checksum[17];
};

static const char *path_of(const pons_block_file *f) { return pons_store_path(f->store); }

static pons_status damaged(const pons_block_file *f, const char *name)
{
    return pons_fail(PONS_ERR_INPUT, "%s: %s is damaged (checksum)", path_of(f), name);
}

/* ---- Header. */

static pons_status read_header(const pons_block_file *f, json_t **out)
{
    pons_status st = PONS_OK;
    char *text = NULL;
    json_error_t error;
    const pons_tensor_view *t = pons_store_find(f->store, "header");
    if (!t || t->dtype != PONS_DTYPE_U8)
        return pons_fail(PONS_ERR_INPUT, "%s: found no header, allowed: a committed block",
                         path_of(f));
    PONS_TRY(st, pons_store_load(f->store, t, (void **)&text));
    *out = json_loadb(text, (size_t)pons_tensor_elements(t), JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        st = pons_fail(PONS_ERR_INPUT, "%s: header: not valid JSON: %s", path_of(f), error.text);
done:
    pons_mem_free(text);
    return st;
}

static pons_status read_sum(const pons_fields *fields, const char *key, uint64_t *sum)
{
    const char *text;
    char back[17];
    pons_status st = pons_fields_text(fields, key, &text);
    if (st != PONS_OK) return st;
    *sum = strtoull(text, NULL, 16);
    pons_block_sum_text(*sum, back);
    return strcmp(text, back)
               ? pons_fields_fail(fields, PONS_ERR_INPUT, key, "16 hexadecimal digits")
               : PONS_OK;
}

static pons_status read_linear_header(pons_block_file *f, int linear, const json_t *object)
{
    pons_status st = PONS_OK;
    part *p = &f->parts[linear];
    char prefix[64];
    const char *name;
    int64_t bits;
    snprintf(prefix, sizeof prefix, "header: linears[%d].", linear);
    const pons_fields fields = {path_of(f), prefix, object};
    p->name = f->config.arch->linear[linear].name;
    pons_linear_shape(&f->config, linear, &p->rows, &p->cols);
    PONS_TRY(st, pons_fields_text(&fields, "name", &name));
    if (strcmp(name, p->name))
        PONS_TRY(st, pons_fields_fail(&fields, PONS_ERR_INPUT, "name", p->name));
    PONS_TRY(st, pons_fields_integer(&fields, "rows", p->rows, p->rows, &p->rows));
    PONS_TRY(st, pons_fields_integer(&fields, "cols", p->cols, p->cols, &p->cols));
    PONS_TRY(st, pons_fields_integer(&fields, "bits", 2, 16, &bits));
    if (bits > 8 && bits < 16)
        PONS_TRY(st, pons_fields_fail(&fields, PONS_ERR_INPUT, "bits", "2 to 8, or 16"));
    p->scheme.bits = (int)bits;
    PONS_TRY(st, pons_fields_boolean(&fields, "symmetric", &p->scheme.symmetric));
    PONS_TRY(st, pons_fields_integer(&fields, "group_size", 0, p->cols - 1, &p->scheme.group_size));
    if (p->scheme.group_size && p->cols % p->scheme.group_size)
        PONS_TRY(st, pons_fields_fail(&fields, PONS_ERR_INPUT, "group_size",
                                      "a divisor of the columns"));
    p->groups = pons_pack_groups(&p->scheme, p->cols);
    PONS_TRY(st, pons_fields_integer(&fields, "kept", 0, p->rows * p->cols, &p->kept));
    PONS_TRY(st, pons_fields_boolean(&fields, "bias", &p->has_bias));
    PONS_TRY(st, read_sum(&fields, "checksum", &p->sum));
done:
    return st;
}

/* The header, and that it is of this layer and agrees with its own checksum. */
static pons_status take_header(pons_block_file *f, int64_t layer, const json_t *root,
                               uint64_t *rest)
{
    pons_status st = PONS_OK;
    const pons_fields fields = {path_of(f), "header: ", root};
    const json_t *linears = json_object_get(root, "linears");
    const char *dtype;
    int64_t number;
    uint64_t *sums = NULL, sum;
    PONS_TRY(st,
             pons_fields_integer(&fields, "layout", PONS_BLOCK_LAYOUT, PONS_BLOCK_LAYOUT, &number));
    PONS_TRY(st, pons_fields_integer(&fields, "layer", layer, layer, &number));
    PONS_TRY(st, pons_fields_text(&fields, "dtype", &dtype));
    if (!pons_dtype_from_name(dtype, &f->dtype) || !pons_dtype_is_real(f->dtype))
        PONS_TRY(st, pons_fields_fail(&fields, PONS_ERR_INPUT, "dtype", "F32, F16, BF16"));
    PONS_TRY(st, read_sum(&fields, "checksum", &sum));
    PONS_TRY(st, read_sum(&fields, "rest_checksum", rest));
    if (json_array_size(linears) != (size_t)f->linears)
        PONS_TRY(st, pons_fields_fail(&fields, PONS_ERR_INPUT, "linears",
                                      "one for each linear of a block"));
    PONS_ALLOC(st, sums, f->linears);
    for (int l = 0; l < f->linears; l++) {
        PONS_TRY(st, read_linear_header(f, l, json_array_get(linears, (size_t)l)));
        sums[l] = f->parts[l].sum;
    }
    if (sum != pons_block_sum(*rest, f->linears, sums)) PONS_TRY(st, damaged(f, "header"));
    pons_block_sum_text(sum, f->checksum);
done:
    pons_mem_free(sums);
    return st;
}

/* ---- Tensors. */

static pons_status find_part(pons_block_file *f, part *p, pons_block_part kind, pons_dtype type,
                             int64_t elements)
{
    char name[PONS_BLOCK_NAME];
    pons_block_part_name(p->name, kind, name);
    const pons_tensor_view *t = pons_store_find(f->store, name);
    if (!t) return pons_fail(PONS_ERR_INPUT, "%s: tensor %s is missing", path_of(f), name);
    if (t->dtype != type || pons_tensor_elements(t) != elements)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s: found %lld of %s, allowed: %lld of %s",
                         path_of(f), name, (long long)pons_tensor_elements(t),
                         pons_dtype_name(t->dtype), (long long)elements, pons_dtype_name(type));
    p->tensor[kind] = t;
    return PONS_OK;
}

static pons_status find_parts(pons_block_file *f, part *p)
{
    pons_status st = PONS_OK;
    int64_t scales = p->rows * p->groups;
    PONS_TRY(st, find_part(f, p, PONS_BLOCK_MASK, PONS_DTYPE_U8,
                           p->rows * pons_block_mask_bytes(p->cols)));
    if (p->has_bias) PONS_TRY(st, find_part(f, p, PONS_BLOCK_BIAS, PONS_DTYPE_F32, p->rows));
    if (p->scheme.bits == 16) {
        PONS_TRY(st, find_part(f, p, PONS_BLOCK_VALUES, f->dtype, p->kept));
        goto done;
    }
    PONS_TRY(st, find_part(f, p, PONS_BLOCK_CODES, PONS_DTYPE_I32,
                           pons_code_words(p->scheme.bits, p->kept)));
    PONS_TRY(st, find_part(f, p, PONS_BLOCK_SCALE, PONS_DTYPE_F32, scales));
    if (!p->scheme.symmetric) PONS_TRY(st, find_part(f, p, PONS_BLOCK_ZERO, PONS_DTYPE_I8, scales));
done:
    return st;
}

static pons_status read_all(const pons_block_file *f, const pons_tensor_view *t, void *out)
{
    return pons_store_read(f->store, t, 0, pons_dtype_bytes(t->dtype, pons_tensor_elements(t)),
                           out);
}

static pons_status read_rest(pons_block_file *f, uint64_t expected)
{
    pons_status st = PONS_OK;
    uint64_t sum = 0;
    for (int l = 0; l < f->linears; l++) {
        part *p = &f->parts[l];
        if (!p->has_bias) continue;
        PONS_ALLOC(st, p->bias, p->rows);
        PONS_TRY(st, read_all(f, p->tensor[PONS_BLOCK_BIAS], p->bias));
        sum = pons_checksum(sum, p->bias, (size_t)p->rows * sizeof *p->bias);
    }
    PONS_ALLOC(st, f->gains, pons_gain_floats(&f->config));
    for (int g = 0; g < f->config.arch->gains; g++) {
        const char *name = f->config.arch->gain[g].name;
        int64_t width = pons_width_of(&f->config, f->config.arch->gain[g].width);
        float *gain = f->gains + pons_gain_offset(&f->config, g);
        const pons_tensor_view *t = pons_store_find(f->store, name);
        if (!t || t->dtype != PONS_DTYPE_F32 || pons_tensor_elements(t) != width)
            PONS_TRY(st, pons_fail(PONS_ERR_INPUT, "%s: tensor %s is missing or has another shape",
                                   path_of(f), name));
        PONS_TRY(st, read_all(f, t, gain));
        sum = pons_checksum(sum, gain, (size_t)width * sizeof *gain);
    }
    if (sum != expected) st = damaged(f, "a bias or a norm gain");
done:
    return st;
}

pons_status pons_block_file_open(const char *path, const pons_model_config *config, int64_t layer,
                                 pons_block_file **out)
{
    pons_status st = PONS_OK;
    json_t *header = NULL;
    uint64_t rest = 0;
    pons_block_file *f = NULL;
    PONS_CALLOC(st, f, 1);
    f->config = *config;
    f->linears = config->arch->linears;
    PONS_TRY(st, pons_store_open(path, &f->store));
    PONS_CALLOC(st, f->parts, f->linears);
    PONS_TRY(st, read_header(f, &header));
    PONS_TRY(st, take_header(f, layer, header, &rest));
    for (int l = 0; l < f->linears; l++)
        PONS_TRY(st, find_parts(f, &f->parts[l]));
    PONS_TRY(st, read_rest(f, rest));
    *out = f;
    f = NULL;
done:
    json_decref(header);
    pons_block_file_close(&f);
    return st;
}

void pons_block_file_close(pons_block_file **file)
{
    pons_block_file *f = *file;
    if (!f) return;
    for (int l = 0; f->parts && l < f->linears; l++)
        pons_mem_free(f->parts[l].bias);
    pons_mem_free(f->gains);
    pons_mem_free(f->parts);
    pons_store_close(&f->store);
    pons_mem_free(f);
    *file = NULL;
}

const char *pons_block_file_checksum(const pons_block_file *f) { return f->checksum; }
const pons_pack_scheme *pons_block_file_scheme(const pons_block_file *f, int linear)
{
    return &f->parts[linear].scheme;
}
const float *pons_block_file_bias(const pons_block_file *f, int linear)
{
    return f->parts[linear].bias;
}
const float *pons_block_file_gains(const pons_block_file *f) { return f->gains; }

/* ---- Numbers. */

/* The mask and, for each row, how many weights are kept before it: [rows + 1]. */
static pons_status load_mask(const pons_block_file *f, const part *p, uint8_t **mask,
                             int64_t **first)
{
    pons_status st = PONS_OK;
    int64_t bytes = pons_block_mask_bytes(p->cols), kept = 0;
    PONS_TRY(st, pons_store_load(f->store, p->tensor[PONS_BLOCK_MASK], (void **)mask));
    PONS_ALLOC(st, *first, p->rows + 1);
    for (int64_t r = 0; r < p->rows; r++) {
        (*first)[r] = kept;
        for (int64_t i = 0; i < bytes; i++)
            kept += __builtin_popcount((*mask)[r * bytes + i]);
    }
    (*first)[p->rows] = kept;
    if (kept != p->kept) st = damaged(f, p->name);
done:
    return st;
}

pons_status pons_block_file_read_codes(const pons_block_file *f, int linear, int8_t *codes,
                                       float *scale, int8_t *zero)
{
    pons_status st = PONS_OK;
    const part *p = &f->parts[linear];
    uint8_t *mask = NULL;
    int64_t *first = NULL, bytes = pons_block_mask_bytes(p->cols);
    char *words = NULL;
    uint64_t sum = 0;
    size_t scales = (size_t)(p->rows * p->groups);
    PONS_ASSERT(p->scheme.bits < 16);
    PONS_TRY(st, load_mask(f, p, &mask, &first));
    PONS_TRY(st, pons_store_load(f->store, p->tensor[PONS_BLOCK_CODES], (void **)&words));
    PONS_TRY(st, read_all(f, p->tensor[PONS_BLOCK_SCALE], scale));
    memset(zero, 0, scales);
    if (!p->scheme.symmetric) PONS_TRY(st, read_all(f, p->tensor[PONS_BLOCK_ZERO], zero));
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < p->rows; r++) {
        int64_t k = first[r], size = p->scheme.group_size ? p->scheme.group_size : p->cols;
        for (int64_t j = 0; j < p->cols; j++)
            codes[r * p->cols + j] = mask[r * bytes + j / 8] >> j % 8 & 1
                                         ? pons_code_at(p->scheme.bits, k++, words, 1)
                                         : zero[r * p->groups + j / size];
    }
    for (int64_t r = 0; r < p->rows; r++)
        sum = pons_checksum(sum, codes + r * p->cols, (size_t)p->cols);
    sum = pons_checksum(sum, scale, scales * sizeof *scale);
    if (!p->scheme.symmetric) sum = pons_checksum(sum, zero, scales);
    if (sum != p->sum) st = damaged(f, p->name);
done:
    pons_mem_free(words);
    pons_mem_free(first);
    pons_mem_free(mask);
    return st;
}

/* Values of a linear that stays dense. */
static pons_status read_dense(const pons_block_file *f, const part *p, float *W)
{
    pons_status st = PONS_OK;
    uint8_t *mask = NULL;
    int64_t *first = NULL, bytes = pons_block_mask_bytes(p->cols);
    char *stored = NULL;
    uint64_t sum = 0;
    PONS_TRY(st, load_mask(f, p, &mask, &first));
    PONS_TRY(st, pons_store_load(f->store, p->tensor[PONS_BLOCK_VALUES], (void **)&stored));
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < p->rows; r++) {
        float *row = W + r * p->cols;
        int64_t n = first[r + 1] - first[r]; /* kept values, then spread from the last one on */
        pons_dtype_to_float(f->dtype, stored + pons_dtype_bytes(f->dtype, first[r]), n, row);
        for (int64_t j = p->cols - 1; j >= 0; j--)
            row[j] = mask[r * bytes + j / 8] >> j % 8 & 1 ? row[--n] : 0.0f;
    }
    for (int64_t r = 0; r < p->rows; r++)
        sum = pons_checksum(sum, W + r * p->cols, (size_t)p->cols * sizeof *W);
    if (sum != p->sum) st = damaged(f, p->name);
done:
    pons_mem_free(stored);
    pons_mem_free(first);
    pons_mem_free(mask);
    return st;
}

pons_status pons_block_file_read_values(const pons_block_file *f, int linear, float *W)
{
    pons_status st = PONS_OK;
    const part *p = &f->parts[linear];
    int8_t *codes = NULL, *zero = NULL;
    float *scale = NULL;
    if (p->scheme.bits == 16) return read_dense(f, p, W);
    PONS_ALLOC(st, codes, p->rows * p->cols);
    PONS_ALLOC(st, scale, p->rows * p->groups);
    PONS_ALLOC(st, zero, p->rows * p->groups);
    PONS_TRY(st, pons_block_file_read_codes(f, linear, codes, scale, zero));
    pons_weight_dequantize(p->scheme.group_size ? p->scheme.group_size : p->cols, p->rows, p->cols,
                           codes, scale, zero, W);
done:
    pons_mem_free(zero);
    pons_mem_free(scale);
    pons_mem_free(codes);
    return st;
}

pons_status pons_block_file_check(const pons_block_file *f)
{
    pons_status st = PONS_OK;
    float *W = NULL;
    for (int l = 0; l < f->linears; l++) {
        const part *p = &f->parts[l];
        PONS_ALLOC(st, W, p->rows * p->cols);
        PONS_TRY(st, pons_block_file_read_values(f, l, W));
        pons_mem_free(W);
        W = NULL;
    }
done:
    pons_mem_free(W);
    return st;
}
