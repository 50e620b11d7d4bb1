/**
 * The cross Hessian of two sets of columns over the calibration windows, C = (2/N) sum over windows
 * of A^T X, summed over windows and ranks with the same bits for any distribution.
 *
 * Unit and method are those of the Hessian (hessian/accumulate.h): columns scaled by agreed powers
 * of two, entries rounded to a quantum, exact sums. Order of calls: observe every window, agree,
 * add every window, reduce.
 */
#ifndef PONS_HESSIAN_CROSS_H
#define PONS_HESSIAN_CROSS_H

#include <stdbool.h>

#include "par/comm.h"

typedef struct pons_cross pons_cross;

/** @param p columns of A; @param d of X; @param windows N over all ranks; @param bf16 products in
 * bf16, both sides rounded to it. Local. Memory 8 p d. @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_cross_create(int64_t p, int64_t d, int64_t windows, bool bf16, pons_cross **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_cross_destroy(pons_cross **cross);

/** Note the column norms of one window. Local. @param A [S, p]; @param X [S, d]
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_NUMERIC on NaN or Inf, naming the window. */
pons_status pons_cross_observe(pons_cross *cross, int64_t window, int64_t S, const float *A,
                               const float *X);

/** Agree on the column scales. Collective on comm. */
void pons_cross_agree(pons_cross *cross, pons_comm *comm);

/** Add one window. Local. The same A and X as were observed; every window has the same S. @return
 * PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED (bf16 where there is none), PONS_ERR_BUG (a product
 * was refused). Memory: pons_cross_sum_bytes, until reduce or
 * pons_cross_release_work. Cost 2 S p d flop. */
pons_status pons_cross_accumulate(pons_cross *cross, int64_t S, const float *A, const float *X);

/** Release that memory, for callers that interleave several sums; the next window takes it again. Local. */
void pons_cross_release_work(pons_cross *cross);

/** Sum over ranks; afterwards C is complete on every rank. Collective on comm. */
void pons_cross_reduce(pons_cross *cross, pons_comm *comm);

/** C [p, d] f64, valid after reduce. Borrowed. Local. */
const double *pons_cross_matrix(const pons_cross *cross);

#endif
