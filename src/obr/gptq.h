/**
 * Quantize left to right, feeding each column's error forward: masked GPTQ and SparseGPT + GPTQ.
 * Source: specification 3.4, 3.6.
 */
#ifndef PONS_OBR_GPTQ_H
#define PONS_OBR_GPTQ_H

#include "base/error.h"
#include "kern/sweep.h"

/**
 * Codes of columns [start, end); other columns are not touched.
 *
 * Pruned entries receive updates, get the zero point's code, and what they accumulated counts as
 * error. Local, parallel over panels of rows; a row's bits depend on it alone.
 * @param V [rows, d] weights to start from; @param mask [rows, d] or NULL: nothing pruned
 * @return PONS_ERR_NOMEM. Memory: per thread 4 (d - start) + 512 bytes for each row of a panel: up
 * to 256 rows and about 1 MiB, or 256 rows when U is streamed. Cost rows (d - start)^2 flop, all
 * but 16 of d - start columns' in products; U's rows are read from the first to the last for each
 * panel.
 */
pons_status pons_gptq_sweep(const pons_sweep *sweep, int64_t start, int64_t end, const float *V,
                            const uint8_t *mask, int8_t *codes);

/**
 * SparseGPT and GPTQ in one pass: each block's mask is chosen from its current values by w^2 /
 * U_jj^2 when the sweep reaches it.
 *
 * Unstructured: one threshold for all rows of the block, the metric at index int(count * sparsity)
 * of the sorted ones; entries up to and including it are pruned. n:m (n > 0): per row, when the
 * sweep reaches a group. Local, parallel over panels of rows; needs all rows of the linear.
 * @param block columns that share a threshold; @param m divides block; @param mask [rows, d] out
 * @return PONS_ERR_NOMEM. Memory: 4 rows d + 4 rows block bytes.
 */
pons_status pons_sparsegpt_sweep(const pons_sweep *sweep, int64_t block, const float *W,
                                 double sparsity, int n, int m, uint8_t *mask, int8_t *codes);

#endif
