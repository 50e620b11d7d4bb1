/**
 * Quantize left to right, feeding each column's error forward: masked GPTQ and SparseGPT + GPTQ.
 * Source: specification 3.4, 3.6.
 */
#ifndef PONS_OBR_GPTQ_H
#define PONS_OBR_GPTQ_H

#include "obr/compress.h"

/** One sweep over some rows; everything is borrowed. */
typedef struct pons_sweep {
    int64_t row, rows, d; /* row: index of the first one in its linear */
    int64_t block;        /* columns per lazy update */
    const float *U;       /* [d, d] of the factor */
    int bits;
    int64_t group_size, groups; /* columns per scale, scales per row */
    const float *scale;         /* [rows, groups] */
    const int8_t *zero;         /* [rows, groups] */
} pons_sweep;

/**
 * Codes of columns [start, d), blocks beginning at `start`; other columns are not touched.
 *
 * Pruned entries receive updates, get the zero point's code, and what they accumulated counts as
 * error. Local, parallel over panels.
 * @param V [rows, d] weights to start from; @param mask [rows, d] or NULL: nothing pruned
 * @return PONS_ERR_NOMEM. Memory: one panel per thread. Cost rows (d - start)^2 flop.
 */
pons_status pons_gptq_sweep(const pons_sweep *sweep, int64_t start, const float *V,
                            const uint8_t *mask, int8_t *codes);

/**
 * SparseGPT and GPTQ in one pass: each block's mask is chosen from its current values by w^2 /
 * U_jj^2 when the sweep reaches it.
 *
 * Unstructured: one threshold for all rows of the block, the metric at index int(count * sparsity)
 * of the sorted ones; entries up to and including it are pruned. n:m (n > 0): per row, when the
 * sweep reaches a group. Local, parallel over panels; needs all rows of the linear.
 * @param m divides block; @param mask [rows, d] out
 * @return PONS_ERR_NOMEM. Memory: 8 rows d + 8 rows block bytes.
 */
pons_status pons_sparsegpt_sweep(const pons_sweep *sweep, const float *W, double sparsity, int n,
                                 int m, uint8_t *mask, int8_t *codes);

/**
 * Columns [from, to) of one row, with updates of [from, end). Shared by the two sweeps. Local.
 * @param i row; @param w [d] current values; @param mask [d] or NULL; @param error [to - from]
 * @param codes [d]
 */
void pons_gptq_columns(const pons_sweep *sweep, int64_t i, int64_t from, int64_t to, int64_t end,
                       float *w, const uint8_t *mask, float *error, int8_t *codes);

/** The lazy update of one panel: W[:, end..d) -= E U[begin..end, end..d).
 * @param W [PONS_ROW_PANEL, d]; @param E [PONS_ROW_PANEL, sweep->block] Local. */
void pons_gptq_update(const pons_sweep *sweep, int64_t begin, int64_t end, const float *E,
                      float *W);

#endif
