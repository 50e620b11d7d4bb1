/* Owns the checksums that compare given blocks with written ones. They run over codes, scales, zero
 * points and rounded floats, not over stored bytes, so that packing itself is tested too. */
#include "pack/verify.h"

#include <string.h>

#include "base/checksum.h"
#include "base/mem.h"

static void add_rounded(uint64_t *s, pons_dtype dtype, const float *x, int64_t n, float *buffer)
{
    memcpy(buffer, x, (size_t)n * sizeof *x);
    pons_dtype_round(dtype, buffer, n);
    *s = pons_checksum(*s, buffer, (size_t)n * sizeof *buffer);
}

static void add_codes(uint64_t *s, int64_t rows, int64_t cols, int64_t groups, const int8_t *codes,
                      const float *scale, const int8_t *zero)
{
    *s = pons_checksum(*s, codes, (size_t)(rows * cols));
    *s = pons_checksum(*s, scale, (size_t)(rows * groups) * sizeof *scale);
    if (zero) *s = pons_checksum(*s, zero, (size_t)(rows * groups));
}

pons_status pons_verify_given(const pons_model_config *config, pons_dtype dtype,
                              const pons_pack_linear *linears, const float *gains, uint64_t *sum)
{
    pons_status st = PONS_OK;
    uint64_t s = 0;
    float *buffer = NULL;
    int64_t widest = config->hidden, rows, cols;
    for (int l = 0; l < config->arch->linears; l++) {
        pons_linear_shape(config, linears[l].linear, &rows, &cols);
        widest = rows > widest ? rows : widest;
        widest = cols > widest ? cols : widest;
    }
    PONS_ALLOC(st, buffer, widest);
    for (int l = 0; l < config->arch->linears; l++) {
        const pons_pack_linear *p = &linears[l];
        pons_linear_shape(config, p->linear, &rows, &cols);
        if (p->bits == 16)
            for (int64_t r = 0; r < rows; r++)
                add_rounded(&s, dtype, p->value + r * cols, cols, buffer);
        else
            add_codes(&s, rows, cols, p->group_size ? cols / p->group_size : 1, p->codes, p->scale,
                      p->symmetric ? NULL : p->zero);
        if (p->bias) add_rounded(&s, dtype, p->bias, rows, buffer);
    }
    for (int g = 0; g < config->arch->gains; g++)
        add_rounded(&s, dtype, gains + pons_gain_offset(config, g),
                    pons_width_of(config, config->arch->gain[g].width), buffer);
    *sum = s;
done:
    pons_mem_free(buffer);
    return st;
}

static pons_status read_linear(const pons_model *model, int64_t layer, int linear, uint64_t *s)
{
    pons_status st = PONS_OK;
    int8_t *codes = NULL, *zero = NULL;
    float *scale = NULL, *row = NULL, *bias = NULL;
    int64_t rows, cols, groups;
    int bits;
    bool symmetric, has_bias;
    pons_linear_shape(pons_model_get_config(model), linear, &rows, &cols);
    pons_model_linear_format(model, layer, linear, &bits, &groups, &symmetric);
    if (bits == 16) {
        PONS_ALLOC(st, row, cols);
        for (int64_t r = 0; r < rows; r++) {
            PONS_TRY(st, pons_model_read_linear(model, layer, linear, r, 1, row));
            *s = pons_checksum(*s, row, (size_t)cols * sizeof *row);
        }
    } else {
        PONS_ALLOC(st, codes, rows * cols);
        PONS_ALLOC(st, scale, rows * groups);
        PONS_ALLOC(st, zero, rows * groups);
        PONS_TRY(st, pons_model_read_codes(model, layer, linear, codes, scale, zero));
        add_codes(s, rows, cols, groups, codes, scale, symmetric ? NULL : zero);
    }
    PONS_ALLOC(st, bias, rows);
    PONS_TRY(st, pons_model_read_bias(model, layer, linear, bias, &has_bias));
    if (has_bias) *s = pons_checksum(*s, bias, (size_t)rows * sizeof *bias);
done:
    pons_mem_free(bias);
    pons_mem_free(row);
    pons_mem_free(zero);
    pons_mem_free(scale);
    pons_mem_free(codes);
    return st;
}

pons_status pons_verify_read(const pons_model *model, int64_t layer, uint64_t *sum)
{
    pons_status st = PONS_OK;
    uint64_t s = 0;
    float *gains = NULL;
    const pons_model_config *config = pons_model_get_config(model);
    int64_t count = pons_gain_floats(config);
    PONS_ALLOC(st, gains, count);
    for (int l = 0; l < config->arch->linears; l++)
        PONS_TRY(st, read_linear(model, layer, l, &s));
    PONS_TRY(st, pons_model_read_gains(model, layer, gains));
    s = pons_checksum(s, gains, (size_t)count * sizeof *gains);
    *sum = s;
done:
    pons_mem_free(gains);
    return st;
}
