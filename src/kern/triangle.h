/**
 * The square of a triangle on AMX tiles: the inverse of a matrix from its inverse factor.
 */
#ifndef PONS_KERN_TRIANGLE_H
#define PONS_KERN_TRIANGLE_H

#include "par/shared.h"

/**
 * This rank's share of the upper triangle of K = U^T U, U upper triangular, every number as a sum of bf16 terms, two or
 * three: of the accuracy of kern/product.h's split or, fp32's, triple. Where pons_bf16_on_tiles only.
 *
 * Collective on comm: the ranks of a node prepare U together. Parallel. Same bits for any number of ranks and threads.
 * @param terms 2: entries of K err by 2^-15 |U_i| |U_j| at most, mostly far less; 3
 * @param deal what K lies in: its ranks share the work; settled by the caller
 * @param U [n, n], zeros below the diagonal, leading dimension ldu; @param K [n, n], below the diagonal anything
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), the same on every rank. Cost n^3 / 3 flop, three or six
 * times in bf16; memory per node `terms` n (n + 256) bytes, per thread 262 KB for each, freed on return.
 */
pons_status pons_triangle_square(pons_comm *comm, const pons_shared *deal, int64_t n,
                                 const float *U, int64_t ldu, float *K, int terms);

#endif
