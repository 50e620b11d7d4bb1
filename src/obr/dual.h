/**
 * The masked least squares of obr/solver.h by conjugate gradients: all rows at once, one product
 * with a matrix that they share per iteration. In the inverse Hessian over pruned columns (dual),
 * which is well conditioned, or, where rows keep few columns, in the Hessian over those (primal).
 * Source: design notes on the solver, sections 0 to 3.
 */
#ifndef PONS_OBR_DUAL_H
#define PONS_OBR_DUAL_H

#include "hessian/inverse.h"
#include "obr/solver.h"

/** Tolerance unless the recipe says otherwise. */
#define PONS_DUAL_TOLERANCE 2e-3

typedef struct pons_dual {
    const pons_hessian_factor *factor; /* not owned */
    int64_t split;
    double tolerance; /* excess of a row's layer error over the least one, as a share of it */
    /* of all columns; NULL: fp32 cannot resolve the tolerance on this Hessian, and all rows are
     * solved directly */
    pons_hessian_inverse *A;
    /* of columns >= split; NULL where stage B has nothing to do. `left` is H between columns <
     * split and these */
    pons_hessian_inverse *B;
    pons_product *left;
} pons_dual;

/**
 * Prepare the solves of all rows that share a factor and a split.
 *
 * Collective on the comm of the factor, parallel over tiles. @param bf16 iterate in bf16
 * @param exact K of all columns as exactly as products with it are, for callers that also multiply
 * by it; else as the tolerance allows (hessian/inverse.h)
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_UNSUPPORTED, the same on every
 * rank. Per node: cost d^3 / 3 + (d - split)^3 / 3 flop; memory 4 d^2 bytes in fp32, 12 d^2 where
 * that is made of three bf16 terms (kern/product.h), 8 d^2 in bf16, the same for d - split, and 0,
 * 6 or 4 for each of split (d - split) entries.
 */
pons_status pons_dual_create(const pons_hessian_factor *factor, int64_t split, bool bf16,
                             bool exact, double tolerance, pons_dual **out);

/** Rows of width d in a chunk: even shares, two for each thread where there are enough rows.
 * Changes no bits. An iteration of a chunk is one pass over the matrix (kern/product.h). Local. */
int64_t pons_dual_rows(int64_t d, int64_t rows, int64_t threads);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of the factor. */
void pons_dual_destroy(pons_dual **dual);

/**
 * Both stages for every row of the panel, as pons_solve_direct.
 *
 * A row stops when its dual objective is expected to grow little more, and is then checked: the
 * objective of its weights may exceed the lower bound by the tolerance less an estimate of rounding
 * errors. Where H is copied as bf16 terms, the weights' change is rounded and H two terms. Rows
 * that miss go on where they stopped and are checked with all terms of both; those that miss again
 * are refined from the gradient they have, at last with products as exact as there are, then solved
 * by pons_solve_direct, and counted. Local, parallel over rows; a row's bits depend neither on the
 * others nor on the threads.
 * @param panel of the same factor and split
 * @param metrics added to; may be NULL
 * Cost per row: 2 d^2 flop for each of about ten iterations and two or three for the check, the
 * same with d - split for stage B. Memory: 32 d bytes for each of up to 1024 rows per thread, at
 * most about 110 MiB.
 */
pons_status pons_dual_solve(const pons_dual *dual, const pons_solve_panel *panel,
                            pons_quantize_left quantize, void *user, float *V,
                            pons_row_metrics *metrics);

/**
 * As pons_dual_solve, iterating over kept columns in H with its diagonal as preconditioner.
 *
 * For rows that keep few columns (below about 15 %). The check is rigorous: with the gradient g at
 * kept columns, the objective exceeds the least one by g K g^T at most, the duality gap.
 */
pons_status pons_primal_solve(const pons_dual *dual, const pons_solve_panel *panel,
                              pons_quantize_left quantize, void *user, float *V,
                              pons_row_metrics *metrics);

#endif
