/**
 * What one thread does with the tiles of a Cholesky factorisation, fp64.
 *
 * All are Local and cannot fail. Tiles are row-major with leading dimension ld; L is lower
 * triangular.
 */
#ifndef PONS_KERN_CHOLESKY_TILE_H
#define PONS_KERN_CHOLESKY_TILE_H

#include <stdbool.h>
#include <stdint.h>

/** Lower triangle of A [n, n] <- its Cholesky factor, zeros above. @param column [n] work
 * @return 0, or the 1-based pivot that is not positive or not a number. Cost n^3 / 3 flop. */
int64_t pons_cholesky_tile_factor(int64_t n, double *A, int64_t ld, double *column);

/** X [n, n] <- L^-1; all else of X's [ld, ld] <- 0. Cost n^3 / 3 flop. */
void pons_cholesky_tile_invert(int64_t n, const double *L, double *X, int64_t ld);

/** A [m, n] <- A L^-T. Cost m n^2 flop. */
void pons_cholesky_tile_divide_right(int64_t m, int64_t n, const double *L, double *A, int64_t ld);

/** A [m, n] <- L^-1 A. Cost m^2 n flop. */
void pons_cholesky_tile_divide_left(int64_t m, int64_t n, const double *L, double *A, int64_t ld);

/** C [m, n] <- C - A B, or - A B unless `add`; A [m, k], B [k, n], or [n, k] when transposed. Cost
 * 2 m n k flop. */
void pons_cholesky_tile_update(int64_t m, int64_t n, int64_t k, const double *A, const double *B,
                               bool transposed, bool add, double *C, int64_t ld);

#endif
