/**
 * Dynamic fake quantization of activations, keys and values: per token, or per group of a token.
 * Source: specification 4.2, 4.3.
 *
 * In place, fp32 arithmetic, rounding to nearest even, parallel over tokens, bits independent of
 * threads. Local.
 */
#ifndef PONS_QUANT_ACTIVATION_H
#define PONS_QUANT_ACTIVATION_H

#include "config/recipe.h"

/**
 * x[t] <- dequantized quantized x[t], in groups of `group` entries.
 *
 * Whole tokens (group 0): zero is forced into the range, an all-zero token stays zero. Groups:
 * the plain range of the group; where that is one point, which the specification leaves open (the
 * grid's step would be 0), every entry becomes that point times clip_ratio. A NaN stays NaN and
 * does not touch its neighbours.
 * @param x [T, d], token stride ld; group divides d; bits 2..8, or 16: nothing happens
 * Cost: about 10 T d flop.
 */
void pons_activation_quantize(int bits, bool symmetric, float clip_ratio, int64_t group, int64_t T,
                              int64_t d, float *x, int64_t ld);

/**
 * The same for whole tokens, with separate clipping of the largest and the smallest value.
 *
 * @param clip shares of the largest and of the least value, 0 included in the range; @param x [T,
 * d], adjacent. Source: specification 4.4.
 */
void pons_activation_quantize_learned(int bits, bool symmetric, const float clip[2], int64_t T,
                                      int64_t d, float *x);

/**
 * Bits and group size (0: whole token) that the settings give the input, `dim` wide, of a group of
 * linears. Source: specification 4.2, last bullet, and 4.1 for int8_down_proj.
 */
void pons_activation_layout(const pons_act_quant *quant, int64_t hidden, int64_t head_dim,
                            int64_t dim, bool is_o_proj, bool is_down_proj, int *bits,
                            int64_t *group);

/**
 * Refuse settings whose groups do not divide the inputs of a model's linears.
 * @param heads_dim width of the o_proj input; intermediate that of down_proj
 * @return PONS_OK; PONS_ERR_CONFIG naming activations.group_size, the input and its width.
 */
pons_status pons_activation_check(const pons_act_quant *quant, int64_t hidden, int64_t head_dim,
                                  int64_t heads_dim, int64_t intermediate);

#endif
