/**
 * The pieces of a transformer block that are not matrix products with weights. fp32, parallel over
 * tokens or heads with OpenMP, bits independent of the thread count. Local, cannot fail unless
 * said.
 */
#ifndef PONS_KERN_TRANSFORMER_H
#define PONS_KERN_TRANSFORMER_H

#include <stdint.h>

#include "base/error.h"

/** y[t] = gain * x[t] / sqrt(mean(x[t]^2) + eps); gain NULL means ones; y may be x. @param x [T,
 * d]; @param y [T, d] */
void pons_rmsnorm(int64_t T, int64_t d, const float *x, const float *gain, float eps, float *y);

/**
 * Rotary embedding in place, half-split pairs (i, i + hd/2), positions 0..T-1.
 * @param x [T, heads, hd] with token stride ld; @param cosine, sine [T, hd/2]
 */
void pons_rope(int64_t T, int64_t heads, int64_t hd, float *x, int64_t ld, const float *cosine,
               const float *sine);

/**
 * Causal grouped-query attention, streaming softmax over key blocks: no S x S matrix per head is
 * stored.
 *
 * @param q [S, heads, hd], k and v [S, kv_heads, hd], out [S, heads, hd], all with contiguous
 * tokens; scores scaled by 1/sqrt(hd)
 * @param window keys visible to a query: itself and window - 1 before it; 0: all
 * @return PONS_OK or PONS_ERR_NOMEM. Memory: a transposed copy of k, and O(block^2 + block hd) per
 * thread. Cost about 2 S^2
 * heads hd flop.
 */
pons_status pons_attention_causal(int64_t S, int64_t heads, int64_t kv_heads, int64_t hd,
                                  const float *q, const float *k, const float *v, int64_t window,
                                  float *out);

/**
 * The same with q, k, v and the softmax weights rounded to bf16, on AMX tiles: 4 to 5 times as fast.
 *
 * Scores, their maxima and exponentials, the sum of the weights and the results are fp32. The
 * weights that are summed are the rounded ones, so a result stays a mean of the v it sees. Error: a
 * rounding is at most 2^-9 of its entry, hence a score within e = 2^-8 sum |q_i k_i| / sqrt(hd) and
 * a result within (exp(2 e) - 1 + 2^-6) max |v|; as the errors are independent, a hundredth of it
 * is usual. The bits of a query depend on its position and on the keys it sees only: neither on S
 * nor on the threads. Where the processor or the build has no such tiles this is
 * pons_attention_causal.
 */
pons_status pons_attention_causal_bf16(int64_t S, int64_t heads, int64_t kv_heads, int64_t hd,
                                       const float *q, const float *k, const float *v,
                                       int64_t window, float *out);

#endif
