/**
 * Products with prepared matrices that are used up tile by tile, so that they are never stored:
 * residual sums, gated activations, the loss. Bits as those of pons_matmul_put. Local.
 */
#ifndef PONS_KERN_FUSED_H
#define PONS_KERN_FUSED_H

#include "kern/gemm.h"

/** Y[T, rows] += X W^T + bias. @param ldy row stride. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_matmul_add(const pons_matmul *W, const pons_matmul_input *X, float *Y,
                            int64_t ldy);

/** Y[T, rows] = silu(g) * u, where g = X gate^T + bias, u = X up^T + bias; the matrices have one
 * shape. @param ldy row stride. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_matmul_gate(const pons_matmul *gate, const pons_matmul *up,
                             const pons_matmul_input *X, float *Y, int64_t ldy);

/** y[i] <- silu(gate[i]) * y[i] over n entries: what pons_matmul_gate makes of two products, for
 * those whose inputs differ. Local, cannot fail. */
void pons_gate(int64_t n, const float *gate, float *y);

/**
 * loss[t] = -log softmax(logits[t])[target[t]] of each token, where logits = X W^T, in fp64.
 * @param parts, W the rows of the vocabulary in order, given in parts of part_rows rows (the last
 * one may have fewer)
 * @param target [T] below the rows of all parts; @param loss [T]
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: 12 bytes per token and tile of 256 rows.
 */
pons_status pons_matmul_token_losses(int64_t parts, int64_t part_rows, pons_matmul *const *W,
                                     const pons_matmul_input *X, const int32_t *target,
                                     double *loss);

#endif
