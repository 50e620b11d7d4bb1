/**
 * How much to prune where, so that the sum of damages is least at a given total.
 */
#ifndef PONS_PRUNE_ALLOCATE_H
#define PONS_PRUNE_ALLOCATE_H

#include <stdint.h>

#include "base/error.h"

/** Points of a damage curve. */
#define PONS_ALLOCATE_POINTS 5

/** One thing to prune. */
typedef struct pons_allocate_item {
    int64_t weights;
    double damage[PONS_ALLOCATE_POINTS]; /* at the given sparsities; finite, not negative */
} pons_allocate_item;

/**
 * Sparsities of n items that minimise the sum of damages where sum of weights * sparsity is `total`.
 *
 * One Lagrange multiplier for all: curves are interpolated (in the logarithm, damage growing about
 * exponentially with sparsity), made convex, cut into short segments, and the segments with the least
 * damage per pruned weight are taken until the total is reached; the last one in part. Local,
 * deterministic: equal slopes are taken in the order of the items.
 * @param at [PONS_ALLOCATE_POINTS] ascending sparsities of all curves
 * @param total pruned weights in all, between those of the first and of the last sparsity everywhere
 * @param sparsity [n] out, within [at[0], at[last]]
 * @return PONS_OK or PONS_ERR_NOMEM.
 */
pons_status pons_allocate(int64_t n, const pons_allocate_item *items, const double *at,
                          double total, double *sparsity);

#endif
