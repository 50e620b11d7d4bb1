/**
 * What every row solver of a group shares: the damped Hessian and the factor of its inverse.
 *
 * One flipped Cholesky H = R R^T (R upper) gives U = R^-1 with H^-1 = U^T U, U upper triangular;
 * for any trailing set of columns T, U_TT^T U_TT = (H_TT)^-1. fp64 inside, fp32 out. Source:
 * specification 2.1, 3.4; design notes on the solver, section 5.
 */
#ifndef PONS_HESSIAN_FACTOR_H
#define PONS_HESSIAN_FACTOR_H

#include <stdint.h>

#include "base/error.h"

typedef struct pons_hessian_factor {
    int64_t d;
    float *H;      /* [d, d] damped, dead columns fixed, full symmetric */
    float *U;      /* [d, d] upper triangular, zeros below; H^-1 = U^T U */
    float *norm;   /* [d] Wanda's c_j, as given */
    uint8_t *dead; /* [d] 1 where H_jj was 0: the weight column is to be zeroed */
    int64_t dead_count;
    double damping; /* lambda added to the diagonal, unit of diag(H) */
} pons_hessian_factor;

/**
 * Fix dead columns (H_jj = 0 -> 1), damp by `percdamp` of the mean diagonal, factor. Local,
 * deterministic.
 * @param H [d, d] f64 symmetric, undamped; @param norm [d]
 * @param[out] info 0; k > 0: leading minor k (flipped order) not positive definite; -1: NaN or Inf
 * in H. *out is NULL unless 0.
 * @return PONS_OK, PONS_ERR_NOMEM. Cost d^3 flop; memory 16 d^2 bytes while it runs, 8 d^2 after.
 */
pons_status pons_hessian_factor_create(int64_t d, const double *H, const double *norm,
                                       double percdamp, int64_t *info, pons_hessian_factor **out);
void pons_hessian_factor_destroy(pons_hessian_factor **factor);

#endif
