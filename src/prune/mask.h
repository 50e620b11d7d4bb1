/**
 * Pruning masks (1 = keep). Source: specification 2.3. Rows are independent; Local, parallel over
 * rows.
 */
#ifndef PONS_PRUNE_MASK_H
#define PONS_PRUNE_MASK_H

#include <stdint.h>

#include "base/error.h"

/** Entries pruned per row of width d: int(d * sparsity), truncated, within [0, d]. Local. */
int64_t pons_mask_pruned_per_row(int64_t d, double sparsity);

/**
 * Wanda: metric |W_ij| sqrt(c_j) in fp32; per row the int(d * sparsity) smallest are pruned, ties
 * lower column first; or the n smallest of every m consecutive columns when n > 0 (sparsity is then
 * not looked at).
 * @param W [rows, d] finite; @param norm [d] c_j, non-negative; @param mask [rows, d]
 * @return PONS_ERR_NOMEM; PONS_ERR_SHAPE when m does not divide d.
 */
pons_status pons_mask_wanda(int64_t rows, int64_t d, const float *W, const float *norm,
                            double sparsity, int n, int m, uint8_t *mask);

/** One n:m group: mask[j] = 0 for the n smallest of m metrics, ties lower index first; 1 elsewhere.
 * Local. */
void pons_mask_smallest(int64_t m, const float *metric, int n, uint8_t *mask);

#endif
