/* Reading, dealing, keeping and sending the linears of a block. Does not compress them (solve.c), does not
 * run the block and does not write files. */
#include "pipeline/linear.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "quant/weight.h"

/* Rows are dealt in shares, counted over all linears of a tap so that the ranks get equal work. */
static void deal_rows(const pons_context *context, const pons_team *team,
                      pons_block_linear *linears)
{
    for (int g = 0; g < context->config->arch->taps; g++) {
        int64_t shares = 0, before = 0;
        for (int i = 0; i < context->config->arch->linears; i++)
            if (linears[i].tap == g)
                shares += (linears[i].rows + PONS_ROW_SHARE - 1) / PONS_ROW_SHARE;
        for (int i = 0; i < context->config->arch->linears; i++) {
            pons_block_linear *w = &linears[i];
            if (w->tap != g) continue;
            int64_t own = (w->rows + PONS_ROW_SHARE - 1) / PONS_ROW_SHARE;
            for (int r = 0; r <= team->size; r++) {
                int64_t share = pons_team_share_begin(team, shares, r) - before;
                share = share < 0 ? 0 : share > own ? own : share;
                w->row_begin[r] =
                    share * PONS_ROW_SHARE < w->rows ? share * PONS_ROW_SHARE : w->rows;
            }
            for (int r = 0; pons_method_needs_all_rows(context->recipe.method) && r <= team->size;
                 r++)
                w->row_begin[r] = r <= w->owner ? 0 : w->rows;
            before += own;
        }
    }
}

/* Rank that reads and rotates linear i. */
static int owner_of(const pons_context *context, const pons_team *team, int64_t layer, int i)
{
    return pons_team_turn(team, layer * context->config->arch->linears + i);
}

pons_status pons_linears_list(const pons_context *context, const pons_team *team, int64_t layer,
                              pons_block_linear **out)
{
    pons_status st = PONS_OK;
    const pons_recipe *r = &context->recipe;
    const pons_arch *arch = context->config->arch;
    pons_block_linear *linears = NULL;
    PONS_CALLOC(st, linears, arch->linears);
    for (int i = 0; i < context->config->arch->linears; i++) {
        pons_block_linear *w = &linears[i];
        w->linear = i;
        w->tap = arch->linear[i].tap;
        bool down = arch->tap[w->tap].kind == PONS_INPUT_MIDDLE;
        w->state = PONS_LINEAR_LISTED;
        snprintf(w->name, sizeof w->name, "block %lld %s", (long long)layer,
                 arch->linear[i].short_name);
        pons_linear_shape(context->config, w->linear, &w->rows, &w->cols);
        w->bits = !pons_method_quantizes(r->method)   ? 16
                  : down && r->weights.down_proj_bits ? r->weights.down_proj_bits
                                                      : r->weights.bits;
        const pons_allocate_choice *choice =
            context->choice ? &context->choice[layer * context->config->arch->linears + i] : NULL;
        w->sparsity = choice ? choice->sparsity : r->prune.sparsity;
        if (choice && choice->bits) w->bits = choice->bits;
        w->groups = w->bits == 16 ? 0 : pons_weight_groups(&r->weights, w->cols);
        w->owner = owner_of(context, team, layer, i);
        PONS_ALLOC(st, w->row_begin, team->size + 1);
    }
    deal_rows(context, team, linears);
    *out = linears;
    linears = NULL;
done:
    pons_linears_destroy(context->config->arch, &linears);
    return st;
}

static void result_free(pons_row_result *r)
{
    pons_mem_free(r->codes);
    pons_mem_free(r->scale);
    pons_mem_free(r->zero);
    pons_mem_free(r->value);
    pons_mem_free(r->error);
    pons_mem_free(r->energy);
    pons_mem_free(r->zeros);
    memset(r, 0, sizeof *r);
}

void pons_linears_destroy(const pons_arch *arch, pons_block_linear **linears)
{
    if (!*linears) return;
    for (int i = 0; i < arch->linears; i++) {
        pons_block_linear *w = &(*linears)[i];
        pons_mem_free(w->row_begin);
        pons_mem_free(w->panel);
        pons_mem_free(w->bias);
        result_free(&w->result);
    }
    pons_mem_free(*linears);
    *linears = NULL;
}

/* ---- Reading */

/* Owner: the whole linear, rotated, into dense [rows, cols], and its bias. */
static pons_status read_rotated(const pons_context *context, pons_account *account, int64_t layer,
                                pons_block_linear *w, float *dense)
{
    pons_status st = PONS_OK;
    float *gains = NULL;
    pons_task_span span;
    PONS_ALLOC(st, gains, pons_gain_floats(context->config));
    PONS_TRY(st, pons_model_read_linear(context->model, layer, w->linear, 0, w->rows, dense));
    if (pons_model_forget_linear(context->model, layer, w->linear, &span))
        pons_trace_behind(account->trace, PONS_PHASE_READ, layer, span);
    PONS_TRY(st, pons_model_read_bias(context->model, layer, w->linear, w->bias, &w->has_bias));
    PONS_TRY(st, pons_model_read_gains(context->model, layer, gains));
    PONS_TRY(st, pons_rotation_linear(context->rotation, layer, w->linear, gains, dense,
                                      w->has_bias ? w->bias : NULL));
    if (w->has_bias) PONS_TRY(st, pons_context_round(context, w->name, 0, w->rows, 1, w->bias));
done:
    pons_mem_free(gains);
    return st;
}

static void share_bias(const pons_team *team, pons_block_linear *w)
{
    pons_comm_bcast(team->comm, &w->has_bias, sizeof w->has_bias, w->owner);
    if (w->has_bias)
        pons_comm_bcast(team->comm, w->bias, (size_t)w->rows * sizeof *w->bias, w->owner);
}

/* @param dense on the owner */
static void send_rows(const pons_team *team, const float *dense, pons_block_linear *w)
{
    enum { TAG = 2 };
    size_t row = (size_t)w->cols * sizeof *dense;
    for (int r = 0; r < team->size; r++) {
        int64_t first = w->row_begin[r], n = w->row_begin[r + 1] - first;
        if (team->rank == w->owner && r == w->owner)
            memcpy(w->panel, dense + first * w->cols, (size_t)n * row);
        else if (team->rank == w->owner)
            pons_comm_send(team->comm, dense + first * w->cols, (size_t)n * row, r, TAG);
        else if (team->rank == r)
            pons_comm_recv(team->comm, w->panel, (size_t)n * row, w->owner, TAG);
    }
    share_bias(team, w);
}

pons_status pons_linears_read(const pons_context *context, const pons_team *team,
                              pons_account *account, int64_t layer, int tap,
                              pons_block_linear *linears)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int count = context->config->arch->linears;
    float **dense = pons_mem_calloc(count, sizeof *dense);
    double start = pons_clock();
    PONS_TRY_ALL(st, team->comm, dense ? PONS_OK : PONS_ERR_NOMEM);
    for (int i = 0; i < context->config->arch->linears && local == PONS_OK; i++) {
        pons_block_linear *w = &linears[i];
        if (w->tap != tap) continue;
        PONS_ASSERT(w->state == PONS_LINEAR_LISTED);
        int64_t own = w->row_begin[team->rank + 1] - w->row_begin[team->rank];
        bool owner = w->owner == team->rank;
        w->panel = pons_mem_alloc(own * w->cols, sizeof *w->panel);
        w->bias = pons_mem_alloc(w->rows, sizeof *w->bias);
        if (owner) dense[i] = pons_mem_alloc(w->rows * w->cols, sizeof *dense[i]);
        if (!w->panel || !w->bias || (owner && !dense[i])) local = PONS_ERR_NOMEM;
        if (local == PONS_OK && owner) local = read_rotated(context, account, layer, w, dense[i]);
    }
    PONS_TRY_ALL(st, team->comm, local);
    for (int i = 0; i < context->config->arch->linears; i++) {
        if (linears[i].tap != tap) continue;
        send_rows(team, dense[i], &linears[i]);
        linears[i].state = PONS_LINEAR_READ;
        pons_mem_free(dense[i]);
        dense[i] = NULL;
    }
done:
    for (int i = 0; dense && i < count; i++)
        pons_mem_free(dense[i]);
    pons_mem_free(dense);
    account->seconds.read += pons_trace_phase(account->trace, PONS_PHASE_READ, start);
    return st;
}

void pons_linears_read_ahead(const pons_context *context, const pons_team *team, int64_t layer,
                             int tap)
{
    for (int i = 0; i < context->config->arch->linears && layer < context->config->layers; i++)
        if (context->config->arch->linear[i].tap == tap &&
            owner_of(context, team, layer, i) == team->rank)
            pons_model_read_ahead(context->model, layer, i);
}

void pons_linear_gather_rows(const pons_team *team, const pons_block_linear *w, const float *own,
                             size_t *offset, float *all)
{
    int64_t first = w->row_begin[team->rank], n = w->row_begin[team->rank + 1] - first;
    memcpy(all + first * w->cols, own, (size_t)(n * w->cols) * sizeof *all);
    for (int r = 0; r <= team->size; r++)
        offset[r] = (size_t)(w->row_begin[r] * w->cols) * sizeof *all;
    pons_comm_allgather_parts(team->comm, all, offset);
}

pons_status pons_linears_gather_dense(const pons_arch *arch, const pons_team *team, int tap,
                                      const pons_block_linear *linears, pons_block *block)
{
    pons_status st = PONS_OK, local = PONS_OK;
    float *W = NULL;
    size_t *offset = pons_mem_alloc(team->size + 1, sizeof *offset);
    PONS_TRY_ALL(st, team->comm, offset ? PONS_OK : PONS_ERR_NOMEM);
    for (int i = 0; i < arch->linears; i++) {
        const pons_block_linear *w = &linears[i];
        if (w->tap != tap) continue;
        PONS_ASSERT(w->state == PONS_LINEAR_READ);
        W = pons_mem_alloc(w->rows * w->cols, sizeof *W);
        PONS_TRY_ALL(st, team->comm, W ? PONS_OK : PONS_ERR_NOMEM);
        pons_linear_gather_rows(team, w, w->panel, offset, W);
        local = pons_block_set_linear(block, w->linear, W, w->has_bias ? w->bias : NULL);
        PONS_TRY_ALL(st, team->comm, local);
        pons_mem_free(W);
        W = NULL;
    }
done:
    pons_mem_free(W);
    pons_mem_free(offset);
    return st;
}

/* Collective: one whole linear into a block. */
static pons_status set_dense(const pons_context *context, const pons_team *team,
                             pons_account *account, int64_t layer, pons_block_linear *w,
                             pons_block *block)
{
    pons_status st = PONS_OK, local = PONS_OK;
    float *dense = pons_mem_alloc(w->rows * w->cols, sizeof *dense);
    w->bias = pons_mem_alloc(w->rows, sizeof *w->bias);
    if (!dense || !w->bias) local = PONS_ERR_NOMEM;
    if (local == PONS_OK && w->owner == team->rank)
        local = read_rotated(context, account, layer, w, dense);
    PONS_TRY_ALL(st, team->comm, local);
    pons_comm_bcast(team->comm, dense, (size_t)(w->rows * w->cols) * sizeof *dense, w->owner);
    share_bias(team, w);
    PONS_TRY_ALL(st, team->comm,
                 pons_block_set_linear(block, w->linear, dense, w->has_bias ? w->bias : NULL));
done:
    pons_mem_free(w->bias);
    pons_mem_free(dense);
    w->bias = NULL;
    return st;
}

pons_status pons_linears_set_dense(const pons_context *context, const pons_team *team,
                                   pons_account *account, int64_t layer, pons_block_linear *linears,
                                   pons_block *block)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    for (int i = 0; i < context->config->arch->linears; i++)
        PONS_TRY(st, set_dense(context, team, account, layer, &linears[i], block));
done:
    account->seconds.read += pons_trace_phase(account->trace, PONS_PHASE_READ, start);
    return st;
}

/* ---- Results */

pons_status pons_linear_reserve(pons_block_linear *w)
{
    pons_status st = PONS_OK;
    pons_row_result *r = &w->result;
    int64_t cells = w->rows * w->cols, scales = w->rows * w->groups;
    PONS_ALLOC(st, r->codes, w->bits < 16 ? cells : 0);
    PONS_ALLOC(st, r->scale, scales);
    PONS_ALLOC(st, r->zero, scales);
    PONS_ALLOC(st, r->value, cells);
    PONS_CALLOC(st, r->error, w->rows);
    PONS_CALLOC(st, r->energy, w->rows);
    PONS_CALLOC(st, r->zeros, w->rows);
done:
    return st;
}

void pons_linears_keep(const pons_context *context, const pons_team *team, int tap,
                       pons_block_linear *linears)
{
    for (int i = 0; i < context->config->arch->linears; i++) {
        pons_block_linear *w = &linears[i];
        if (w->tap != tap) continue;
        PONS_ASSERT(w->state == PONS_LINEAR_COMPRESSED);
        w->state = PONS_LINEAR_KEPT;
        if (team->rank != 0) {
            result_free(&w->result);
        } else if (w->bits < 16) {
            pons_mem_free(w->result.value);
            w->result.value = NULL;
        } else {
            pons_mem_free(w->result.codes);
            w->result.codes = NULL;
        }
    }
}

pons_status pons_linears_reserve_kept(const pons_context *context, pons_block_linear *linears)
{
    pons_status st = PONS_OK;
    for (int i = 0; i < context->config->arch->linears; i++) {
        pons_block_linear *w = &linears[i];
        pons_row_result *r = &w->result;
        if (w->bits < 16) PONS_ALLOC(st, r->codes, w->rows * w->cols);
        if (w->bits == 16) PONS_ALLOC(st, r->value, w->rows * w->cols);
        PONS_ALLOC(st, r->scale, w->rows * w->groups);
        PONS_ALLOC(st, r->zero, w->rows * w->groups);
        PONS_ALLOC(st, r->error, w->rows);
        PONS_ALLOC(st, r->energy, w->rows);
        PONS_ALLOC(st, r->zeros, w->rows);
        PONS_ALLOC(st, w->bias, w->rows);
    }
done:
    return st;
}

/* What travels of a kept linear. @return number of parts */
enum { PARTS = 13 };
static int list_parts(pons_block_linear *w, void *data[PARTS], size_t bytes[PARTS])
{
    size_t cells = (size_t)(w->rows * w->cols), scales = (size_t)(w->rows * w->groups);
    size_t rows = (size_t)w->rows;
    int n = 0;
#define PART(p, count)                                                                             \
    do {                                                                                           \
        data[n] = (p);                                                                             \
        bytes[n++] = (count) * sizeof *(p);                                                        \
    } while (0)
    if (w->result.codes) PART(w->result.codes, cells);
    if (w->result.value) PART(w->result.value, cells);
    PART(w->result.scale, scales);
    PART(w->result.zero, scales);
    PART(w->result.error, rows);
    PART(w->result.energy, rows);
    PART(w->result.zeros, rows);
    PART(w->bias, rows);
    PART(&w->has_bias, 1);
    PART(&w->target_share, 1);
    PART(&w->holdout_ratio, 1);
    PART(&w->damping, 1);
    PART(&w->metrics, 1);
#undef PART
    PONS_ASSERT(n <= PARTS);
    return n;
}

enum { TAG_KEPT = 3 };

void pons_linears_send(const pons_arch *arch, pons_comm *comm, int to, pons_block_linear *linears)
{
    void *data[PARTS];
    size_t bytes[PARTS];
    for (int i = 0; i < arch->linears; i++) {
        PONS_ASSERT(linears[i].state == PONS_LINEAR_KEPT);
        int n = list_parts(&linears[i], data, bytes);
        for (int k = 0; k < n; k++)
            pons_comm_send(comm, data[k], bytes[k], to, TAG_KEPT);
    }
}

void pons_linears_receive(const pons_arch *arch, pons_comm *comm, int from,
                          pons_block_linear *linears)
{
    void *data[PARTS];
    size_t bytes[PARTS];
    for (int i = 0; i < arch->linears; i++) {
        int n = list_parts(&linears[i], data, bytes);
        for (int k = 0; k < n; k++)
            pons_comm_recv(comm, data[k], bytes[k], from, TAG_KEPT);
        linears[i].state = PONS_LINEAR_KEPT;
    }
}
