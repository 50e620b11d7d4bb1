/**
 * How much to prune where, and to how many bits the rest is rounded, so that the sum of damages is
 * least at a given total.
 */
#ifndef PONS_PRUNE_ALLOCATE_H
#define PONS_PRUNE_ALLOCATE_H

#include <stdint.h>

#include "base/error.h"

/** Sparsities, and at most how many widths, at which damage is known. */
#define PONS_ALLOCATE_POINTS 3
#define PONS_ALLOCATE_WIDTHS 7

/** What every item may choose from. */
typedef struct pons_allocate_grid {
    double first, last;             /* sparsities; a third point is half-way */
    int widths;                     /* 1 to PONS_ALLOCATE_WIDTHS */
    int bits[PONS_ALLOCATE_WIDTHS]; /* of a kept weight; {1} counts kept weights */
} pons_allocate_grid;

/** One thing to prune. */
typedef struct pons_allocate_item {
    int64_t weights;
    /* at the grid's bits, at the first sparsity, half-way and the last; finite, not negative */
    double damage[PONS_ALLOCATE_WIDTHS][PONS_ALLOCATE_POINTS];
} pons_allocate_item;

/** What an item gets. */
typedef struct pons_allocate_choice {
    double sparsity; /* within the grid's */
    int bits;        /* one of the grid's */
} pons_allocate_choice;

/**
 * Choices of n items that minimise the sum of damages where they hold at most `total` bits, an item
 * weights * (1 - sparsity) * bits: what sparse storage takes besides its masks.
 *
 * One Lagrange multiplier for all: curves are interpolated (a parabola in the logarithm, damage
 * growing about exponentially with sparsity), the lower convex hull over all widths is cut into
 * short segments, and the segments with the least damage per bit saved are taken until the total is
 * reached; the last one in part, by a lower sparsity at the bits it leads to. With one width the
 * total is met exactly. Local, deterministic: equal slopes are taken in the order of the items.
 * @param total at least what the items hold at the fewest bits and the last sparsity
 * @param choice [n] out
 * @return PONS_OK or PONS_ERR_NOMEM.
 */
pons_status pons_allocate(int64_t n, const pons_allocate_item *items,
                          const pons_allocate_grid *grid, double total,
                          pons_allocate_choice *choice);

#endif
