/**
 * The damped Hessian of a projection group and the factor of its inverse, shared by all row
 * solvers.
 *
 * One flipped Cholesky H = R R^T (R upper) gives U = R^-1 with H^-1 = U^T U, U upper triangular;
 * for any trailing set of columns T, U_TT^T U_TT = (H_TT)^-1. fp64 inside, fp32 out. Source:
 * specification 2.1, 3.4; design notes on the solver, section 5.
 *
 * A team of ranks makes it together: begin, take every row of H, finish. The fp64 matrix is dealt
 * to them in tiles (linalg/tiles.h), what the solvers read is there once per node. Same bits for
 * any number of ranks and threads.
 */
#ifndef PONS_HESSIAN_FACTOR_H
#define PONS_HESSIAN_FACTOR_H

#include <stdint.h>

#include "par/shared.h"

typedef struct pons_hessian_factor {
    pons_comm *comm; /* not owned: the ranks that made it */
    int64_t d;
    float *H;      /* [d, d] damped, dead columns fixed, full symmetric */
    float *U;      /* [d, d] upper triangular, zeros below; H^-1 = U^T U */
    float *norm;   /* [d] Wanda's c_j, as given */
    uint8_t *dead; /* [d] 1 where H_jj was 0: the weight column is to be zeroed */
    int64_t dead_count;
    double damping;                            /* lambda added to the diagonal, unit of diag(H) */
    pons_shared *shared[2];                    /* where H and U lie */
    struct pons_hessian_factor_making *making; /* until it is finished */
} pons_hessian_factor;

/** An empty factor of width d over the ranks of comm. Collective on comm.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch, par/shared.h), the same on every rank.
 * Memory: 8 d^2 bytes per node; 4 d^2 over the ranks of comm until it is finished. */
pons_status pons_hessian_factor_begin(pons_comm *comm, int64_t d, pons_hessian_factor **out);

/**
 * Take rows [first, first + rows) of the upper triangle of H, undamped; all rows must come once, in
 * any order.
 *
 * Local, but with the same arguments and values on every rank. @param H entry (first, first) and
 * what follows, leading dimension ld; what is below the diagonal is not read
 */
void pons_hessian_factor_take(pons_hessian_factor *factor, int64_t first, int64_t rows,
                              const double *H, int64_t ld);

/**
 * Fix dead columns (H_jj = 0 -> 1), damp by `percdamp` of the mean diagonal, factor. Collective on
 * comm.
 * @param norm [d], the same on every rank
 * @param[out] info 0; k > 0: leading minor k (flipped order) not positive definite; -1: NaN or Inf
 * in H or norm. Unless 0 the factor can only be destroyed. The same on every rank.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch, par/shared.h), the same on every rank.
 * Cost 2 d^3 / 3 flop over the ranks.
 */
pons_status pons_hessian_factor_finish(pons_hessian_factor *factor, const double *norm,
                                       double percdamp, int64_t *info);

/**
 * Begin, take all, finish on this rank alone. Local; works before MPI starts.
 * @param H [d, d] f64 symmetric, undamped; @param norm [d]
 * @param[out] info as above. *out is NULL unless 0.
 * @return PONS_OK, PONS_ERR_NOMEM. Memory 12 d^2 bytes while it runs, 8 d^2 after.
 */
pons_status pons_hessian_factor_create(int64_t d, const double *H, const double *norm,
                                       double percdamp, int64_t *info, pons_hessian_factor **out);

/**
 * The factor of the columns [from, d), from < d: damped H_TT, and U_TT, which is its factor.
 * Collective on comm.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch, par/shared.h), the same on every rank.
 * Memory: 8 (d - from)^2 bytes per node.
 */
pons_status pons_hessian_factor_trailing(const pons_hessian_factor *factor, int64_t from,
                                         pons_hessian_factor **out);

/**
 * The factor of H + rho I, where H is the damped one. Collective on comm: the factor's own, or this
 * rank alone.
 * @param rho positive; @param[out] info as above; *out is NULL unless 0
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch, par/shared.h), the same on every rank.
 * Cost and memory as of the factor itself.
 */
pons_status pons_hessian_factor_shifted(const pons_hessian_factor *factor, pons_comm *comm,
                                        double rho, int64_t *info, pons_hessian_factor **out);

/**
 * The factor of some columns in another order: of the damped H_CC + rho I. Collective on comm.
 * @param column [n] different columns, the same on every rank; @param rho at least 0; @param[out]
 * info as above; *out is NULL unless 0
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch, par/shared.h), the same on every rank.
 * Cost and memory as of the factor itself, for width n.
 */
pons_status pons_hessian_factor_ordered(const pons_hessian_factor *factor, int64_t n,
                                        const int64_t *column, double rho, int64_t *info,
                                        pons_hessian_factor **out);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of its making. */
void pons_hessian_factor_destroy(pons_hessian_factor **factor);

#endif
