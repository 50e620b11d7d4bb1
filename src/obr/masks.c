/* The mask of a recipe. Owns the dispatch and the scores of columns; masks that need more have
 * files of their own. */
#include "obr/masks.h"

#include <math.h>

#include "base/log.h"
#include "base/mem.h"

/* Growth of rho between stages and its first value in units of the effective ridge. */
#define ADMM_GROWTH 1.5
#define ADMM_FIRST 0.3

static pons_mask_rule rule_of(const pons_recipe *r)
{
    return (pons_mask_rule){r->prune.sparsity, r->prune.n, r->prune.m};
}

static double sparsity_of(const pons_recipe *r)
{
    return r->prune.n > 0 ? (double)r->prune.n / r->prune.m : r->prune.sparsity;
}

/* 1 / sqrt([H^-1]_jj) of every column. */
static void score_by_inverse(const pons_hessian_factor *factor, float *column)
{
    int64_t d = factor->d;
#pragma omp parallel for schedule(dynamic)
    for (int64_t j = 0; j < d; j++) {
        double sum = 0.0;
        for (int64_t i = 0; i <= j; i++)
            sum += (double)factor->U[i * d + j] * (double)factor->U[i * d + j];
        column[j] = (float)(1.0 / sqrt(sum));
    }
}

static pons_status prepare_admm(const pons_hessian_factor *factor, double sparsity, bool bf16,
                                pons_row_shared *shared)
{
    pons_status st = PONS_OK;
    double ridge = 0.0, rho[PONS_ADMM_STAGES], keep = fmin(fmax(1.0 - sparsity, 0.02), 0.98);
    PONS_TRY(st, pons_hessian_effective_ridge(factor, keep * (double)factor->d, &ridge));
    rho[0] = ridge * ADMM_FIRST;
    for (int k = 1; k < PONS_ADMM_STAGES; k++)
        rho[k] = rho[k - 1] * ADMM_GROWTH;
    PONS_TRY(st, pons_hessian_shrink_create(factor, PONS_ADMM_STAGES, rho, bf16, shared->shrink));
done:
    return st;
}

pons_status pons_mask_prepare(const pons_hessian_factor *factor, const pons_recipe *recipe,
                              bool bf16, pons_row_shared *shared)
{
    pons_status st = PONS_OK;
    pons_mask kind = recipe->prune.mask;
    shared->column = pons_mem_alloc(factor->d, sizeof *shared->column);
    PONS_TRY_ALL(st, factor->comm, shared->column ? PONS_OK : PONS_ERR_NOMEM);
    if (kind == PONS_MASK_OBS || kind == PONS_MASK_DUAL_SWAP)
        score_by_inverse(factor, shared->column);
    else
        for (int64_t j = 0; j < factor->d; j++)
            shared->column[j] = kind == PONS_MASK_MAGNITUDE ? 1.0f : sqrtf(factor->norm[j]);
    if (kind == PONS_MASK_ADMM)
        PONS_TRY(st, prepare_admm(factor, sparsity_of(recipe), bf16, shared));
    if (kind == PONS_MASK_DUAL_SWAP)
        PONS_TRY(st, pons_mask_swap_prepare(factor, sparsity_of(recipe), shared));
done:
    return st;
}

pons_status pons_mask_choose(const pons_row_shared *shared, const pons_recipe *recipe,
                             const pons_solve_panel *panel, uint8_t *mask,
                             pons_row_metrics *metrics)
{
    pons_mask_rule rule = rule_of(recipe);
    double start = pons_clock();
    pons_status st = pons_mask_score(rule, panel->rows, panel->d, panel->W, shared->column, mask);
    if (st != PONS_OK) return st;
    switch (recipe->prune.mask) {
    case PONS_MASK_SPARSEGPT: st = pons_mask_sparsegpt(rule, panel, mask, metrics); break;
    case PONS_MASK_DUAL_SWAP: st = pons_mask_swap(shared, rule, panel, mask, metrics); break;
    case PONS_MASK_ADMM: st = pons_mask_admm(shared, rule, panel, mask, metrics); break;
    case PONS_MASK_WANDA:     /* fall through */
    case PONS_MASK_MAGNITUDE: /* fall through */
    case PONS_MASK_OBS: break;
    }
    metrics->mask_seconds += pons_clock() - start;
    return st;
}
