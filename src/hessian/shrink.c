/* The shifted inverse of alternating-direction methods. Owns how it is made; the factorisation is
 * factor.c's, what is done with it obr's. */
#include "hessian/shrink.h"

#include "base/mem.h"
#include "hessian/inverse.h"

/* This rank's rows of the upper triangle times rho, then its rows of the lower one. */
static void finish(int64_t d, double rho, pons_shared *shared, float *P)
{
    int rank = pons_shared_rank(shared), ranks = pons_shared_size(shared);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = rank; i < d; i += ranks)
        for (int64_t j = i; j < d; j++)
            P[i * d + j] = (float)(rho * (double)P[i * d + j]);
    pons_shared_settle(shared);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = rank; i < d; i += ranks)
        for (int64_t j = 0; j < i; j++)
            P[i * d + j] = P[j * d + i];
    pons_shared_settle(shared);
}

pons_status pons_hessian_shrink_create(const pons_hessian_factor *factor, double rho, bool bf16,
                                       pons_hessian_shrink **out)
{
    pons_status st = PONS_OK;
    pons_hessian_shrink *s = pons_mem_calloc(1, sizeof *s);
    pons_hessian_factor *shifted = NULL;
    int64_t d = factor->d, info = 0;
    PONS_TRY_ALL(st, factor->comm, s ? PONS_OK : PONS_ERR_NOMEM);
    s->rho = rho;
    PONS_TRY(st, pons_shared_create(factor->comm, (size_t)(d * d) * sizeof *s->P, &s->shared));
    s->P = pons_shared_data(s->shared);
    PONS_TRY(st, pons_hessian_factor_shifted(factor, rho, &info, &shifted));
    if (info) {
        st =
            pons_fail(PONS_ERR_NUMERIC, "the Hessian plus %g is not positive definite (minor %lld)",
                      rho, (long long)info);
        goto done;
    }
    pons_hessian_inverse_of(d, shifted->U, d, s->shared, s->P);
    pons_shared_settle(s->shared);
    finish(d, rho, s->shared, s->P);
    PONS_TRY(st,
             pons_product_create_shared(factor->comm, bf16 ? PONS_PRODUCT_BF16 : PONS_PRODUCT_FP32,
                                        d, d, s->P, d, 0, 0, &s->product));
    if (bf16) {
        pons_shared_destroy(&s->shared);
        s->P = NULL;
    }
    *out = s;
    s = NULL;
done:
    pons_hessian_factor_destroy(&shifted);
    pons_hessian_shrink_destroy(&s);
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
