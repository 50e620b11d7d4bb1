/**
 * The inverse K = U^T U of a matrix from its inverse factor, in memory that the ranks of a node
 * share. kern/triangle.h makes the same product on AMX tiles.
 */
#ifndef PONS_KERN_INVERSE_H
#define PONS_KERN_INVERSE_H

#include "par/shared.h"

/**
 * This rank's share of the upper triangle of K = U^T U, in tiles that are one product each. Local,
 * parallel over tiles.
 * @param U [n, n] upper triangular, leading dimension ldu; @param deal the block that holds K: its
 * ranks share the tiles, and the caller settles it; @param K [n, n], undefined below the diagonal.
 * Cost n^3 / 3 flop per node.
 */
void pons_inverse_from_factor(int64_t n, const float *U, int64_t ldu, const pons_shared *deal,
                              float *K);

/**
 * K_ij <- K_ij / (unit_i unit_j) above the diagonal, 1 on it, the lower triangle mirrored from the
 * upper one; this rank's share of the tiles. Local, parallel over tiles. @param deal as above
 */
void pons_inverse_scale(int64_t n, const float *unit, const pons_shared *deal, float *K);

#endif
