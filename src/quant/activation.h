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
 * x[t] <- dequantized quantized x[t], in groups of `group` entries (0: the whole token; zero is
 * forced into the range only then).
 * @param x [T, d], token stride ld; bits 16: nothing happens
 */
void pons_activation_quantize(int bits, bool symmetric, float clip_ratio, int64_t group, int64_t T,
                              int64_t d, float *x, int64_t ld);

/** Group size and bits that the settings give the input of a group of linears (specification 4.2,
 * last bullet). */
void pons_activation_layout(const pons_act_quant *quant, int64_t hidden, int64_t head_dim,
                            int64_t dim, bool is_o_proj, bool is_down_proj, int *bits,
                            int64_t *group);

#endif
