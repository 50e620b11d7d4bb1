/**
 * Products with prepared matrices handed out tile by tile, while a tile is in cache. Internal to the
 * room.
 */
#ifndef PONS_KERN_TILES_H
#define PONS_KERN_TILES_H

#include "kern/gemm.h"

/* Most matrices whose tiles are made together. */
enum { PONS_TILES = 2 };

/** The same tile of the products with each matrix. */
typedef struct pons_tile {
    int64_t token, tokens;      /* of X: first and how many, of one panel or several */
    int64_t number, row, rows;  /* which tile along W; its first row of W and how many */
    const float *y[PONS_TILES]; /* [tokens, rows] of each matrix, biases added */
    int64_t ld;                 /* entries between tokens in y */
} pons_tile;

/** What is done with a tile; called by several threads at once, once for every tile. */
typedef void pons_tile_use(void *user, const pons_tile *tile);

/** Tokens of X. Local. */
int64_t pons_matmul_tokens(const pons_matmul_input *X);

/** Tiles along the rows of W. Local. */
int64_t pons_matmul_tiles(const pons_matmul *W);

/**
 * Make all tiles of X W^T for `count` <= PONS_TILES matrices of one shape. Local, parallel; tiles
 * depend on X's rows and W alone. @return PONS_OK, PONS_ERR_NOMEM. Memory:
 * PONS_MATMUL_THREAD_BYTES per thread.
 */
pons_status pons_matmul_run(int count, const pons_matmul *const *W, const pons_matmul_input *X,
                            pons_tile_use *use, void *user);

#endif
