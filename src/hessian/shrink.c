/* The shifted inverse of alternating-direction methods. The factorisation is in factor.c, its use
 * in obr. */
#include "hessian/shrink.h"

#include "base/mem.h"
#include "hessian/inverse.h"
#include "kern/inverse.h"

/* This rank's rows of the upper triangle times rho, then its rows of the lower one. */
static void finish(int64_t d, double rho, pons_shared *deal, float *P)
{
    int rank = pons_shared_rank(deal), ranks = pons_shared_size(deal);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = rank; i < d; i += ranks)
        for (int64_t j = i; j < d; j++)
            P[i * d + j] = (float)(rho * (double)P[i * d + j]);
    pons_shared_settle(deal);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = rank; i < d; i += ranks)
        for (int64_t j = 0; j < i; j++)
            P[i * d + j] = P[j * d + i];
    pons_shared_settle(deal);
}

/* Make P with the ranks of comm. @param where the block of P, shared by these ranks; NULL: this
 * rank alone writes P */
static pons_status make(const pons_hessian_factor *factor, pons_comm *comm, double rho,
                        pons_shared *where, float *P)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *shifted = NULL;
    int64_t d = factor->d, info = 0;
    PONS_TRY(st, pons_hessian_factor_shifted(factor, comm, rho, &info, &shifted));
    if (info) {
        st =
            pons_fail(PONS_ERR_NUMERIC, "the Hessian plus %g is not positive definite (minor %lld)",
                      rho, (long long)info);
        goto done;
    }
    pons_shared *deal = where ? where : shifted->shared[0];
    pons_inverse_from_factor(d, shifted->U, d, deal, P);
    pons_shared_settle(deal);
    finish(d, rho, deal, P);
done:
    pons_hessian_factor_destroy(&shifted);
    return st;
}

static pons_status create_empty(const pons_hessian_factor *factor, double rho,
                                pons_hessian_shrink **out)
{
    pons_status st = PONS_OK;
    pons_hessian_shrink *s = pons_mem_calloc(1, sizeof *s);
    PONS_TRY_ALL(st, factor->comm, s ? PONS_OK : PONS_ERR_NOMEM);
    s->rho = rho;
    PONS_TRY(st, pons_shared_create(factor->comm, (size_t)(factor->d * factor->d) * sizeof *s->P,
                                    &s->shared));
    s->P = pons_shared_data(s->shared);
    *out = s;
    s = NULL;
done:
    pons_hessian_shrink_destroy(&s);
    return st;
}

static pons_status prepare_product(const pons_hessian_factor *factor, bool bf16,
                                   pons_hessian_shrink *s)
{
    pons_status st = PONS_OK;
    int64_t d = factor->d;
    PONS_TRY(st,
             pons_product_create_shared(factor->comm, bf16 ? PONS_PRODUCT_BF16 : PONS_PRODUCT_FP32,
                                        d, d, s->P, d, 0, 0, &s->product));
    if (bf16) {
        pons_shared_destroy(&s->shared);
        s->P = NULL;
    }
done:
    return st;
}

/* Each by one of the ranks that share it. */
static pons_status deal(const pons_hessian_factor *factor, int count, pons_hessian_shrink **s)
{
    pons_status local = PONS_OK;
    for (int k = 0; k < count && local == PONS_OK; k++)
        if (k % pons_shared_size(s[k]->shared) == pons_shared_rank(s[k]->shared))
            local = make(factor, pons_par_alone(), s[k]->rho, NULL, s[k]->P);
    local = pons_comm_agree(factor->comm, local);
    for (int k = 0; k < count; k++)
        pons_shared_settle(s[k]->shared);
    return local;
}

pons_status pons_hessian_shrink_create(const pons_hessian_factor *factor, int count,
                                       const double *rho, bool bf16, pons_hessian_shrink **out)
{
    pons_status st = PONS_OK;
    bool narrow = factor->d <= PONS_SHRINK_NARROW;
    for (int k = 0; k < count && narrow; k++)
        PONS_TRY(st, create_empty(factor, rho[k], &out[k]));
    if (narrow) PONS_TRY(st, deal(factor, count, out));
    for (int k = 0; k < count; k++) {
        if (!narrow) {
            PONS_TRY(st, create_empty(factor, rho[k], &out[k]));
            PONS_TRY(st, make(factor, factor->comm, rho[k], out[k]->shared, out[k]->P));
        }
        PONS_TRY(st, prepare_product(factor, bf16, out[k]));
    }
done:
    return st;
}

void pons_hessian_shrink_destroy(pons_hessian_shrink **shrink)
{
    pons_hessian_shrink *s = *shrink;
    if (!s) return;
    pons_product_destroy(&s->product);
    pons_shared_destroy(&s->shared);
    pons_mem_free(s);
    *shrink = NULL;
}
