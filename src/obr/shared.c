/* Owns what is prepared once for all rows of a projection group: the solver, blocks of columns,
 * data of the mask. */
#include "obr/shared.h"

#include <math.h>

#include "base/mem.h"
#include "kern/inverse.h"
#include "obr/exact_obs.h"
#include "obr/masks.h"

/* A factor per row costs k^3 / 3 flop for k kept columns; about fifteen products with a shared
 * matrix cost 30 d^2, and run about five times as fast in bf16. The limits were measured where both
 * take the same time. */
#define ITERATE_WIDTH 300
#define KEPT_CUBED_BF16 6.0 /* times d^2 */
#define KEPT_CUBED_FP32 24.0

/* The dual's iterations grow with the zeros, the primal's shrink. */
#define PRIMAL_SPARSITY 0.93

pons_solver pons_row_solver(const pons_recipe *r, int64_t d, bool bf16)
{
    if (r->method != PONS_METHOD_OBR_RTN && r->method != PONS_METHOD_OBR_GPTQ)
        return PONS_SOLVER_DIRECT;
    if (r->obr.solver != PONS_SOLVER_AUTO) return r->obr.solver;
    double sparsity = r->prune.n > 0 ? (double)r->prune.n / r->prune.m : r->prune.sparsity;
    double width = (double)d, kept = (1.0 - sparsity) * width;
    double level = bf16 ? KEPT_CUBED_BF16 : KEPT_CUBED_FP32;
    if (d < ITERATE_WIDTH || kept * kept * kept <= level * width * width) return PONS_SOLVER_DIRECT;
    return sparsity > PRIMAL_SPARSITY ? PONS_SOLVER_PRIMAL : PONS_SOLVER_DUAL;
}

/* Where blocks begin: the published halves, or even ones. */
static int64_t edge_of(const pons_recipe *r, int64_t blocks, int64_t k, int64_t d)
{
    if (k == blocks) return d;
    return blocks > 2 ? k * d / blocks : k * (int64_t)(r->obr.alpha * (double)d);
}

static pons_status make_blocks(const pons_hessian_factor *factor, const pons_recipe *r, bool bf16,
                               pons_row_shared *s)
{
    pons_status st = PONS_OK;
    int64_t d = factor->d, blocks = r->obr.blocks > 2 ? r->obr.blocks : 2;
    if (blocks > d) blocks = d;
    s->edge = pons_mem_alloc(blocks + 1, sizeof *s->edge);
    s->sub = pons_mem_calloc(blocks, sizeof(pons_subproblem *));
    PONS_TRY_ALL(st, factor->comm, s->edge && s->sub ? PONS_OK : PONS_ERR_NOMEM);
    s->blocks = blocks;
    for (int64_t k = 0; k <= blocks; k++)
        s->edge[k] = edge_of(r, blocks, k, d);
    for (int64_t k = 1; k < blocks; k++)
        if (s->edge[k] < d)
            PONS_TRY(st, pons_subproblem_create(factor, s->edge[k], s->solver, bf16,
                                                r->obr.tolerance, &s->sub[k]));
done:
    return st;
}

/* H^-1 as it is, for what takes it apart. */
static pons_status make_inverse(const pons_hessian_factor *factor, pons_row_shared *s)
{
    pons_status st = PONS_OK;
    int64_t d = factor->d;
    if (d > PONS_EXACT_OBS_WIDTH)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "method exact_obs is for widths up to %d, a linear has %lld columns; use "
                         "obr_gptq with prune.mask admm",
                         PONS_EXACT_OBS_WIDTH, (long long)d);
    PONS_TRY(st, pons_shared_create(factor->comm, (size_t)(d * d) * sizeof(float), &s->inverse));
    pons_inverse_from_factor(d, factor->U, d, s->inverse, pons_shared_data(s->inverse));
    pons_shared_settle(s->inverse);
done:
    return st;
}

/* The order of the columns that GPTQ is left with. */
static pons_status make_order(const pons_hessian_factor *factor, const pons_recipe *r,
                              pons_row_shared *s)
{
    bool half = r->method == PONS_METHOD_OBR_GPTQ;
    bool chooses = r->method == PONS_METHOD_SPARSEGPT_GPTQ && r->prune.n > 0;
    int64_t from = half ? (int64_t)(r->obr.alpha * (double)factor->d) : 0;
    if (from == factor->d) return PONS_OK;
    return pons_order_create(factor, from, chooses ? r->prune.m : 1, r->obr.damping_retries,
                             &s->order);
}

/* What a method with a Hessian shares. Collective. */
static pons_status prepare(const pons_hessian_factor *factor, const pons_recipe *r, bool bf16,
                           pons_row_shared *s)
{
    pons_status st = PONS_OK;
    if (r->method == PONS_METHOD_EXACT_OBS) return make_inverse(factor, s);
    bool compensates = pons_method_compensates(r->method);
    bool masks = pons_method_takes_mask(r->method);
    bool halves = r->obr.blocks <= 2 && r->scale_from == PONS_SCALE_DENSE;
    s->solver = pons_row_solver(r, factor->d, bf16);
    if (r->obr.act_order) PONS_TRY(st, make_order(factor, r, s));
    if ((compensates && !halves) || (masks && r->prune.mask == PONS_MASK_DUAL_SWAP))
        PONS_TRY(st,
                 pons_subproblem_create(factor, 0, s->solver, bf16, r->obr.tolerance, &s->whole));
    if (masks) PONS_TRY(st, pons_mask_prepare(factor, r, bf16, s));
    if (compensates && !halves) PONS_TRY(st, make_blocks(factor, r, bf16, s));
    if (compensates && halves && s->solver != PONS_SOLVER_DIRECT)
        PONS_TRY(st, pons_dual_create(factor, (int64_t)(r->obr.alpha * (double)factor->d), bf16,
                                      false, r->obr.tolerance, &s->dual));
done:
    return st;
}

pons_status pons_row_shared_create(const pons_hessian_factor *factor, const pons_recipe *recipe,
                                   bool bf16, pons_row_shared **out)
{
    pons_status st = PONS_OK;
    pons_row_shared *s = pons_mem_calloc(1, sizeof *s);
    pons_comm *comm = factor ? factor->comm : pons_par_alone();
    PONS_TRY_ALL(st, comm, s ? PONS_OK : PONS_ERR_NOMEM);
    if (factor) PONS_TRY(st, prepare(factor, recipe, bf16, s));
    *out = s;
    s = NULL;
done:
    pons_row_shared_destroy(&s);
    return st;
}

double pons_row_shared_damping(const pons_row_shared *shared)
{
    return shared->order ? shared->order->damping : 0.0;
}

void pons_row_shared_destroy(pons_row_shared **shared)
{
    pons_row_shared *s = *shared;
    if (!s) return;
    for (int k = 0; k < PONS_ADMM_STAGES; k++)
        pons_hessian_shrink_destroy(&s->shrink[k]);
    for (int64_t k = 0; s->sub && k < s->blocks; k++)
        pons_subproblem_destroy(&s->sub[k]);
    pons_mem_free(s->sub);
    pons_subproblem_destroy(&s->whole);
    pons_mem_free(s->edge);
    pons_mem_free(s->column);
    pons_order_destroy(&s->order);
    pons_shared_destroy(&s->inverse);
    pons_dual_destroy(&s->dual);
    pons_mem_free(s);
    *shared = NULL;
}
