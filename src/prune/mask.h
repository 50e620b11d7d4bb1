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

/** The entries of one row that are pruned: smallest metrics (non-negative, finite), ties lower
 * column first. */
typedef struct pons_mask_rule {
    double sparsity; /* the int(d * sparsity) least of a row */
    int n, m;        /* instead, when n > 0: the n least of every m consecutive columns */
} pons_mask_rule;

/** Whether a rule fits width d. Local. @return PONS_ERR_SHAPE when m does not divide d. */
pons_status pons_mask_check(pons_mask_rule rule, int64_t d);

/** Mask of one row by its metrics. Local. @param metric, mask [d] */
void pons_mask_row(pons_mask_rule rule, int64_t d, const float *metric, uint8_t *mask);

/**
 * Metric |W_ij| column_j in fp32: magnitude with all 1, Wanda with sqrt(c_j), OBS with
 * 1 / sqrt([H^-1]_jj).
 * @param W [rows, d] finite; @param column [d] non-negative; @param mask [rows, d]
 * @return PONS_ERR_NOMEM; PONS_ERR_SHAPE when m does not divide d.
 */
pons_status pons_mask_score(pons_mask_rule rule, int64_t rows, int64_t d, const float *W,
                            const float *column, uint8_t *mask);

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
