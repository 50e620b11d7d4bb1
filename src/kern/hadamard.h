/**
 * Normalised Hadamard transforms Had_n, fast (never a dense n x n product).
 *
 * Had_n = (H_K (x) Sylvester_{n/K}) / sqrt(n), K the first divisor of n in the order of specification 5.2
 * (172,156,140,108,60,52,36,28,44,40,20,12, then 148, else 1) with n / K a power of two; where QuaRot's and SpinQuant's
 * orders differ (44, 148) the union is used. For other n: H_K (x) H_L (x) ... (x) Sylvester with the least K + L + ...
 * of orders up to 256 that Paley's constructions over fields of prime power order give (4864 = 76 x 64, 25600 = 20 x 20 x 64).
 * Where there are none: a block-diagonal matrix of Sylvester blocks of the largest power of two that divides n.
 * Every H_K is generated (Paley I and II, doubling, Williamson first rows), never tabled.
 */
#ifndef PONS_KERN_HADAMARD_H
#define PONS_KERN_HADAMARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** K of order n; -1: Had_n has several such factors; 0: it is block-diagonal, no Hadamard matrix of that order is known
 * here. Local. */
int pons_hadamard_factor(int64_t n);

/** Order of the blocks of Had_n along its diagonal: n, or the largest power of two that divides it; 0 for n < 1. Local. */
int64_t pons_hadamard_block(int64_t n);

/** The +-1 matrix H_K [K, K], generated on first use, kept for the life of the process. NULL for a
 * K above 256, or without a construction here, or a power of two above 1. Local, thread-safe. */
const int8_t *pons_hadamard_matrix(int K);

/** Each of `rows` rows x (length n, stride ld) <- Had_n x, in place, fp32, parallel over rows.
 * Local. Cost rows n (log2(n) + K + L + ...). */
void pons_hadamard_rows(float *x, int64_t rows, int64_t n, int64_t ld);

/** The same with fp64 inside: for offline use on weights. Local. @return PONS_OK or PONS_ERR_NOMEM.
 * Memory: 64 n bytes per thread. */
pons_status pons_hadamard_rows_f64(float *x, int64_t rows, int64_t n, int64_t ld);

/** Each of `cols` columns (length n) of x [n, ld] <- Had_n column, in place, fp64 inside. Local.
 * @return PONS_OK or PONS_ERR_NOMEM. Memory: 64 n bytes per thread. */
pons_status pons_hadamard_columns_f64(float *x, int64_t n, int64_t cols, int64_t ld);

/** For each of T tokens, x viewed as [nh, hd]: x <- Had_nh x (across heads for each channel).
 * QuaRot's online o_proj transform. Local. */
void pons_hadamard_heads(float *x, int64_t T, int64_t nh, int64_t hd, int64_t ld);

#endif
