/**
 * Pruning masks (1 = keep). Source: specification 2.3. Rows are independent; Local, parallel over
 * rows.
 */
#ifndef PONS_PRUNE_MASK_H
#define PONS_PRUNE_MASK_H

#include <stdint.h>

#include "base/error.h"

/**
 * Wanda: metric |W_ij| sqrt(c_j); per row the int(d * sparsity) smallest are pruned, ties lower
 * column first; or n smallest of every m consecutive columns when n > 0.
 * @param norm [d] c_j; @param mask [rows, d]
 * @return PONS_ERR_NOMEM; PONS_ERR_SHAPE when m does not divide d.
 */
pons_status pons_mask_wanda(int64_t rows, int64_t d, const float *W, const float *norm,
                            double sparsity, int n, int m, uint8_t *mask);

#endif
