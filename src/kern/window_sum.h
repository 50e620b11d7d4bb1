/**
 * Exactly reproducible sums over windows of L^T R: what gram.c and cross.c share. Internal to the room.
 *
 * The tiles of one window depend on the two widths alone; each entry is rounded to a multiple of the
 * quantum before it is added, which makes the additions exact and so their order irrelevant.
 */
#ifndef PONS_KERN_WINDOW_SUM_H
#define PONS_KERN_WINDOW_SUM_H

#include "kern/bf16.h"
#include "kern/cross.h"

/** The columns of an operand [S, d] in tiles. */
typedef struct pons_window_tiling {
    int64_t d, width;   /* of a tile; the last one may have fewer columns */
    int64_t first, end; /* tiles that take part: [first, end) */
} pons_window_tiling;

/** A running sum. */
typedef struct pons_window_sum {
    /* Of the user, before the beginning. */
    bool bf16;
    bool upper; /* R is L, entries (i, j >= i) alone are wanted */
    int64_t S;
    pons_window_tiling left, right;
    int64_t bottom;       /* tiles of the left whose products are wanted: [left.first, bottom) */
    double quantum, *sum; /* begins at tile (left.first, right.first); borrowed */
    /* Of the sum. */
    int threads;
    int64_t parts, depth; /* bf16: a window's tokens, cut */
    int64_t l, r;         /* bf16: bytes of a tile's part of either side */
    int64_t right_at;     /* bytes before the right operand */
    /* The right one, before it the left one unless it is the same; fp32: all columns, scaled; bf16: [tiles, parts]. */
    uint8_t *operands;
    uint8_t *turned; /* [threads, parts] bf16, upper: the left side of a row of tiles */
    float *products; /* [threads] of a tile */
    pons_bf16_kernel *kernel;
    pons_bf16_worker **workers;
} pons_window_sum;

/** All of d > 0 columns. Local. */
pons_window_tiling pons_window_tiling_of(int64_t d);

/** Bytes of operands and products of tiles, for what the user set and so many threads. Local. */
double pons_window_sum_bytes(const pons_window_sum *of);

/** Allocate. Local. @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED; the end is
 * due in any case. */
pons_status pons_window_sum_begin(pons_window_sum *w);

/** Free what the beginning allocated; fine before it. Local. */
void pons_window_sum_end(pons_window_sum *w);

/** Add a window. Local, in rows of tiles over OpenMP. @param right not looked at where it is the left. @return PONS_OK,
 * PONS_ERR_BUG (the library refused a product). */
pons_status pons_window_sum_add(pons_window_sum *w, pons_cross_side left, pons_cross_side right);

#endif
