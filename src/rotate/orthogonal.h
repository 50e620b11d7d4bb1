/**
 * An orthogonal matrix Q: random Hadamard, random orthogonal, or given entry by entry.
 *
 * Hadamard: Q = D Had_n^T with D the diagonal of random signs and Had_n of kern/hadamard.h, so that
 * x Q = Had_n (D x). Random orthogonal: Q = H_0 H_1 ... H_{n-1} S, Householder reflections of
 * independent Gaussian vectors of lengths n, n-1, ..., 1 and signs S = sign(diag R): exactly what QR
 * of a Gaussian matrix with sign-fixed columns gives in distribution (Stewart 1980), at half the
 * draws and without a dense factor. Given: a matrix that was trained. Private to the room. Source:
 * specification 5.2, 5.3.
 */
#ifndef PONS_ROTATE_ORTHOGONAL_H
#define PONS_ROTATE_ORTHOGONAL_H

#include <stdint.h>

#include "base/error.h"
#include "base/mt19937.h"

typedef struct pons_orthogonal {
    int64_t n;
    int8_t *sign; /* [n] D or S; NULL: all +1 */
    double
        *reflector; /* v_k [n - k], one after the other, H_k = I - v_k v_k^T; NULL: another kind */
    double *dense;  /* [n, n] as given; NULL: another kind */
} pons_orthogonal;

/**
 * Hadamard with one sign per row drawn from rng, low bit 1 -> +1; rng NULL: no signs, Q = Had_n^T.
 * Local. n must have a Hadamard factor. @return PONS_OK, PONS_ERR_NOMEM; *out is then empty.
 */
pons_status pons_orthogonal_hadamard(int64_t n, pons_mt19937 *rng, pons_orthogonal *out);

/** Uniformly distributed orthogonal matrix. Local. @return PONS_OK, PONS_ERR_NOMEM. Memory: 4 n^2
 * bytes. */
pons_status pons_orthogonal_random(int64_t n, pons_mt19937 *rng, pons_orthogonal *out);

/**
 * A given matrix Q [n, n], copied. Local.
 * @param[out] deviation largest entry of |Q^T Q - I|, to be judged by the caller; NaN and Inf in Q
 * make it Inf
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: 8 n^2 bytes, and 4 n^2 meanwhile. Cost: 2 n^3 flop.
 */
pons_status pons_orthogonal_given(int64_t n, const float *Q, double *deviation,
                                  pons_orthogonal *out);

/** Free what it holds; an empty one is fine. Local. */
void pons_orthogonal_clear(pons_orthogonal *Q);

/** X <- X Q, rows of length n at stride ld, fp64 inside. Local, bits independent of threads.
 * @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_orthogonal_rows(const pons_orthogonal *Q, float *X, int64_t rows, int64_t ld);

/** X <- Q^T X, X [n, cols] at row stride ld, fp64 inside. Local, bits independent of threads.
 * @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_orthogonal_columns(const pons_orthogonal *Q, float *X, int64_t cols, int64_t ld);

#endif
