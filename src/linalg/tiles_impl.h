/**
 * What is inside pons_tiles. Internal to linalg.
 */
#ifndef PONS_LINALG_TILES_IMPL_H
#define PONS_LINALG_TILES_IMPL_H

#include "linalg/tiles.h"

struct pons_tiles {
    pons_comm *comm;             /* not owned */
    int64_t d, side, n;          /* n x n tiles */
    int grid_rows, grid_columns; /* product: the ranks of comm */
    int64_t *index;              /* [n, n] place of tile (i, j) in data, -1 where it is not here */
    int64_t count;
    double *data; /* [count, side, side] */
};

/** Rank that holds tile (i, j). Local. */
static inline int pons_tiles_owner(const pons_tiles *t, int64_t i, int64_t j)
{
    return (int)(i % t->grid_rows) * t->grid_columns + (int)(j % t->grid_columns);
}

/** Rows (or columns) of tile row i that exist. Local. */
static inline int64_t pons_tiles_extent(const pons_tiles *t, int64_t i)
{
    int64_t left = t->d - i * t->side;
    return left < t->side ? left : t->side;
}

#endif
