/**
 * Householder reflections of many vectors: rotations of weights by random orthogonal matrices.
 */
#ifndef PONS_KERN_REFLECT_H
#define PONS_KERN_REFLECT_H

#include <stdint.h>

#include "base/error.h"

/**
 * `count` vectors c of n floats <- Q^T c with Q = H_0 H_1 ... H_{n-1} S, fp64 inside; entry i of
 * vector r is X[r * vector + i * entry], so that rows and columns of a matrix are both vectors.
 *
 * Local, parallel over vectors, bits independent of threads. @param reflector v_k [n - k], one
 * after the other, H_k = I - v_k v_k^T; @param sign [n] the diagonal of S
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: 128 n bytes per thread. Cost 2 count n^2 flop.
 */
pons_status pons_reflect_vectors(const double *reflector, const int8_t *sign, int64_t n, float *X,
                                 int64_t count, int64_t vector, int64_t entry);

#endif
