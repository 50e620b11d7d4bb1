/**
 * What the rows of all linears of a projection group share. Internal to the room; compress.h has
 * the opaque type.
 */
#ifndef PONS_OBR_SHARED_H
#define PONS_OBR_SHARED_H

#include "hessian/shrink.h"
#include "obr/compress.h"
#include "obr/dual.h"
#include "obr/order.h"
#include "obr/subproblem.h"

struct pons_row_shared {
    pons_solver solver; /* never auto */
    /* The published algorithm's halves; NULL: rows are solved directly, or in another way. */
    pons_dual *dual;

    pons_subproblem *whole; /* all columns: dual_swap mask, blocks */
    int64_t blocks;         /* sub[k] has the columns from edge[k] on; 0: the published algorithm */
    int64_t *edge;          /* [blocks + 1] the last is d */
    pons_subproblem **sub;  /* [blocks]; NULL for the first, and for those without columns */

    float *column; /* [d] weight of a column in the score of the first mask; NULL: no mask */
    pons_hessian_shrink *shrink[PONS_ADMM_STAGES]; /* admm mask */
    /* dual_swap mask: means over drawn sets of [H_RR^-1]_jj / [H^-1]_jj over kept columns R, and of
     * [(H^-1)_EE^-1]_ii / H_ii over pruned columns E. */
    double kept, pruned;

    pons_order *order;    /* obr.act_order; NULL: columns are swept as they stand */
    pons_shared *inverse; /* exact_obs: [d, d] upper triangle of H^-1; NULL: none */
};

#endif
