/**
 * Vectors of floats: sums and operations entry by entry, for loops over rows.
 *
 * All are Local and cannot fail; all but the last run in one thread. Sums run over 16 fixed lanes
 * in a fixed order, so the bits depend on the data alone. `out` may be an operand.
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

/** out <- a - b, a / b, a b, out + a, entry by entry. */
void pons_vector_subtract(int64_t n, const float *a, const float *b, float *out);
void pons_vector_divide(int64_t n, const float *a, const float *b, float *out);
void pons_vector_multiply(int64_t n, const float *a, const float *b, float *out);
void pons_vector_add(int64_t n, const float *a, float *out);

/** norm[i] <- Euclidean norm of row i of A [rows, n], in fp64. Parallel over rows. */
void pons_row_norms(int64_t rows, int64_t n, const float *A, float *norm);

#endif
