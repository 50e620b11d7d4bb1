/**
 * Kronecker transforms x <- x (A (x) B) of tokens, without the product matrix.
 */
#ifndef PONS_KERN_KRONECKER_H
#define PONS_KERN_KRONECKER_H

#include <stdbool.h>
#include <stdint.h>

/** Largest order of a factor. */
enum { PONS_KRONECKER_LARGEST = 512 };

/**
 * Factors (L, R), L R = d, that FlatQuant takes for width d: u - v and u + v for the smallest
 * u >= sqrt(d) such that u^2 - d is a square v^2. Local. Source: specification 5.4.
 * @return false where there are none (d = 2 mod 4) or a factor exceeds PONS_KRONECKER_LARGEST.
 */
bool pons_kronecker_factors(int64_t d, int64_t *L, int64_t *R);

/**
 * Each of T tokens x, seen as X [L, R] row-major, <- A^T X B, in place, fp32, over OpenMP, bits
 * independent of threads. Local, allocates nothing.
 *
 * @param At A transposed [L, L]; NULL: the identity @param B [R, R]; NULL: the identity
 * @param ld token stride. With At NULL, L may be any number; with B NULL, R.
 * Cost 2 L R (L + R) flop a token.
 */
void pons_kronecker_rows(int64_t T, int64_t L, int64_t R, const float *At, const float *B, float *x,
                         int64_t ld);

/** One vector w [L, R] <- A^T W B in fp64, for weights. Local, one thread. @param A [L, L], B [R,
 * R] as given, not transposed; @param scratch [L R] */
void pons_kronecker_f64(int64_t L, int64_t R, const double *A, const double *B, double *w,
                        double *scratch);

#endif
