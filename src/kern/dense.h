/**
 * Small dense algebra for one thread: Cholesky factors and triangular solves in fp32, eigenvalues
 * of small tridiagonal matrices in fp64. For algorithms that run on the host whatever the back end:
 * the direct solver, Lanczos quadrature.
 *
 * All are Local. Matrices are row-major with leading dimension ld; R and U are upper triangular,
 * and what lies below the diagonal is neither read nor written. Called inside a parallel region, so
 * that the library does not start threads of its own.
 */
#ifndef PONS_KERN_DENSE_H
#define PONS_KERN_DENSE_H

#include <stdint.h>

/** Upper triangle of A [n, n] <- R with A = R^T R. @return 0, or the order of the first leading
 * minor that is not positive or not a number. Cost n^3 / 3 flop. */
int64_t pons_dense_factor(int64_t n, float *A, int64_t ld);

/** x [n] <- (R^T R)^-1 x. */
void pons_dense_solve(int64_t n, const float *R, int64_t ld, float *x);

/** x [n] <- R^-1 x. */
void pons_dense_solve_upper(int64_t n, const float *R, int64_t ld, float *x);

/** y [rows] = A x, A [rows, columns]. */
void pons_dense_multiply(int64_t rows, int64_t columns, const float *A, int64_t ld, const float *x,
                         float *y);

/** y [columns] = A^T x, A [rows, columns]. */
void pons_dense_multiply_transposed(int64_t rows, int64_t columns, const float *A, int64_t ld,
                                    const float *x, float *y);

/** x [n] <- U^T U x. */
void pons_dense_multiply_gram(int64_t n, const float *U, int64_t ld, float *x);

/**
 * Eigenvalues and eigenvectors of a symmetric tridiagonal matrix.
 * @param diagonal [n] in: the diagonal, out: eigenvalues, ascending; @param beside [n - 1] the
 * entries beside the diagonal, destroyed; @param vectors [n, n] out: row k is the eigenvector of
 * value k; @param work [2 n]
 * @return 0, or a positive number when the iteration did not converge.
 */
int64_t pons_dense_tridiagonal(int64_t n, double *diagonal, double *beside, double *vectors,
                               double *work);

#endif
