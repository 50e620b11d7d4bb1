/**
 * Column norms of a window, and the powers of two by which columns are scaled so that sums of their
 * products are exact. Internal to the room. Local.
 */
#ifndef PONS_HESSIAN_COLUMNS_H
#define PONS_HESSIAN_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** Squared norms of the columns of X [S, d] (rounded to bf16 first when `bf16`) into norm [d].
 * Parallel over fixed runs of tokens: same bits for any number of threads.
 * @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_columns_norms(int64_t S, int64_t d, const float *X, bool bf16, double *norm);

/** Exponent e of the scale 2^-e of a column whose windows have squared norms of at most `largest`:
 * the scaled ones are at most 1, and a float holds both powers. 0 for a column of zeros. */
int pons_columns_exponent(double largest);

/** Quantum for sums over `windows` windows of numbers up to 1 and a rounding error: the sums need
 * at most 52 bits, so they are exact in any order. */
double pons_columns_quantum(int64_t windows);

#endif
