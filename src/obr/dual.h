/**
 * The iterative solver of OBR's masked least squares: what the linears of a group share, and the solve.
 * Internal to the room; pons_solve_dual (obr/solver.h) is the same for one panel.
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
    pons_hessian_inverse
        *A; /* of all columns; NULL: fp32 cannot tell the tolerance on this Hessian,
                                every row is the direct solver's */
    pons_hessian_inverse
        *B; /* of columns >= split, with left: x H of columns < split by these; NULL
                                where stage B has nothing to do */
    pons_product *left;
} pons_dual;

/**
 * Prepare the solves of all rows that share a factor and a split.
 *
 * Local, parallel over tiles. @param bf16 iterate in bf16
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED. Cost d^3 / 3 + (d - split)^3 / 3 flop; memory
 * 4 to 6 d^2 + 4 to 6 (d - split)^2 bytes.
 */
pons_status pons_dual_create(const pons_hessian_factor *factor, int64_t split, bool bf16,
                             double tolerance, pons_dual **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_dual_destroy(pons_dual **dual);

/** As pons_solve_dual, with what is shared at hand. @param panel of the same factor and split */
pons_status pons_dual_solve(const pons_dual *dual, const pons_solve_panel *panel,
                            pons_quantize_left quantize, void *user, float *V,
                            pons_row_metrics *metrics);

#endif
