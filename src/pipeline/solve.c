/* Own rows to results on every rank. The methods are obr's; what the rows are to reproduce is decided
 * before. */
#include "pipeline/solve.h"

#include <stdio.h>
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "pipeline/counts.h"
#include "pipeline/damping.h"
#include "quant/weight.h"

/* The part of a result that starts at a row. */
static pons_row_result result_at(const pons_block_linear *w, int64_t row)
{
    pons_row_result r = w->result;
    if (w->bits < 16) r.codes += row * w->cols;
    r.scale += row * w->groups;
    r.zero += row * w->groups;
    r.value += row * w->cols;
    r.error += row;
    r.energy += row;
    r.zeros += row;
    return r;
}

static pons_status compress_own_rows(const pons_context *context, const pons_team *team,
                                     const pons_hessian_factor *factor,
                                     const pons_row_shared *shared, pons_block_linear *w)
{
    int64_t first = w->row_begin[team->rank], n = w->row_begin[team->rank + 1] - first;
    PONS_ASSERT(w->state == PONS_LINEAR_READ);
    pons_status st = pons_linear_reserve(w);
    if (st != PONS_OK || n == 0) return st;
    pons_row_result own = result_at(w, first);
    if (context->recipe.method == PONS_METHOD_NONE) {
        memcpy(own.value, w->panel, (size_t)(n * w->cols) * sizeof *own.value);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < w->cols; j++)
                own.zeros[i] += w->panel[i * w->cols + j] == 0;
        return PONS_OK;
    }
    pons_recipe recipe = context->recipe;
    recipe.prune.sparsity = w->sparsity;
    pons_row_task task = {.name = w->name,
                          .row = first,
                          .rows = n,
                          .d = w->cols,
                          .W = w->panel,
                          .factor = factor,
                          .recipe = &recipe,
                          .bits = w->bits,
                          .shared = shared};
    return pons_compress_rows(&task, &own, &w->metrics);
}

/* Codes and scales travel, values are dequantized on arrival: a quarter of the bytes, the same bits. */
static pons_status gather(const pons_context *context, const pons_team *team, pons_block_linear *w,
                          size_t *offset)
{
    pons_row_result *r = &w->result;
    struct {
        void *data;
        size_t row;
    } parts[] = {{r->codes, w->bits < 16 ? (size_t)w->cols : 0},
                 {r->scale, (size_t)w->groups * sizeof(float)},
                 {r->zero, (size_t)w->groups},
                 {r->value, w->bits < 16 ? 0 : (size_t)w->cols * sizeof(float)},
                 {r->error, sizeof(double)},
                 {r->energy, sizeof(double)},
                 {r->zeros, sizeof(int64_t)}};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        if (!parts[p].row) continue;
        for (int rank = 0; rank <= team->size; rank++)
            offset[rank] = (size_t)w->row_begin[rank] * parts[p].row;
        pons_comm_allgather_parts(team->comm, parts[p].data, offset);
    }
    if (w->bits < 16)
        pons_weight_dequantize(pons_weight_group_size(&context->recipe.weights, w->cols), w->rows,
                               w->cols, r->codes, r->scale, r->zero, r->value);
    if (w->bits == 16 || context->recipe.output.format == PONS_OUTPUT_DENSE)
        return pons_context_round(context, w->name, 0, w->rows, w->cols, r->value);
    return PONS_OK;
}

pons_status pons_solve_prepare(const pons_recipe *recipe, bool bf16, const pons_team *team,
                               int64_t layer, const pons_input *input,
                               const pons_hessian_factor *factor, double *damping,
                               pons_row_shared **out)
{
    pons_status st = pons_row_shared_create(factor, recipe, bf16, out);
    char cause[PONS_ERROR_MESSAGE_BYTES];
    if (st == PONS_ERR_NUMERIC) {
        snprintf(cause, sizeof cause, "%s", pons_error_message());
        return pons_fail(st, "block %lld %s: %s", (long long)layer, input->name, cause);
    }
    if (st != PONS_OK) return st;
    double raised = pons_row_shared_damping(*out);
    if (raised > 0) *damping = raised;
    if (raised > 0 && team->rank == 0) pons_damping_log(layer, input, raised);
    return PONS_OK;
}

/* Inputs next to zero have a Hessian that fp32 does not hold: damping, a share of it, cannot help. */
static pons_status explain_underflow(pons_status st, int64_t layer, const pons_input *input,
                                     const pons_hessian_factor *factor)
{
    float largest = 0;
    if (st != PONS_ERR_NUMERIC || !factor) return st;
    for (int64_t j = 0; j < factor->d; j++)
        if (!factor->dead[j]) largest = fmaxf(largest, factor->H[j * factor->d + j]);
    if (largest >= 1e-30f) return st;
    return pons_fail(
        st,
        "block %lld %s: the inputs of the layer are so small that their Hessian is lost in fp32 "
        "(largest diagonal entry %.3g); weights of the model are next to zero: scale them up or "
        "use method rtn",
        (long long)layer, input->name, (double)largest);
}

pons_status pons_solve_linears(const pons_context *context, const pons_team *team,
                               pons_account *account, int64_t layer, const pons_input *input,
                               const pons_hessian_factor *factor, pons_block_linear *linears)
{
    pons_status st = PONS_OK, local = PONS_OK;
    size_t *offset = NULL;
    pons_row_shared *shared = NULL;
    double start = pons_clock(), damping = 0;
    offset = pons_mem_alloc(team->size + 1, sizeof *offset);
    PONS_TRY_ALL(st, team->comm, offset ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_solve_prepare(&context->recipe, context->solver_bf16, team, layer, input,
                                    factor, &damping, &shared));
    account->metrics.solve_seconds += pons_clock() - start;
    for (int i = 0; i < context->config->arch->linears && local == PONS_OK; i++)
        if (pons_input_has(input, &linears[i]) && (local = pons_stop_check()) == PONS_OK)
            local = compress_own_rows(context, team, factor, shared, &linears[i]);
    PONS_TRY_ALL(st, team->comm, explain_underflow(local, layer, input, factor));
    pons_row_shared_destroy(&shared);
    double gathering = pons_clock();
    for (int i = 0; i < context->config->arch->linears; i++) {
        pons_block_linear *w = &linears[i];
        if (!pons_input_has(input, w)) continue;
        PONS_TRY(st, gather(context, team, w, offset)); /* equal on all ranks */
        pons_counts_add_work(&account->metrics, &w->metrics);
        pons_counts_sum(team->comm, &w->metrics);
        pons_mem_free(w->panel);
        w->panel = NULL;
        w->state = PONS_LINEAR_COMPRESSED;
        if (damping > 0) w->damping = damping;
    }
    account->seconds.gather += pons_clock() - gathering;
done:
    pons_row_shared_destroy(&shared);
    pons_mem_free(offset);
    account->seconds.solve += pons_trace_phase(account->trace, PONS_PHASE_SOLVE, start);
    return st;
}
