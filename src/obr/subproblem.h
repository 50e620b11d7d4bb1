/**
 * The least-squares problem of trailing columns when the leading columns of rows are fixed.
 * Internal to the room.
 *
 * With columns L < from fixed, columns T free, w dense, v fixed: the minimiser of (x - w) H (x -
 * w)^T over x_T is that of (x_T - y) H_TT (x_T - y)^T for y = w_T + (w_L - v_L) H_LT (H_TT)^-1, the
 * unconstrained optimum: a problem of the same form, with target y and the trailing factor.
 */
#ifndef PONS_OBR_SUBPROBLEM_H
#define PONS_OBR_SUBPROBLEM_H

#include "obr/dual.h"

typedef struct pons_subproblem {
    const pons_hessian_factor *factor; /* of all columns; not owned */
    int64_t from;
    pons_hessian_factor *trailing; /* NULL when from is 0, or rows are solved directly */
    pons_solver solver;
    pons_dual *dual; /* NULL: rows are solved directly */
} pons_subproblem;

/**
 * Prepare the problem of the columns [from, d), from < d. Collective on the comm of the factor.
 * @param solver not auto; @param bf16, tolerance of the iterative ones
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_UNSUPPORTED, the same on every
 * rank. Cost per node (d - from)^3 / 3 flop; memory per node 12 to 20 (d - from)^2 bytes.
 */
pons_status pons_subproblem_create(const pons_hessian_factor *factor, int64_t from,
                                   pons_solver solver, bool bf16, double tolerance,
                                   pons_subproblem **out);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of the factor. */
void pons_subproblem_destroy(pons_subproblem **sub);

/**
 * Columns [from, d) of V <- the minimiser; the columns before them are read and not changed.
 *
 * Local, parallel over rows; a row's bits depend on it alone.
 * @param panel all rows; split and keep_full_rows are not looked at
 * @param V [rows, d]; zero off the mask from column `from` on, on exit
 * @param metrics solve_seconds, products and counts are added to
 * @return as the solvers. Memory: 16 rows (d - from) bytes beside theirs.
 */
pons_status pons_subproblem_solve(const pons_subproblem *sub, const pons_solve_panel *panel,
                                  float *V, pons_row_metrics *metrics);

#endif
