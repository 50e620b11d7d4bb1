/**
 * Learned transforms and clipping on the way through a block: model/transforms.h holds them, here
 * they are applied. Internal to the room; Local, cannot fail, bits independent of threads.
 */
#ifndef PONS_CALIB_LEARNED_H
#define PONS_CALIB_LEARNED_H

#include "model/model.h"

/** Transform n tokens x [n, dim] of a tap. @param transforms one block's array */
void pons_learned_input(const pons_model_config *config, const float *transforms, int tap,
                        int64_t n, float *x);

/** Transform n tokens of queries [n, heads, head_dim] and keys [n, kv_heads, head_dim] after RoPE,
 * then quantize keys and values; nothing at 16 bits. */
void pons_learned_turn(const pons_model_config *config, const float *transforms,
                       const pons_runtime *runtime, int64_t n, float *q, float *k, float *v);

/** Quantize n tokens x [n, dim] as the input of one linear. */
void pons_learned_quantize(const pons_model_config *config, const float *transforms,
                           const pons_act_quant *quant, int linear, int64_t n, float *x);

#endif
