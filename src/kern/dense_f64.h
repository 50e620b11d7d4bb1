/**
 * Products of float vectors with a square matrix, fp64 inside: rotations of weights.
 */
#ifndef PONS_KERN_DENSE_F64_H
#define PONS_KERN_DENSE_F64_H

#include <stdint.h>

#include "base/error.h"

/**
 * Each of `count` vectors v of n floats <- v Q, in place; entry i of vector r is
 * x[r * vector + i * entry], so that rows and columns of a matrix are both vectors.
 *
 * Local, over OpenMP, bits independent of threads. @param Q [n, n] row-major
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: 1 KiB n per thread. Cost 2 count n^2 flop.
 */
pons_status pons_dense_vectors_f64(const double *Q, int64_t n, float *x, int64_t count,
                                   int64_t vector, int64_t entry);

#endif
