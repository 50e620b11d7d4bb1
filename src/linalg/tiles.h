/**
 * A symmetric matrix in square tiles distributed over ranks, and the inverse of its Cholesky
 * factor, with bits that do not depend on the number of ranks.
 *
 * The lower triangle is cut into tiles [b, b] of a size that depends on d alone; tile (i, j) lies
 * on rank (i mod p) q + (j mod q) of a p x q grid. Every tile goes through the same operations in
 * the same order whoever owns it, which a library that cuts by the grid (ScaLAPACK:
 * linalg/scalapack.h) cannot promise.
 */
#ifndef PONS_LINALG_TILES_H
#define PONS_LINALG_TILES_H

#include "par/comm.h"

typedef struct pons_tiles pons_tiles;

/** Side of the tiles of a [d, d] matrix. Local. */
int64_t pons_tiles_side(int64_t d);

/** Bytes of the tiles of a [d, d] matrix on the rank, of `ranks`, that holds most, and of the work
 * space of the factorisation (each rank). Local. */
size_t pons_tiles_bytes(int64_t d, int ranks);
size_t pons_tiles_work_bytes(int64_t d);

/** A zero [d, d] matrix over comm, which must outlive it. Collective on comm.
 * @return PONS_OK, PONS_ERR_NOMEM, the same on every rank. */
pons_status pons_tiles_create(pons_comm *comm, int64_t d, pons_tiles **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_tiles_destroy(pons_tiles **tiles);

/** Tile (i, j), j <= i, row-major [b, b], or NULL where another rank holds it. Rows and columns
 * past d, and what is above the diagonal, are ignored. Borrowed. Local. */
double *pons_tiles_at(const pons_tiles *tiles, int64_t i, int64_t j);

/**
 * Takes tile (i, j) of the inverse factor, on every rank, as soon as it is final. Called by several
 * threads at once.
 * @param X [b, b] row-major; rows past d undefined, zeros above the diagonal
 */
typedef void (*pons_tiles_take)(void *user, int64_t i, int64_t j, const double *X);

/**
 * A = L L^T, then the tiles hold L^-1.
 *
 * Collective on the comm of creation; OpenMP inside, BLAS single-threaded per tile.
 * @param take called with every tile of L^-1, tile rows in order; may be NULL
 * @param[out] info 0; k > 0: leading minor k is not positive (or not a number), the tiles then hold
 * nothing of use. The same on every rank.
 * @return PONS_OK, PONS_ERR_NOMEM, the same on every rank.
 * Cost 2 d^3 / 3 flop over all ranks; every rank receives d^2 doubles in d / b rounds.
 * Memory: pons_tiles_work_bytes.
 * How: one sweep. Step k factors tile column k (right-looking), broadcasts it with the finished row
 * k of L^-1, and every later tile row takes its update: A_ij -= L_ik L_jk^T right of column k,
 * B_ij -= L_ik X_kj left of it, where B starts as -L_ik X_kk in the place of L_ik.
 */
pons_status pons_tiles_invert_factor(pons_tiles *tiles, pons_tiles_take take, void *user,
                                     int64_t *info);

#endif
