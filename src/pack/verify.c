/* Owns the checksums that compare given linears with written ones. They run over codes, scales, zero
 * points and rounded floats, not over stored bytes, so that packing itself is tested, too. */
#include "pack/verify.h"

#include <string.h>

#include "base/checksum.h"
#include "base/mem.h"

static void add_codes(uint64_t *s, int64_t cells, int64_t scales, const int8_t *codes,
                      const float *scale, const int8_t *zero)
{
    *s = pons_checksum(*s, codes, (size_t)cells);
    *s = pons_checksum(*s, scale, (size_t)scales * sizeof *scale);
    if (zero) *s = pons_checksum(*s, zero, (size_t)scales);
}

/* Floats row by row, rounded. */
static pons_status add_rows(pons_dtype dtype, const float *x, int64_t rows, int64_t cols,
                            uint64_t *s)
{
    pons_status st = PONS_OK;
    float *row = NULL;
    PONS_ALLOC(st, row, cols);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(row, x + r * cols, (size_t)cols * sizeof *row);
        pons_dtype_round(dtype, row, cols);
        *s = pons_checksum(*s, row, (size_t)cols * sizeof *row);
    }
done:
    pons_mem_free(row);
    return st;
}

pons_status pons_verify_given_floats(pons_dtype dtype, const float *x, int64_t n, uint64_t *sum)
{
    *sum = 0;
    return add_rows(dtype, x, 1, n, sum);
}

pons_status pons_verify_given(const pons_model_config *config, int linear, pons_dtype dtype,
                              const pons_pack_linear *given, uint64_t *sum)
{
    int64_t rows, cols;
    const pons_pack_scheme *s = &given->scheme;
    pons_linear_shape(config, linear, &rows, &cols);
    *sum = 0;
    if (s->bits == 16) return add_rows(dtype, given->value, rows, cols, sum);
    add_codes(sum, rows * cols, rows * pons_pack_groups(s, cols), given->codes, given->scale,
              s->symmetric ? NULL : given->zero);
    return PONS_OK;
}

static pons_status read_codes(const pons_model *model, int64_t layer, int linear, int64_t cells,
                              int64_t scales, bool symmetric, uint64_t *sum)
{
    pons_status st = PONS_OK;
    int8_t *codes = NULL, *zero = NULL;
    float *scale = NULL;
    PONS_ALLOC(st, codes, cells);
    PONS_ALLOC(st, scale, scales);
    PONS_ALLOC(st, zero, scales);
    PONS_TRY(st, pons_model_read_codes(model, layer, linear, codes, scale, zero));
    add_codes(sum, cells, scales, codes, scale, symmetric ? NULL : zero);
done:
    pons_mem_free(zero);
    pons_mem_free(scale);
    pons_mem_free(codes);
    return st;
}

pons_status pons_verify_read(const pons_model *model, int64_t layer, int linear, uint64_t *sum)
{
    pons_status st = PONS_OK;
    float *row = NULL;
    int64_t rows, cols, groups;
    int bits;
    bool symmetric;
    pons_linear_shape(pons_model_get_config(model), linear, &rows, &cols);
    pons_model_linear_format(model, layer, linear, &bits, &groups, &symmetric);
    *sum = 0;
    if (bits < 16)
        return read_codes(model, layer, linear, rows * cols, rows * groups, symmetric, sum);
    PONS_ALLOC(st, row, cols);
    for (int64_t r = 0; r < rows; r++) {
        PONS_TRY(st, pons_model_read_linear(model, layer, linear, r, 1, row));
        *sum = pons_checksum(*sum, row, (size_t)cols * sizeof *row);
    }
done:
    pons_mem_free(row);
    return st;
}
