/**
 * Weight grids: scales (with MSE clip search), codes and back. Source: specification 4.1. Rows are
 * independent; Local.
 *
 * Codes are int8 in [-2^(b-1), 2^(b-1) - 1]. Symmetric: w = scale * code. Asymmetric: w = scale *
 * (code - zero), zero in the same range. Rounding is to nearest even. An exact zero weight always
 * survives: code = zero point. A group is `group_size` consecutive columns of a row (the last one
 * may be shorter); group_size 0 or above d means the whole row.
 */
#ifndef PONS_QUANT_WEIGHT_H
#define PONS_QUANT_WEIGHT_H

#include <math.h>

#include "config/recipe.h"

/** Columns per scale and scales per row for width d. Local. */
int64_t pons_weight_group_size(const pons_weight_quant *quant, int64_t d);
int64_t pons_weight_groups(const pons_weight_quant *quant, int64_t d);

/**
 * Scales and zero points of n rows of W [n, d] (leading dimension ldw). Local, parallel over rows.
 *
 * With quant->mse_clip each group's range is shrunk by 1.00, 0.99 ... 0.21 and the first factor of
 * least sum |error|^2.4 is kept.
 * @param bits  this linear's bits, 2..8
 * @param W     finite
 * @param scale, zero [n, groups]; zero is all 0 when symmetric
 * Cost: about 80 * 30 flop per weight with the clip search.
 */
void pons_weight_scales(const pons_weight_quant *quant, int bits, int64_t n, int64_t d,
                        const float *W, int64_t ldw, float *scale, int8_t *zero);

/** Code of one value: round(w / scale) + zero, clamped. Inline because the GPTQ sweep calls it for
 * every entry. Local. */
static inline int8_t pons_weight_code(int bits, float w, float scale, int8_t zero)
{
    float half = (float)(1 << (bits - 1));
    float code =
        rintf(w / scale) +
        (float)zero; /* NaN: the least code. Compared, not called: loops become vector code */
    code = code > -half ? code : -half;
    return (int8_t)(code < half - 1.0f ? code : half - 1.0f);
}

/** Value of one code. Local. */
static inline float pons_weight_value(int8_t code, float scale, int8_t zero)
{
    return scale * (float)(code - zero);
}

/** Codes of n rows, round to nearest. Local, parallel over rows. @param codes [n, d] */
void pons_weight_round(const pons_weight_quant *quant, int bits, int64_t n, int64_t d,
                       const float *W, int64_t ldw, const float *scale, const int8_t *zero,
                       int8_t *codes);

/** W [n, d] from codes [n, d]. Local, parallel over rows. @param group_size columns per scale;
 * 0: d */
void pons_weight_dequantize(int64_t group_size, int64_t n, int64_t d, const int8_t *codes,
                            const float *scale, const int8_t *zero, float *W);

#endif
