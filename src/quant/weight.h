/**
 * Weight grids: scales (with MSE clip search), codes and back. Source: specification 4.1. Rows are
 * independent; Local.
 *
 * Codes are int8 in [-2^(b-1), 2^(b-1) - 1]. Symmetric: w = scale * code. Asymmetric: w = scale *
 * (code - zero), zero in the same range. Rounding is to nearest even. An exact zero weight always
 * survives: code = zero point.
 */
#ifndef PONS_QUANT_WEIGHT_H
#define PONS_QUANT_WEIGHT_H

#include "config/recipe.h"

/** Columns per scale and scales per row for width d. Local. */
int64_t pons_weight_group_size(const pons_weight_quant *quant, int64_t d);
int64_t pons_weight_groups(const pons_weight_quant *quant, int64_t d);

/**
 * Scales and zero points of n rows of W [n, d] (leading dimension ldw). Parallel over rows.
 * @param bits  this linear's bits; @param scale, zero [n, groups]
 */
void pons_weight_scales(const pons_weight_quant *quant, int bits, int64_t n, int64_t d,
                        const float *W, int64_t ldw, float *scale, int8_t *zero);

/** Code of one value. */
int8_t pons_weight_code(int bits, float w, float scale, int8_t zero);

/** Codes of n rows, round to nearest. @param codes [n, d] */
void pons_weight_round(const pons_weight_quant *quant, int bits, int64_t n, int64_t d,
                       const float *W, int64_t ldw, const float *scale, const int8_t *zero,
                       int8_t *codes);

/** W [n, d] from codes. */
void pons_weight_dequantize(int64_t group_size, int64_t n, int64_t d, const int8_t *codes,
                            const float *scale, const int8_t *zero, float *W);

#endif
