/**
 * Quadratic forms of rows with the Hessian: layer errors and energies.
 */
#ifndef PONS_OBR_FORM_H
#define PONS_OBR_FORM_H

#include "hessian/factor.h"

/** Rows of width d that a thread multiplies in one call; it holds their copies and products. Local. */
int64_t pons_row_form_rows(int64_t d, int64_t rows, int64_t threads);

/**
 * form[i] = x_i (H - lambda I) x_i^T: the products in fp32, the sums in fp64. Local, parallel over
 * rows; a row's bits depend on it alone.
 * @param X [rows, d], zero in dead columns (their artificial diagonal then adds nothing)
 * @return PONS_OK, PONS_ERR_NOMEM. Cost 2 rows d^2 flop. Memory: 8 d bytes for each of up to 256
 * rows per thread, at most about 32 MiB, and 1.3 MiB.
 */
pons_status pons_row_form(const pons_hessian_factor *factor, int64_t rows, const float *X,
                          double *form);

#endif
