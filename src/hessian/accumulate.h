/**
 * The Hessian of a group input, H = (2/N) sum over windows of X^T X, summed over windows and ranks
 * with the same bits for any distribution.
 *
 * How: columns are scaled by powers of two s_j, agreed on over all ranks, such that every window's
 * scaled Gram entries are at most 1; each window's entry is rounded to a fixed quantum; fp64 sums
 * of at most 2^20 windows are then exact, hence order-independent. Order of calls: observe every
 * window, agree, then for every panel of rows (or once for the whole matrix): take the rows, add
 * every window, reduce.
 */
#ifndef PONS_HESSIAN_ACCUMULATE_H
#define PONS_HESSIAN_ACCUMULATE_H

#include <stdbool.h>

#include "par/comm.h"

typedef struct pons_hessian pons_hessian;

/** @param d input width; @param windows N over all ranks; @param bf16 inputs hold bf16 values
 * (products run in bf16, exact). Local. Memory: see pons_hessian_take_rows. */
pons_status pons_hessian_create(int64_t d, int64_t windows, bool bf16, pons_hessian **out);
void pons_hessian_destroy(pons_hessian **hessian);

/** Note the column norms of one window. Local. @param X [S, d]; @param window global index, 0-based
 * (the harmonic norm needs it) */
pons_status pons_hessian_observe(pons_hessian *hessian, int64_t window, int64_t S, const float *X);

/** Agree on the column scales. Collective on comm. @return PONS_ERR_NUMERIC on NaN or Inf in any
 * window, naming the window. */
pons_status pons_hessian_agree(pons_hessian *hessian, pons_comm *comm);

/**
 * Replaces agree when windows are added while they are observed: estimate the scales from the first
 * window of rank `root`, with room for norms 2^16 times as large. Collective on comm.
 *
 * Every window must still be observed before it is added. After the last one pons_hessian_fits
 * tells whether the estimate holds; if not, agree and add every window again.
 */
void pons_hessian_estimate_scales(pons_hessian *hessian, pons_comm *comm, int root);

/** Whether the windows observed by all ranks fit the estimated scales: none is too large, NaN or
 * Inf, no column too small to be told from rounding. The same for any distribution. Collective on
 * comm. */
bool pons_hessian_fits(pons_hessian *hessian, pons_comm *comm);

/** Rows of a panel, for matrices too large for every rank to hold: depends on d alone; d itself up
 * to 8192. Local. */
int64_t pons_hessian_panel_rows(int64_t d);

/**
 * Restrict all further calls to rows [first, first + rows) of the upper triangle, rows a multiple
 * of pons_hessian_panel_rows or reaching to d. Without this call all rows are taken.
 *
 * Local. @return PONS_OK, PONS_ERR_NOMEM. Memory 8 rows (d - first) bytes, until the next call.
 */
pons_status pons_hessian_take_rows(pons_hessian *hessian, int64_t first, int64_t rows);

/** Add one window to the rows taken. Local. The same X as was observed. Memory: pons_gram_bytes,
 * until reduce or pons_hessian_release_work.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED (bf16 where there is none), PONS_ERR_BUG (a
 * product was refused). */
pons_status pons_hessian_add(pons_hessian *hessian, int64_t S, const float *X);

/** Release the workspace, for callers that interleave several accumulators. Local. */
void pons_hessian_release_work(pons_hessian *hessian);

/** Sum the rows taken over ranks; afterwards they and the norms are complete on every rank.
 * Collective on comm. @return PONS_OK, PONS_ERR_NOMEM, the same on every rank. */
pons_status pons_hessian_reduce(pons_hessian *hessian, pons_comm *comm);

/** The rows taken, undamped, valid after reduce: when they are all, H [d, d] f64, full symmetric;
 * else [rows, d - first] from the entry (first, first) on, of which the upper triangle counts.
 * Borrowed. Local. */
const double *pons_hessian_matrix(const pons_hessian *hessian);

/** Wanda's c_j [d]: the mean of window norms, or with `harmonic` sum of n_t / t
 * (specification 2.2). Valid after reduce. Borrowed. Local. */
const double *pons_hessian_norm(const pons_hessian *hessian, bool harmonic);

#endif
