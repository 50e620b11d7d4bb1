/* K = U^T U, its scaling and its prepared products. The factorisation is in factor.c, the
 * iterations that use K in obr. */
#include "hessian/inverse.h"

#include <math.h>

#include "base/mem.h"
#include "kern/inverse.h"
#include "kern/vector.h"
#include "kern/triangle.h"

/* Error of an objective when K is made of two terms of U, per unit of its condition. */
#define TWO_TERM_ERROR 0x1p-18

/* Collective: K, scaled, on every node; its ranks share the work. */
static pons_status make_inverse(const pons_hessian_factor *factor, pons_hessian_inverse *s)
{
    pons_status st = PONS_OK;
    int64_t n = s->n, d = factor->d;
    const float *U = factor->U + s->from * d + s->from;
    if (pons_product_exact(false) == PONS_PRODUCT_TRIPLE)
        PONS_TRY(st,
                 pons_triangle_square(factor->comm, s->shared, n, U, d, s->K, s->two_term ? 2 : 3));
    else
        pons_inverse_from_factor(n, U, d, s->shared, s->K);
    pons_shared_settle(s->shared);
    for (int64_t j = 0; j < n; j++)
        s->unit[j] = sqrtf(s->K[j * n + j]);
    pons_shared_settle(s->shared); /* all have read the diagonal */
    pons_inverse_scale(n, s->unit, s->shared, s->K);
    pons_shared_settle(s->shared);
done:
    return st;
}

/* Norms of columns, diagonals, and an estimate of the condition. */
static void describe(const pons_hessian_factor *factor, pons_hessian_inverse *s)
{
    int64_t n = s->n, d = factor->d, from = s->from;
    for (int64_t j = 0; j < n; j++) {
        float h = factor->H[(from + j) * (d + 1)];
        s->reciprocal[j] = 1.0f / h;
        s->diagonal_root[j] = sqrtf(h);
    }
    pons_row_norms(n, d, factor->H + from * d, s->column_norm); /* symmetric */
    pons_row_norms(n, n, s->K, s->offdiagonal_norm);
    s->noise_gain = s->condition = 0.0;
    for (int64_t j = 0; j < n; j++) {
        double norm = s->column_norm[j], unit = s->unit[j], offdiagonal = s->offdiagonal_norm[j];
        s->offdiagonal_norm[j] = (float)sqrt(fmax(offdiagonal * offdiagonal - 1.0, 0.0));
        s->noise_gain += norm * unit * norm * unit;
        s->condition += norm * unit * unit / (double)n;
    }
}

pons_status pons_hessian_inverse_create(const pons_hessian_factor *factor, int64_t from, bool bf16,
                                        double tolerance, pons_hessian_inverse **out)
{
    pons_status st = PONS_OK;
    pons_hessian_inverse *s = pons_mem_calloc(1, sizeof *s);
    int64_t d = factor->d, n = d - from;
    PONS_ASSERT(from >= 0 && n > 0);
    if (s) {
        s->from = from;
        s->n = n;
        s->kind = pons_product_exact(bf16);
        s->two_term = tolerance > 0.0 && s->kind == PONS_PRODUCT_SPLIT &&
                      pons_product_exact(false) == PONS_PRODUCT_TRIPLE;
        s->of = pons_product_tiles_of(n);
        s->unit = pons_mem_alloc(s->of.padded, sizeof *s->unit);
        s->column_norm = pons_mem_calloc(s->of.padded, sizeof *s->column_norm);
        s->reciprocal = pons_mem_calloc(s->of.padded, sizeof *s->reciprocal);
        s->diagonal_root = pons_mem_calloc(s->of.padded, sizeof *s->diagonal_root);
        s->offdiagonal_norm = pons_mem_calloc(s->of.padded, sizeof *s->offdiagonal_norm);
    }
    bool room =
        s && s->unit && s->column_norm && s->reciprocal && s->diagonal_root && s->offdiagonal_norm;
    PONS_TRY_ALL(st, factor->comm, room ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_shared_create(factor->comm, (size_t)(n * n) * sizeof *s->K, &s->shared));
    s->K = pons_shared_data(s->shared);
    PONS_TRY(st, make_inverse(factor, s));
    describe(factor, s);
    if (s->two_term && !pons_comm_all(factor->comm, s->condition * TWO_TERM_ERROR <= tolerance)) {
        s->two_term = false;
        pons_shared_settle(s->shared); /* all ranks have read the previous K */
        PONS_TRY(st, make_inverse(factor, s));
        describe(factor, s);
    }
    for (int64_t j = n; j < s->of.padded; j++)
        s->unit[j] = 1.0f;
    PONS_TRY(st,
             pons_product_create_shared(factor->comm, s->kind, n, n, s->K, n, 0, 0, &s->inverse));
    if (s->kind != PONS_PRODUCT_FP32) {
        pons_shared_destroy(&s->shared);
        s->K = NULL;
    }
    PONS_TRY(st, pons_product_create_shared(factor->comm, s->kind, n, n, factor->H, d, from, from,
                                            &s->hessian));
    *out = s;
    s = NULL;
done:
    pons_hessian_inverse_destroy(&s);
    return st;
}

void pons_hessian_inverse_destroy(pons_hessian_inverse **inverse)
{
    pons_hessian_inverse *s = *inverse;
    if (!s) return;
    pons_product_destroy(&s->hessian);
    pons_product_destroy(&s->inverse);
    pons_mem_free(s->offdiagonal_norm);
    pons_mem_free(s->diagonal_root);
    pons_mem_free(s->reciprocal);
    pons_mem_free(s->column_norm);
    pons_mem_free(s->unit);
    pons_shared_destroy(&s->shared);
    pons_mem_free(s);
    *inverse = NULL;
}
