/**
 * GPTQ by decreasing activation: columns with the largest H_jj first, while most other columns can
 * still compensate their errors. Internal to the room.
 *
 * The sweep runs over columns gathered in its order, with the factor of H in that order; codes and
 * masks are scattered back to the order of the linear. A column keeps the scale of its own group.
 */
#ifndef PONS_OBR_ORDER_H
#define PONS_OBR_ORDER_H

#include "obr/compress.h"
#include "obr/gptq.h"

typedef struct pons_order {
    int64_t n, d;                /* columns that are swept, the last ones of a linear of width d */
    int64_t *column;             /* [n] of the linear, in the order of the sweep */
    pons_hessian_factor *factor; /* of these columns in this order */
    double
        damping; /* share of the mean diagonal of H that was added; 0: only the damping of the factor */
} pons_order;

/**
 * Order the columns [from, d), from < d, and factor their Hessian. Collective on the comm of the
 * factor.
 * @param unit neighbours that stay together, by their mean H_jj: 1, or m of n:m where the sweep
 * chooses masks. Equal ones keep their order; an incomplete last
 * unit counts as a unit.
 * @param retries how often the damping may be raised, from 0 to 1e-4 and then tenfold, while the
 * factorisation fails
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_NUMERIC when the reordered
 * Hessian holds NaN or Inf or is not positive definite after all retries, the same on every rank.
 * Per node: cost 2 n^3 / 3 flop a try, memory 8 n^2 bytes, 12 n^2 while it runs.
 */
pons_status pons_order_create(const pons_hessian_factor *factor, int64_t from, int64_t unit,
                              int retries, pons_order **out);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of the factor. */
void pons_order_destroy(pons_order **order);

/**
 * pons_gptq_sweep of the ordered columns. Local, parallel over rows; a row's bits depend on it
 * alone.
 * @param sweep rows, width d, scales and zeros of the linear; its U is not looked at
 * @return PONS_ERR_NOMEM. Memory: 8 rows n bytes beside the sweep's.
 */
pons_status pons_order_gptq(const pons_order *order, const pons_sweep *sweep, const float *V,
                            const uint8_t *mask, int8_t *codes);

/** pons_sparsegpt_sweep in order: a block is `block` columns that the sweep reaches one after the
 * other, m columns are neighbours in the linear. Needs an order of all columns, by units of m. */
pons_status pons_order_sparsegpt(const pons_order *order, const pons_sweep *sweep, int64_t block,
                                 const float *W, double sparsity, int n, int m, uint8_t *mask,
                                 int8_t *codes);

#endif
