/**
 * Sums over vectors of floats, for loops over rows.
 *
 * All are Local and cannot fail; all but the last run in one thread. Sums run over 16 fixed lanes in a fixed order, so the bits
 * depend on the data alone.
 */
#ifndef PONS_KERN_VECTOR_H
#define PONS_KERN_VECTOR_H

#include <stdint.h>

/** Sum of a[j] b[j], in fp64. */
double pons_vector_dot(int64_t n, const float *a, const float *b);

/** Sum of a[j]^2, n a multiple of 16, in fp32. */
double pons_vector_square(int64_t n, const float *a);

/** Sum of (a[j] w[j])^2, n a multiple of 16, in fp32. */
double pons_vector_weighted_square(int64_t n, const float *a, const float *w);

/** Sums of (a[j] w[j])^2 and of (a[j] w[j] v[j])^2, n a multiple of 16, in fp32, to sum[2]. */
void pons_vector_weighted_squares(int64_t n, const float *a, const float *w, const float *v,
                                  double *sum);

/** norm[i] <- Euclidean norm of row i of A [rows, n], in fp64. Parallel over rows. */
void pons_row_norms(int64_t rows, int64_t n, const float *A, float *norm);

#endif
