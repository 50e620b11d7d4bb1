/* The path of one group of linears over the ranks. Does not run the block and does not write files. */
#include "pipeline/linear.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "pipeline/counts.h"
#include "quant/weight.h"

static bool in_group(const pons_linear_work *w, pons_group group)
{
    return pons_linear_group(w->linear) == group;
}

/* Rows are dealt in shares, counted over all linears of a group so that ranks stay level. */
static void deal_rows(const pons_job *job, pons_linear_work works[PONS_LINEARS])
{
    for (int g = 0; g < PONS_GROUPS; g++) {
        int64_t shares = 0, before = 0;
        for (int i = 0; i < PONS_LINEARS; i++)
            if (in_group(&works[i], (pons_group)g))
                shares += (works[i].rows + PONS_ROW_SHARE - 1) / PONS_ROW_SHARE;
        for (int i = 0; i < PONS_LINEARS; i++) {
            pons_linear_work *w = &works[i];
            if (!in_group(w, (pons_group)g)) continue;
            int64_t own = (w->rows + PONS_ROW_SHARE - 1) / PONS_ROW_SHARE;
            for (int r = 0; r <= job->size; r++) {
                int64_t share = pons_job_share_begin(job, shares, r) - before;
                share = share < 0 ? 0 : share > own ? own : share;
                w->row_begin[r] =
                    share * PONS_ROW_SHARE < w->rows ? share * PONS_ROW_SHARE : w->rows;
            }
            if (pons_method_needs_all_rows(job->recipe.method))
                for (int r = 0; r <= job->size; r++)
                    w->row_begin[r] = r <= w->owner ? 0 : w->rows;
            before += own;
        }
    }
}

/* Rank that reads and rotates linear i. */
static int owner_of(const pons_job *job, int64_t layer, int i)
{
    int idle = pons_job_idle_ranks(job);
    return idle + (int)((layer * PONS_LINEARS + i) % (job->size - idle));
}

pons_status pons_linear_works_create(pons_job *job, int64_t layer,
                                     pons_linear_work works[PONS_LINEARS])
{
    pons_status st = PONS_OK;
    const pons_weight_quant *quant = &job->recipe.weights;
    memset(works, 0, PONS_LINEARS * sizeof *works);
    for (int i = 0; i < PONS_LINEARS; i++) {
        pons_linear_work *w = &works[i];
        w->linear = (pons_linear)i;
        snprintf(w->name, sizeof w->name, "block %lld %s", (long long)layer,
                 pons_linear_short_name(w->linear));
        pons_linear_shape(job->config, w->linear, &w->rows, &w->cols);
        w->bits = !pons_method_quantizes(job->recipe.method)        ? 16
                  : w->linear == PONS_DOWN && quant->down_proj_bits ? quant->down_proj_bits
                                                                    : quant->bits;
        const pons_allocate_choice *choice =
            job->choice ? &job->choice[layer * PONS_LINEARS + i] : NULL;
        w->sparsity = choice ? choice->sparsity : job->recipe.prune.sparsity;
        if (choice && choice->bits) w->bits = choice->bits;
        w->groups = w->bits == 16 ? 0 : pons_weight_groups(quant, w->cols);
        w->owner = owner_of(job, layer, i);
        PONS_ALLOC(st, w->row_begin, job->size + 1);
    }
    deal_rows(job, works);
done:
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

void pons_linear_works_destroy(pons_linear_work works[PONS_LINEARS])
{
    for (int i = 0; i < PONS_LINEARS; i++) {
        pons_mem_free(works[i].row_begin);
        pons_mem_free(works[i].dense);
        pons_mem_free(works[i].panel);
        pons_mem_free(works[i].bias);
        result_free(&works[i].all);
    }
    memset(works, 0, PONS_LINEARS * sizeof *works);
}

/* Owner: the whole linear, rotated. */
static pons_status read_rotated(const pons_job *job, int64_t layer, pons_linear_work *w)
{
    pons_status st = PONS_OK;
    float *norms = NULL;
    int64_t hidden = job->config->hidden;
    pons_task_span span;
    PONS_ALLOC(st, w->dense, w->rows * w->cols);
    PONS_ALLOC(st, norms, 2 * hidden);
    PONS_TRY(st, pons_model_read_linear(job->model, layer, w->linear, 0, w->rows, w->dense));
    if (pons_model_forget_linear(job->model, layer, w->linear, &span))
        pons_trace_behind(job->trace, PONS_PHASE_READ, layer, span);
    PONS_TRY(st, pons_model_read_bias(job->model, layer, w->linear, w->bias, &w->has_bias));
    PONS_TRY(st, pons_model_read_norms(job->model, layer, norms, norms + hidden));
    const float *gain = pons_linear_group(w->linear) == PONS_GROUP_QKV ? norms : norms + hidden;
    PONS_TRY(st, pons_rotation_linear(job->rotation, layer, w->linear, gain, w->dense,
                                      w->has_bias ? w->bias : NULL));
    if (w->has_bias) pons_dtype_round(job->recipe.output.dtype, w->bias, w->rows);
done:
    pons_mem_free(norms);
    return st;
}

static void send_rows(pons_job *job, pons_linear_work *w)
{
    enum { TAG = 2 };
    size_t row = (size_t)w->cols * sizeof(float);
    for (int r = 0; r < job->size; r++) {
        int64_t first = w->row_begin[r], n = w->row_begin[r + 1] - first;
        if (job->rank == w->owner && r == w->owner)
            memcpy(w->panel, w->dense + first * w->cols, (size_t)n * row);
        else if (job->rank == w->owner)
            pons_comm_send(job->comm, w->dense + first * w->cols, (size_t)n * row, r, TAG);
        else if (job->rank == r)
            pons_comm_recv(job->comm, w->panel, (size_t)n * row, w->owner, TAG);
    }
    pons_comm_bcast(job->comm, &w->has_bias, sizeof w->has_bias, w->owner);
    if (w->has_bias)
        pons_comm_bcast(job->comm, w->bias, (size_t)w->rows * sizeof *w->bias, w->owner);
}

pons_status pons_linear_works_read(pons_job *job, int64_t layer, pons_group group,
                                   pons_linear_work works[PONS_LINEARS])
{
    pons_status st = PONS_OK, local = PONS_OK;
    double start = pons_clock();
    for (int i = 0; i < PONS_LINEARS && local == PONS_OK; i++) {
        pons_linear_work *w = &works[i];
        if (!in_group(w, group)) continue;
        int64_t own = w->row_begin[job->rank + 1] - w->row_begin[job->rank];
        w->panel = pons_mem_alloc(own * w->cols, sizeof *w->panel);
        w->bias = pons_mem_alloc(w->rows, sizeof *w->bias);
        if (!w->panel || !w->bias) local = PONS_ERR_NOMEM;
        if (local == PONS_OK && w->owner == job->rank) local = read_rotated(job, layer, w);
    }
    PONS_TRY_ALL(st, job->comm, local);
    for (int i = 0; i < PONS_LINEARS; i++) {
        if (!in_group(&works[i], group)) continue;
        send_rows(job, &works[i]);
        pons_mem_free(works[i].dense);
        works[i].dense = NULL;
    }
done:
    job->seconds.read += pons_trace_phase(job->trace, PONS_PHASE_READ, start);
    return st;
}

void pons_linear_works_ahead(pons_job *job, int64_t layer, pons_group group)
{
    for (int i = 0; i < PONS_LINEARS && layer < job->config->layers; i++)
        if (pons_linear_group((pons_linear)i) == group && owner_of(job, layer, i) == job->rank)
            pons_model_read_ahead(job->model, layer, (pons_linear)i);
}

void pons_linear_gather_rows(const pons_job *job, const pons_linear_work *w, const float *own,
                             size_t *offset, float *all)
{
    int64_t first = w->row_begin[job->rank], n = w->row_begin[job->rank + 1] - first;
    memcpy(all + first * w->cols, own, (size_t)(n * w->cols) * sizeof *all);
    for (int r = 0; r <= job->size; r++)
        offset[r] = (size_t)(w->row_begin[r] * w->cols) * sizeof *all;
    pons_comm_allgather_parts(job->comm, all, offset);
}

static pons_status result_alloc(const pons_linear_work *w, pons_row_result *r)
{
    pons_status st = PONS_OK;
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

/* The part of a result that starts at a row. */
static pons_row_result result_at(const pons_linear_work *w, int64_t row)
{
    pons_row_result r = w->all;
    if (w->bits < 16) r.codes += row * w->cols;
    r.scale += row * w->groups;
    r.zero += row * w->groups;
    r.value += row * w->cols;
    r.error += row;
    r.energy += row;
    r.zeros += row;
    return r;
}

static pons_status compress_own_rows(pons_job *job, const pons_hessian_factor *factor,
                                     const pons_row_shared *shared, pons_linear_work *w)
{
    int64_t first = w->row_begin[job->rank], n = w->row_begin[job->rank + 1] - first;
    pons_status st = result_alloc(w, &w->all);
    if (st != PONS_OK || n == 0) return st;
    pons_row_result own = result_at(w, first);
    if (job->recipe.method == PONS_METHOD_NONE) {
        memcpy(own.value, w->panel, (size_t)(n * w->cols) * sizeof *own.value);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < w->cols; j++)
                own.zeros[i] += w->panel[i * w->cols + j] == 0;
        return PONS_OK;
    }
    pons_recipe recipe = job->recipe;
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
static void gather(pons_job *job, pons_linear_work *w, size_t *offset)
{
    struct {
        void *data;
        size_t row;
    } parts[] = {{w->all.codes, w->bits < 16 ? (size_t)w->cols : 0},
                 {w->all.scale, (size_t)w->groups * sizeof(float)},
                 {w->all.zero, (size_t)w->groups},
                 {w->all.value, w->bits < 16 ? 0 : (size_t)w->cols * sizeof(float)},
                 {w->all.error, sizeof(double)},
                 {w->all.energy, sizeof(double)},
                 {w->all.zeros, sizeof(int64_t)}};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        if (!parts[p].row) continue;
        for (int r = 0; r <= job->size; r++)
            offset[r] = (size_t)w->row_begin[r] * parts[p].row;
        pons_comm_allgather_parts(job->comm, parts[p].data, offset);
    }
    if (w->bits < 16)
        pons_weight_dequantize(pons_weight_group_size(&job->recipe.weights, w->cols), w->rows,
                               w->cols, w->all.codes, w->all.scale, w->all.zero, w->all.value);
    if (w->bits == 16 || job->recipe.output.format == PONS_OUTPUT_DENSE)
        pons_dtype_round(job->recipe.output.dtype, w->all.value, w->rows * w->cols);
}

pons_status pons_linear_works_share(pons_job *job, int64_t layer, const pons_input *input,
                                    const pons_hessian_factor *factor, pons_row_shared **out)
{
    pons_status st = pons_row_shared_create(factor, &job->recipe, job->solver_bf16, out);
    char cause[PONS_ERROR_MESSAGE_BYTES];
    if (st == PONS_ERR_NUMERIC) {
        snprintf(cause, sizeof cause, "%s", pons_error_message());
        return pons_fail(st, "block %lld %s: %s", (long long)layer, pons_input_name(input), cause);
    }
    if (st != PONS_OK) return st;
    double raised = pons_row_shared_damping(*out);
    if (raised > 0 && job->rank == 0) st = pons_job_tell_damping(job, layer, input, raised);
    st = pons_comm_agree(job->comm, st);
    if (st != PONS_OK) pons_row_shared_destroy(out);
    return st;
}

pons_status pons_linear_works_compress(pons_job *job, int64_t layer, const pons_input *input,
                                       const pons_hessian_factor *factor,
                                       pons_linear_work works[PONS_LINEARS])
{
    pons_status st = PONS_OK, local = PONS_OK;
    size_t *offset = NULL;
    pons_row_shared *shared = NULL;
    double start = pons_clock();
    offset = pons_mem_alloc(job->size + 1, sizeof *offset);
    PONS_TRY_ALL(st, job->comm, offset ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_linear_works_share(job, layer, input, factor, &shared));
    job->metrics.solve_seconds += pons_clock() - start;
    for (int i = 0; i < PONS_LINEARS && local == PONS_OK; i++)
        if (pons_input_has(input, works[i].linear) && (local = pons_stop_check()) == PONS_OK)
            local = compress_own_rows(job, factor, shared, &works[i]);
    PONS_TRY_ALL(st, job->comm, local);
    pons_row_shared_destroy(&shared);
    double gathering = pons_clock();
    for (int i = 0; i < PONS_LINEARS; i++) {
        if (!pons_input_has(input, works[i].linear)) continue;
        gather(job, &works[i], offset);
        pons_counts_add_work(&job->metrics, &works[i].metrics);
        pons_counts_sum(job->comm, &works[i].metrics);
        pons_mem_free(works[i].panel);
        works[i].panel = NULL;
    }
    job->seconds.gather += pons_clock() - gathering;
done:
    pons_row_shared_destroy(&shared);
    pons_mem_free(offset);
    job->seconds.solve += pons_trace_phase(job->trace, PONS_PHASE_SOLVE, start);
    return st;
}

void pons_linear_works_keep(const pons_job *job, pons_group group,
                            pons_linear_work works[PONS_LINEARS])
{
    bool dense = job->recipe.output.format == PONS_OUTPUT_DENSE;
    for (int i = 0; i < PONS_LINEARS; i++) {
        pons_row_result *r = &works[i].all;
        if (!in_group(&works[i], group)) continue;
        if (job->rank != 0) {
            result_free(r);
        } else if (works[i].bits < 16 && !dense) { /* the shard takes codes */
            pons_mem_free(r->value);
            r->value = NULL;
        } else { /* the shard takes values */
            pons_mem_free(r->codes);
            r->codes = NULL;
        }
    }
}

/* ---- Between blocks and ranks of another team */

pons_status pons_linear_works_dense(pons_job *job, int64_t layer,
                                    pons_linear_work works[PONS_LINEARS], pons_block *block)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double start = pons_clock();
    for (int i = 0; i < PONS_LINEARS; i++) {
        pons_linear_work *w = &works[i];
        bool owner = w->owner == job->rank;
        w->bias = pons_mem_alloc(w->rows, sizeof *w->bias);
        if (!w->bias) local = PONS_ERR_NOMEM;
        if (local == PONS_OK && owner) local = read_rotated(job, layer, w);
        if (!owner) w->dense = pons_mem_alloc(w->rows * w->cols, sizeof *w->dense);
        if (local == PONS_OK && !w->dense) local = PONS_ERR_NOMEM;
        PONS_TRY_ALL(st, job->comm, local);
        pons_comm_bcast(job->comm, w->dense, (size_t)(w->rows * w->cols) * sizeof *w->dense,
                        w->owner);
        pons_comm_bcast(job->comm, &w->has_bias, sizeof w->has_bias, w->owner);
        if (w->has_bias)
            pons_comm_bcast(job->comm, w->bias, (size_t)w->rows * sizeof *w->bias, w->owner);
        PONS_TRY_ALL(
            st, job->comm,
            pons_block_set_linear(block, w->linear, w->dense, w->has_bias ? w->bias : NULL));
        pons_mem_free(w->dense);
        pons_mem_free(w->bias);
        w->dense = w->bias = NULL;
    }
done:
    job->seconds.read += pons_trace_phase(job->trace, PONS_PHASE_READ, start);
    return st;
}

pons_status pons_linear_works_reserve(const pons_job *job, pons_linear_work works[PONS_LINEARS])
{
    pons_status st = PONS_OK;
    bool dense = job->recipe.output.format == PONS_OUTPUT_DENSE;
    for (int i = 0; i < PONS_LINEARS; i++) {
        pons_linear_work *w = &works[i];
        pons_row_result *r = &w->all;
        bool codes = w->bits < 16 && !dense;
        if (codes) PONS_ALLOC(st, r->codes, w->rows * w->cols);
        if (!codes) PONS_ALLOC(st, r->value, w->rows * w->cols);
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
static int list_kept(pons_linear_work *w, void *data[9], size_t bytes[9])
{
    size_t cells = (size_t)(w->rows * w->cols), scales = (size_t)(w->rows * w->groups);
    size_t rows = (size_t)w->rows;
    int n = 0;
#define PART(p, count)                                                                             \
    do {                                                                                           \
        data[n] = (p);                                                                             \
        bytes[n++] = (count) * sizeof *(p);                                                        \
    } while (0)
    if (w->all.codes && w->bits < 16) PART(w->all.codes, cells);
    if (w->all.value) PART(w->all.value, cells);
    PART(w->all.scale, scales);
    PART(w->all.zero, scales);
    PART(w->all.error, rows);
    PART(w->all.energy, rows);
    PART(w->all.zeros, rows);
    PART(w->bias, rows);
    PART(&w->metrics, 1);
#undef PART
    return n;
}

void pons_linear_works_send(pons_job *job, pons_comm *comm, int to,
                            pons_linear_work works[PONS_LINEARS])
{
    enum { TAG = 3 };
    void *data[9];
    size_t bytes[9];
    double start = pons_clock();
    for (int i = 0; i < PONS_LINEARS; i++) {
        int n = list_kept(&works[i], data, bytes);
        pons_comm_send(comm, &works[i].has_bias, sizeof works[i].has_bias, to, TAG);
        for (int k = 0; k < n; k++)
            pons_comm_send(comm, data[k], bytes[k], to, TAG);
    }
    job->seconds.pack += pons_trace_phase(job->trace, PONS_PHASE_PACK, start);
}

void pons_linear_works_receive(pons_comm *comm, int from, pons_linear_work works[PONS_LINEARS])
{
    enum { TAG = 3 };
    void *data[9];
    size_t bytes[9];
    for (int i = 0; i < PONS_LINEARS; i++) {
        int n = list_kept(&works[i], data, bytes);
        pons_comm_recv(comm, &works[i].has_bias, sizeof works[i].has_bias, from, TAG);
        for (int k = 0; k < n; k++)
            pons_comm_recv(comm, data[k], bytes[k], from, TAG);
    }
}
