/**
 * P = rho (H + rho I)^-1, the step of alternating-direction methods, and the rho that suits a
 * sparsity. P's eigenvalues lie in (0, 1), so that products with it may run in bf16 whatever the
 * spectrum of H. Source: design notes on the solver, sections 2 and 6.
 */
#ifndef PONS_HESSIAN_SHRINK_H
#define PONS_HESSIAN_SHRINK_H

#include <stdbool.h>

#include "hessian/factor.h"
#include "kern/product.h"

/** Widest Hessian that one rank factors alone: up to here messages between ranks cost more than
 * sharing saves. */
enum { PONS_SHRINK_NARROW = 2048 };

typedef struct pons_hessian_shrink {
    double rho;
    pons_shared *shared;   /* where P lies */
    float *P;              /* [d, d]; NULL where the product holds it */
    pons_product *product; /* x P */
} pons_hessian_shrink;

/**
 * Factor shifted Hessians and prepare products. Collective on the comm of the factor; same bits for
 * any number of ranks and threads. Each narrow one is made by one rank of a node, each wide one by
 * all ranks together.
 * @param count of rho and out; @param out all NULL before, on failure holds what is to be destroyed
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_NUMERIC, PONS_ERR_UNSUPPORTED
 * (bf16 where there is none), the same on every rank. Cost of each d^3 flop over the ranks of a
 * node; memory per node 4 d^2 bytes, 2 d^2 for bf16; while they are made 16 d^2, for narrow ones 4
 * count d^2 and 16 d^2 per rank.
 */
pons_status pons_hessian_shrink_create(const pons_hessian_factor *factor, int count,
                                       const double *rho, bool bf16, pons_hessian_shrink **out);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of the factor. */
void pons_hessian_shrink_destroy(pons_hessian_shrink **shrink);

/**
 * The tau with tr H (H + tau I)^-1 = count: the ridge at which H has `count` effective dimensions.
 *
 * By Lanczos quadrature from a few fixed vectors, accurate to a few percent, for use as a
 * starting value. Collective on the comm of the factor; rank 0 computes, same bits for any number
 * of ranks and threads.
 * @param count in (0, d)
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_NUMERIC, the same on every rank.
 * Cost 160 d^2 flop; memory 164 d bytes.
 */
pons_status pons_hessian_effective_ridge(const pons_hessian_factor *factor, double count,
                                         double *tau);

#endif
