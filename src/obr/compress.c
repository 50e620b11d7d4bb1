/* From a method's name to codes: scales, mask, solver, sweep, metrics, in the order of the
 * specification, section 3. Owns the dispatch and the compat rules (3.5); the arithmetic is in
 * quant, prune, masks, solver_*, blocks, gptq and sparsegpt. */
#include "obr/compress.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kern/gemm.h"
#include "obr/blocks.h"
#include "obr/exact_obs.h"
#include "obr/form.h"
#include "obr/masks.h"
#include "obr/polish.h"
#include "quant/weight.h"

/* Up to this width a factor in a scratch file, 16 MiB, stays in the page cache. */
enum { STAYS_IN_CACHE = 2048 };

/* Everything the steps share. */
typedef struct job {
    const pons_row_task *task;
    const pons_recipe *recipe;
    const pons_row_shared *shared;
    pons_row_result *result;
    pons_row_metrics *metrics;
    int64_t group_size, groups;
    const float *W; /* [rows, d] task->W, or a copy with dead columns zeroed */
    uint8_t *mask;  /* [rows, d] or NULL */
    float *V;       /* [rows, d] work */
    int64_t split;  /* p */
} job;

static pons_status check_recipe(const pons_row_task *task)
{
    const pons_recipe *r = task->recipe;
    bool faithful = r->compat == PONS_COMPAT_FAITHFUL, n_of_m = r->prune.n > 0;
    if (r->method == PONS_METHOD_NONE)
        return pons_fail(PONS_ERR_CONFIG, "%s: method none compresses nothing", task->name);
    if (r->method != PONS_METHOD_RTN) {
        PONS_ASSERT(task->factor);
        PONS_ASSERT(task->factor->d == task->d);
    }
    if (r->method == PONS_METHOD_SPARSEGPT_GPTQ && n_of_m && r->obr.block % r->prune.m != 0)
        return pons_fail(PONS_ERR_CONFIG,
                         "%s: obr.block is %lld; sparsegpt_gptq with %d:%d needs a multiple of %d",
                         task->name, (long long)r->obr.block, r->prune.n, r->prune.m, r->prune.m);
    if (r->method == PONS_METHOD_SPARSEGPT_GPTQ && n_of_m && task->d % r->prune.m != 0)
        return pons_fail(PONS_ERR_SHAPE, "%s: width %lld is not a multiple of m = %d", task->name,
                         (long long)task->d, r->prune.m);
    if (!faithful) return PONS_OK;
    if (r->method != PONS_METHOD_WANDA && !r->weights.symmetric)
        return pons_fail(PONS_ERR_CONFIG,
                         "%s: compat: faithful has no asymmetric weights; use symmetric ones or "
                         "compat: corrected",
                         task->name);
    if (r->method != PONS_METHOD_WANDA && r->weights.group_size != 0)
        return pons_fail(PONS_ERR_CONFIG,
                         "%s: compat: faithful has one scale per row; set weights.group_size: 0 or "
                         "compat: corrected",
                         task->name);
    int64_t p = (int64_t)(r->obr.alpha * (double)task->d);
    if (r->method == PONS_METHOD_OBR_GPTQ && p != task->d / 2)
        return pons_fail(PONS_ERR_CONFIG,
                         "%s: obr.alpha %g evicts %lld of %lld columns; compat: faithful allows "
                         "only half (alpha 0.5) in obr_gptq",
                         task->name, r->obr.alpha, (long long)p, (long long)task->d);
    return PONS_OK;
}

static pons_status check_weights(const pons_row_task *task)
{
    int64_t bad = task->rows; /* the first one */
#pragma omp parallel for schedule(static) reduction(min : bad)
    for (int64_t i = 0; i < task->rows; i++) {
        const float *w = task->W + i * task->d;
        bool finite = true;
        for (int64_t j = 0; j < task->d; j++)
            finite &= isfinite(w[j]) != 0;
        if (!finite && i < bad) bad = i;
    }
    if (bad == task->rows) return PONS_OK;
    return pons_fail(PONS_ERR_NUMERIC, "%s: row %lld: NaN or Inf in the weights", task->name,
                     (long long)(task->row + bad));
}

/* pons_quantize_left: columns [0, split) of a row onto its grid; zeros stay zero. */
static void quantize_left(void *user, int64_t i, float *value)
{
    const job *j = user;
    for (int64_t c = 0; c < j->split; c++) {
        int64_t g = i * j->groups + c / j->group_size;
        float scale = j->result->scale[g];
        int8_t zero = j->result->zero[g];
        value[c] =
            pons_weight_value(pons_weight_code(j->task->bits, value[c], scale, zero), scale, zero);
    }
}

static pons_solve_panel panel_of(const job *j)
{
    const pons_row_task *t = j->task;
    return (pons_solve_panel){t->name, t->row,    t->rows,
                              t->d,    j->split,  j->W,
                              j->mask, t->factor, j->recipe->compat == PONS_COMPAT_FAITHFUL};
}

static pons_status make_mask(job *j)
{
    pons_solve_panel panel = panel_of(j);
    return pons_mask_choose(j->shared, j->recipe, &panel, j->mask, j->metrics);
}

/* Scales of the weights W, as clip and grid say. */
static void make_scales(job *j, const float *W)
{
    double begin = pons_clock();
    pons_weight_scales(&j->recipe->weights, j->task->bits, j->task->rows, j->task->d, W, j->task->d,
                       j->result->scale, j->result->zero);
    j->metrics->clip_seconds += pons_clock() - begin;
}

/* The pruned dense weights, to where they are wanted. */
static void apply_mask(const job *j, float *out)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < j->task->rows * j->task->d; i++)
        out[i] = j->mask[i] ? j->W[i] : 0.0f;
}

static void round_all(const job *j, const float *V)
{
    pons_weight_round(&j->recipe->weights, j->task->bits, j->task->rows, j->task->d, V, j->task->d,
                      j->result->scale, j->result->zero, j->result->codes);
}

static pons_sweep sweep_of(const job *j)
{
    const pons_row_task *t = j->task;
    return (pons_sweep){.rows = t->rows,
                        .d = t->d,
                        .U = t->factor->U,
                        .streamed = pons_comm_scratch(t->factor->comm) && t->d > STAYS_IN_CACHE,
                        .bits = t->bits,
                        .group_size = j->group_size,
                        .groups = j->groups,
                        .scale = j->result->scale,
                        .zero = j->result->zero};
}

/* First column of the GPTQ half: p, or in faithful mode the first block of the whole width that
 * starts at alpha d or later. */
static int64_t sweep_start(const job *j)
{
    if (j->recipe->compat != PONS_COMPAT_FAITHFUL) return j->split;
    int64_t start = 0;
    while ((double)start < j->recipe->obr.alpha * (double)j->task->d)
        start += j->recipe->obr.block;
    return start < j->task->d ? start : j->task->d;
}

/* Products of a sweep over the columns from `start` on: every column updates all later ones. */
static double sweep_products(const job *j, int64_t start)
{
    double share = 1.0 - (double)start / (double)j->task->d;
    return 0.5 * share * share * (double)j->task->rows;
}

/* The published algorithm: both stages in one call, then GPTQ on the right half. */
static pons_status run_halves(job *j, bool gptq)
{
    const pons_row_task *t = j->task;
    pons_solve_panel panel = panel_of(j);
    const pons_dual *dual = j->shared->dual;
    pons_status st = PONS_OK;
    switch (j->shared->solver) {
    case PONS_SOLVER_DUAL:
        st = pons_dual_solve(dual, &panel, quantize_left, j, j->V, j->metrics);
        break;
    case PONS_SOLVER_PRIMAL:
        st = pons_primal_solve(dual, &panel, quantize_left, j, j->V, j->metrics);
        break;
    default: st = pons_solve_direct(&panel, quantize_left, j, j->V, j->metrics);
    }
    if (st != PONS_OK) return st;
    int64_t start = sweep_start(j);
    for (int64_t i = 0; gptq && i < t->rows; i++) /* columns neither half reaches are zero (Q2) */
        for (int64_t c = j->split; c < start; c++)
            j->V[i * t->d + c] = 0.0f;
    round_all(j, j->V);
    if (!gptq) return PONS_OK;
    double begin = pons_clock();
    pons_sweep sweep = sweep_of(j);
    st = j->shared->order
             ? pons_order_gptq(j->shared->order, &sweep, j->V, j->mask, j->result->codes)
             : pons_gptq_sweep(&sweep, start, t->d, j->V, j->mask, j->result->codes);
    j->metrics->gptq_seconds += pons_clock() - begin;
    j->metrics->products += sweep_products(j, start);
    return st;
}

/* The same with more blocks, or with scales of what the first solve leaves. */
static pons_status run_blocks(job *j, bool gptq)
{
    pons_solve_panel panel = panel_of(j);
    pons_status st = pons_subproblem_solve(j->shared->whole, &panel, j->V, j->metrics);
    if (st != PONS_OK) return st;
    if (j->recipe->scale_from == PONS_SCALE_COMPENSATED) make_scales(j, j->V);
    pons_sweep sweep = sweep_of(j);
    return pons_blocks_round(j->shared, &panel, &sweep, gptq, j->V, j->result->codes, j->metrics);
}

static pons_status run_obr(job *j, bool gptq)
{
    pons_status st = make_mask(j);
    if (st != PONS_OK) return st;
    return j->shared->blocks > 0 ? run_blocks(j, gptq) : run_halves(j, gptq);
}

static pons_status run_exact_obs(job *j)
{
    const pons_recipe *r = j->recipe;
    pons_solve_panel panel = panel_of(j);
    pons_exact_obs obs = {.rule = {r->prune.sparsity, r->prune.n, r->prune.m},
                          .quant = &r->weights,
                          .bits = j->task->bits,
                          .compensated = r->scale_from == PONS_SCALE_COMPENSATED,
                          .mask = j->mask,
                          .codes = j->result->codes,
                          .scale = j->result->scale,
                          .zero = j->result->zero};
    double begin = pons_clock();
    pons_status st = pons_exact_obs_rows(&obs, &panel, pons_shared_data(j->shared->inverse));
    j->metrics->solve_seconds += pons_clock() - begin;
    j->metrics->products += (double)j->task->rows * (double)j->task->d / 3.0; /* sum of n^2 */
    return st;
}

static pons_status run_sweep(job *j, bool prune)
{
    double begin = pons_clock();
    const pons_recipe *r = j->recipe;
    const pons_order *order = j->shared->order;
    int8_t *codes = j->result->codes;
    pons_sweep sweep = sweep_of(j);
    pons_status st;
    if (prune && order)
        st = pons_order_sparsegpt(order, &sweep, r->obr.block, j->W, r->prune.sparsity, r->prune.n,
                                  r->prune.m, j->mask, codes);
    else if (prune)
        st = pons_sparsegpt_sweep(&sweep, r->obr.block, j->W, r->prune.sparsity, r->prune.n,
                                  r->prune.m, j->mask, codes);
    else if (order)
        st = pons_order_gptq(order, &sweep, j->W, NULL, codes);
    else
        st = pons_gptq_sweep(&sweep, 0, j->task->d, j->W, NULL, codes);
    j->metrics->gptq_seconds += pons_clock() - begin;
    j->metrics->products += sweep_products(j, 0);
    return st;
}

/* Better scales and codes for the mask there is. */
static pons_status polish(job *j)
{
    const pons_row_task *t = j->task;
    const pons_recipe *r = j->recipe;
    if (!pons_method_polishes(r->method)) return PONS_OK;
    pons_polish p = {.factor = t->factor,
                     .row = t->row,
                     .rows = t->rows,
                     .d = t->d,
                     .bits = t->bits,
                     .group_size = j->group_size,
                     .groups = j->groups,
                     .W = j->W,
                     .mask = pons_method_prunes(r->method) ? j->mask : NULL,
                     .codes = j->result->codes,
                     .scale = j->result->scale,
                     .zero = j->result->zero};
    return pons_polish_codes(&p, r->refit == PONS_REFIT_CLOSED_FORM, r->polish.sweeps, j->metrics);
}

static pons_status run_method(job *j)
{
    pons_status st = PONS_OK;
    switch (j->recipe->method) {
    case PONS_METHOD_RTN: round_all(j, j->W); break;
    case PONS_METHOD_GPTQ: st = run_sweep(j, false); break;
    case PONS_METHOD_SPARSEGPT_GPTQ: st = run_sweep(j, true); break;
    case PONS_METHOD_WANDA:
        st = make_mask(j);
        if (st == PONS_OK) apply_mask(j, j->result->value);
        return st;
    case PONS_METHOD_WANDA_RTN:
        st = make_mask(j);
        if (st != PONS_OK) return st;
        apply_mask(j, j->V);
        round_all(j, j->V);
        break;
    case PONS_METHOD_OBR_RTN: st = run_obr(j, false); break;
    case PONS_METHOD_OBR_GPTQ: st = run_obr(j, true); break;
    case PONS_METHOD_EXACT_OBS: st = run_exact_obs(j); break;
    case PONS_METHOD_NONE: PONS_ASSERT(!"checked before");
    }
    if (st == PONS_OK) st = polish(j);
    if (st == PONS_OK)
        pons_weight_dequantize(j->group_size, j->task->rows, j->task->d, j->result->codes,
                               j->result->scale, j->result->zero, j->result->value);
    return st;
}

/* Error, energy and zeros of every row. */
static pons_status measure(job *j)
{
    const pons_row_task *t = j->task;
    pons_status st = PONS_OK;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < t->rows; i++) {
        const float *value = j->result->value + i * t->d;
        int64_t zeros = 0;
        for (int64_t c = 0; c < t->d; c++)
            zeros += value[c] == 0.0f;
        j->result->zeros[i] = zeros;
        j->result->error[i] = j->result->energy[i] = 0.0;
    }
    if (!t->factor) return PONS_OK;
    st = pons_row_form(t->factor, t->rows, j->W, j->result->energy);
    if (st != PONS_OK) return st;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < t->rows * t->d; i++)
        j->V[i] = j->result->value[i] - j->W[i];
    return pons_row_form(t->factor, t->rows, j->V, j->result->error);
}

pons_status pons_compress_rows(const pons_row_task *task, pons_row_result *result,
                               pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    pons_row_metrics unused = {0};
    const pons_recipe *recipe = task->recipe;
    int64_t rows = task->rows, d = task->d;
    float *undead = NULL;
    pons_row_shared *shared = NULL;
    job j = {.task = task,
             .recipe = recipe,
             .shared = task->shared,
             .result = result,
             .metrics = metrics ? metrics : &unused,
             .group_size = pons_weight_group_size(&recipe->weights, d),
             .groups = pons_weight_groups(&recipe->weights, d),
             .W = task->W,
             .split = (int64_t)(recipe->obr.alpha * (double)d)};
    pons_comm *comm = task->shared || !task->factor ? pons_par_alone() : task->factor->comm;
    st = check_recipe(task);
    PONS_TRY_ALL(st, comm, st == PONS_OK ? check_weights(task) : st);
    double begin = pons_clock();
    if (!task->shared) { /* by all ranks, those without rows, too */
        bool bf16 = recipe->obr.precision == PONS_COMPUTE_AUTO
                        ? pons_kern_has_bf16()
                        : recipe->obr.precision == PONS_COMPUTE_BF16;
        PONS_TRY(st, pons_row_shared_create(task->factor, recipe, bf16, &shared));
        j.shared = shared;
        j.metrics->solve_seconds += pons_clock() - begin;
    }
    if (rows == 0) goto done;
    PONS_ALLOC(st, j.V, rows * d);
    PONS_ALLOC(st, j.mask, rows * d);
    if (recipe->method != PONS_METHOD_WANDA && recipe->scale_from == PONS_SCALE_DENSE)
        make_scales(&j, task->W);
    if (task->factor && task->factor->dead_count > 0) {
        PONS_ALLOC(st, undead, rows * d);
        for (int64_t i = 0; i < rows * d; i++)
            undead[i] = task->factor->dead[i % d] ? 0.0f : task->W[i];
        j.W = undead;
    }
    double before = j.metrics->products, size = 2.0 * (double)d * (double)d;
    PONS_TRY(st, run_method(&j));
    j.metrics->flop += size * (j.metrics->products - before);
    j.metrics->product_flop += size * (double)rows;
    begin = pons_clock();
    PONS_TRY(st, measure(&j));
    j.metrics->measure_seconds += pons_clock() - begin;
done:
    pons_row_shared_destroy(&shared);
    pons_mem_free(j.mask);
    pons_mem_free(j.V);
    pons_mem_free(undead);
    return st;
}
