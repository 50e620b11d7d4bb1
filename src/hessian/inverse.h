/**
 * The inverse of a trailing block of the damped Hessian, scaled to unit diagonal and prepared for
 * products: what the iterative solvers of a group share.
 *
 * K = (H_TT)^-1 = U_TT^T U_TT for the columns T = [from, d). Source: design notes on the solver,
 * sections 0 and 5.
 */
#ifndef PONS_HESSIAN_INVERSE_H
#define PONS_HESSIAN_INVERSE_H

#include <stdbool.h>

#include "hessian/factor.h"
#include "kern/product.h"

typedef struct pons_hessian_inverse {
    int64_t from, n;
    pons_product_tiles of; /* of n columns */
    pons_shared *shared;   /* holds K */
    float *K;              /* [n, n] K_ij / (unit_i unit_j); NULL where only the product holds it */
    float *unit;           /* [padded] square roots of K's diagonal, 1 in the padding */
    float *column_norm;    /* [padded] norms of H's columns in T (all rows), 0 in the padding */
    float *reciprocal;     /* [padded] 1 / H_jj, 0 in the padding */
    float *diagonal_root;  /* [padded] square roots of H_jj, 0 in the padding */
    float *
        offdiagonal_norm; /* [padded] norms of K's columns without the diagonal, 0 in the padding */
    double noise_gain;    /* sum of (column_norm_j unit_j)^2: factor of white noise in a gradient */
    double condition;     /* mean of column_norm_j unit_j^2, an estimate of the condition number */
    /* K is made of two bf16 terms of U: its entries have an error of 2^-15 at most, mostly far less */
    bool two_term;
    pons_product_kind kind; /* of both products: pons_product_exact */
    pons_product *inverse;  /* x K */
    pons_product *hessian;  /* x H_TT */
} pons_hessian_inverse;

/**
 * Make K of columns [from, d), from < d. The factor must outlive it.
 *
 * Collective on the comm of the factor; the ranks of a node share the work and the result. Same
 * bits for any number of ranks and threads.
 * @param tolerance 0: K as exactly as products with it are. Else of two terms of U in bf16 on AMX
 * tiles (kern/triangle.h), where the condition keeps the error below the tolerance: for iterations,
 * which round K to one term and are checked with H, not for products x K that nothing corrects
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_UNSUPPORTED (bf16 where there is
 * none), the same on every rank. Cost n^3 / 3 flop per node; memory per node 4 n^2 bytes, 8 n^2 for
 * split, 12 n^2 for triple products.
 */
pons_status pons_hessian_inverse_create(const pons_hessian_factor *factor, int64_t from, bool bf16,
                                        double tolerance, pons_hessian_inverse **out);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of the factor. */
void pons_hessian_inverse_destroy(pons_hessian_inverse **inverse);

#endif
