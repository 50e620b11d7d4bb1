/* The capture pass and what becomes of it. The Lagrangian is prune/allocate.c's, rows are compressed by
 * obr. */
#include "pipeline/allocate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/mt19937.h"
#include "base/stop.h"
#include "pipeline/block.h"
#include "quant/weight.h"

enum { POINTS = PONS_ALLOCATE_POINTS, WIDTHS = PONS_ALLOCATE_WIDTHS, SAMPLE = PONS_ROW_PANEL };

/* Relative error of the probe at a linear's output: small enough to be linear, well above bf16. */
#define PROBE 0.1

/* One block of the pass; the arrays of a linear are NULL until its group was reached. */
typedef struct capture {
    pons_block *block; /* dense */
    pons_linear_work works[PONS_LINEARS];
    float *W[PONS_LINEARS]; /* whole */
    float *start, *end;     /* first window before the block and after it */
    float *h, *x;           /* the same on its way with one linear disturbed */
    double relative[PONS_LINEARS][WIDTHS][POINTS]; /* error */
    double gain[PONS_LINEARS];                     /* of a relative error, in the residual stream */
} capture;

/* Where curves are measured. Without weights.allocate_bits only kept weights count. */
static pons_allocate_grid list_points(const pons_recipe *r)
{
    pons_allocate_grid grid = {.first = r->prune.sparsity - r->prune.spread,
                               .last = r->prune.sparsity + r->prune.spread};
    for (int bits = 0; r->allocate_bits >> bits; bits++)
        if (r->allocate_bits >> bits & 1) grid.bits[grid.widths++] = bits;
    if (grid.widths == 0) grid.bits[grid.widths++] = 1;
    return grid;
}

static int64_t window_floats(const pons_job *job)
{
    return job->recipe.calibration.length * job->config->hidden;
}

/* Evenly spaced rows of W [rows, d], one after the other. */
static void sample_rows(int64_t rows, int64_t count, int64_t d, const float *W, float *out)
{
    for (int64_t r = 0; r < count; r++)
        memcpy(out + r * d, W + r * rows / count * d, (size_t)d * sizeof *out);
}

/* Local: relative error of a linear's sampled rows at one sparsity and width. */
static pons_status compress_sample(const pons_job *job, const pons_linear_work *w, const float *W,
                                   double sparsity, int bits, const pons_hessian_factor *factor,
                                   const pons_row_shared *shared, double *relative)
{
    pons_status st = PONS_OK;
    pons_row_result r = {0};
    pons_recipe recipe = job->recipe;
    int64_t rows = w->rows < SAMPLE ? w->rows : SAMPLE, cells = rows * w->cols;
    float *sample = NULL;
    double error = 0, energy = 0;
    recipe.prune.sparsity = sparsity;
    PONS_ALLOC(st, sample, cells);
    PONS_ALLOC(st, r.codes, cells);
    PONS_ALLOC(st, r.scale, rows * (w->groups + 1));
    PONS_ALLOC(st, r.zero, rows * (w->groups + 1));
    PONS_ALLOC(st, r.value, cells);
    PONS_ALLOC(st, r.error, rows);
    PONS_ALLOC(st, r.energy, rows);
    PONS_ALLOC(st, r.zeros, rows);
    sample_rows(w->rows, rows, w->cols, W, sample);
    pons_row_task task = {.name = w->name,
                          .rows = rows,
                          .d = w->cols,
                          .W = sample,
                          .factor = factor,
                          .recipe = &recipe,
                          .bits = bits,
                          .shared = shared};
    PONS_TRY(st, pons_compress_rows(&task, &r, NULL));
    for (int64_t i = 0; i < rows; i++) {
        error += r.error[i];
        energy += r.energy[i];
    }
    *relative = energy > 0 && error > 0 ? error / energy : 0;
done:
    pons_mem_free(r.zeros);
    pons_mem_free(r.energy);
    pons_mem_free(r.error);
    pons_mem_free(r.value);
    pons_mem_free(r.zero);
    pons_mem_free(r.scale);
    pons_mem_free(r.codes);
    pons_mem_free(sample);
    return st;
}

/* Collective: the error curves of a group; the points are dealt to the ranks. */
static pons_status measure_group(pons_job *job, int64_t layer, pons_group group,
                                 const pons_hessian_factor *factor, capture *c)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_row_shared *shared = NULL;
    pons_allocate_grid grid = list_points(&job->recipe);
    double start = pons_clock();
    int idle = pons_job_idle_ranks(job), turn = 0;
    PONS_TRY(st, pons_linear_works_share(job, layer, &(pons_input){group, -1}, factor, &shared));
    for (int i = 0; i < PONS_LINEARS; i++)
        for (int k = 0; k < grid.widths * POINTS && pons_linear_group((pons_linear)i) == group;
             k++, turn++) {
            int width = k / POINTS, point = k % POINTS;
            int bits = job->recipe.allocate_bits ? grid.bits[width] : c->works[i].bits;
            double sparsity = grid.first + (grid.last - grid.first) * point / (POINTS - 1);
            if (local == PONS_OK && idle + turn % (job->size - idle) == job->rank)
                local = compress_sample(job, &c->works[i], c->W[i], sparsity, bits, factor, shared,
                                        &c->relative[i][width][point]);
        }
    PONS_TRY_ALL(st, job->comm, local);
done:
    pons_row_shared_destroy(&shared);
    job->seconds.solve += pons_trace_phase(job->trace, PONS_PHASE_SOLVE, start);
    return st;
}

static pons_status set_dense(capture *c, int i, const float *W)
{
    const pons_linear_work *w = &c->works[i];
    return pons_block_set_linear(c->block, w->linear, W, w->has_bias ? w->bias : NULL);
}

/* Collective: one group of the pass. */
static pons_status capture_group(pons_job *job, int64_t layer, pons_group group, capture *c,
                                 size_t *offset)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_hessian_factor *factor = NULL;
    PONS_TRY(st, pons_linear_works_read(job, layer, group, c->works));
    pons_linear_works_ahead(job, layer + 1, group);
    for (int i = 0; i < PONS_LINEARS && local == PONS_OK; i++) {
        const pons_linear_work *w = &c->works[i];
        if (pons_linear_group(w->linear) != group) continue;
        c->W[i] = pons_mem_alloc(w->rows * w->cols, sizeof *c->W[i]);
        if (!c->W[i]) local = PONS_ERR_NOMEM;
    }
    PONS_TRY_ALL(st, job->comm, local);
    PONS_TRY_ALL(st, job->comm, pons_job_run_stage(job, c->block, (int)group));
    PONS_TRY(st,
             pons_job_factor_input(job, layer, c->block, &(pons_input){group, -1}, NULL, &factor));
    for (int i = 0; i < PONS_LINEARS; i++) {
        if (pons_linear_group((pons_linear)i) != group) continue;
        pons_linear_gather_rows(job, &c->works[i], c->works[i].panel, offset, c->W[i]);
        if (local == PONS_OK) local = set_dense(c, i, c->W[i]);
    }
    PONS_TRY_ALL(st, job->comm, local);
    PONS_TRY(st, measure_group(job, layer, group, factor, c));
done:
    pons_hessian_factor_destroy(&factor);
    return st;
}

/* W plus, in each row, PROBE of another row with a random sign: an error of that relative size at every
 * token's output, exactly, and of its scale. */
static void disturb(const pons_linear_work *w, uint32_t seed, const float *W, int64_t *order,
                    float *out)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, seed);
    for (int64_t i = 0; i < w->rows; i++)
        order[i] = i;
    for (int64_t i = w->rows - 1; i > 0; i--) {
        int64_t j = (int64_t)(pons_mt19937_next(&rng) % (uint32_t)(i + 1)), keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
    for (int64_t i = 0; i < w->rows; i++) {
        float size = pons_mt19937_next(&rng) % 2 ? (float)PROBE : -(float)PROBE;
        for (int64_t j = 0; j < w->cols; j++)
            out[i * w->cols + j] = W[i * w->cols + j] + size * W[order[i] * w->cols + j];
    }
}

/* Mean over tokens of the squared distance of two residual streams over the squared size of one. */
static double distance(int64_t tokens, int64_t hidden, const float *a, const float *b)
{
    double sum = 0;
    for (int64_t s = 0; s < tokens; s++) {
        double size = 0, moved = 0;
        for (int64_t j = s * hidden; j < (s + 1) * hidden; j++) {
            size += (double)b[j] * b[j];
            moved += ((double)a[j] - b[j]) * ((double)a[j] - b[j]);
        }
        if (size > 0) sum += moved / size;
    }
    return sum / (double)tokens;
}

/* Local: how much of an error at a linear's output arrives. */
static pons_status probe(const pons_job *job, int64_t layer, int i, capture *c)
{
    pons_status st = PONS_OK;
    const pons_linear_work *w = &c->works[i];
    int64_t S = job->recipe.calibration.length, *order = NULL;
    float *W = NULL;
    PONS_ALLOC(st, order, w->rows);
    PONS_ALLOC(st, W, w->rows * w->cols);
    disturb(w, (uint32_t)(layer * PONS_LINEARS + i), c->W[i], order, W);
    PONS_TRY(st, set_dense(c, i, W));
    memcpy(c->h, c->start, (size_t)window_floats(job) * sizeof *c->h);
    for (int stage = 0; stage < PONS_STAGES; stage++)
        PONS_TRY(st, pons_block_stage(c->block, &job->calibration, stage, S, c->h, c->x));
    PONS_TRY(st, set_dense(c, i, c->W[i]));
    c->gain[i] = distance(S, job->config->hidden, c->h, c->end) / (PROBE * PROBE);
done:
    pons_mem_free(W);
    pons_mem_free(order);
    return st;
}

static void capture_end(capture *c)
{
    pons_block_destroy(&c->block);
    pons_linear_works_destroy(c->works);
    for (int i = 0; i < PONS_LINEARS; i++)
        pons_mem_free(c->W[i]);
    pons_mem_free(c->start);
    pons_mem_free(c->end);
    pons_mem_free(c->h);
    pons_mem_free(c->x);
}

static pons_status capture_begin(pons_job *job, int64_t layer, capture *c)
{
    pons_status st = PONS_OK;
    float *norms = NULL;
    int64_t hidden = job->config->hidden, S = job->recipe.calibration.length;
    PONS_TRY(st, pons_linear_works_create(job, layer, c->works));
    PONS_ALLOC(st, norms, 2 * hidden);
    PONS_TRY(st, pons_job_read_norms(job, layer, norms));
    PONS_TRY(st, pons_block_create(job->config, layer, job->bf16, &c->block));
    PONS_TRY(st, pons_block_set_norms(c->block, norms, norms + hidden));
    PONS_ALLOC(st, c->start, window_floats(job));
    PONS_ALLOC(st, c->end, window_floats(job));
    PONS_ALLOC(st, c->h, window_floats(job));
    PONS_ALLOC(st, c->x, S * pons_block_width(job->config));
done:
    pons_mem_free(norms);
    return st;
}

/* Collective: the first window as it is now, from its rank to all. */
static void share_window(const pons_job *job, float *out)
{
    size_t bytes = (size_t)window_floats(job) * sizeof *out;
    int owner = pons_job_idle_ranks(job);
    if (job->rank == owner) memcpy(out, job->h, bytes);
    pons_comm_bcast(job->comm, out, bytes, owner);
}

/* Collective: the gain of every linear; they are dealt to the ranks. */
static pons_status probe_linears(pons_job *job, int64_t layer, capture *c)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int idle = pons_job_idle_ranks(job);
    double start = pons_clock();
    for (int i = 0; i < PONS_LINEARS && local == PONS_OK; i++)
        if (idle + i % (job->size - idle) == job->rank) local = probe(job, layer, i, c);
    job->seconds.forward += pons_trace_phase(job->trace, PONS_PHASE_FORWARD, start);
    PONS_TRY_ALL(st, job->comm, local);
done:
    return st;
}

/* Collective: one block of the pass. @param items those of its linears @param offset [size + 1] work */
static pons_status capture_block(pons_job *job, int64_t layer, size_t *offset,
                                 pons_allocate_item *items)
{
    pons_status st = PONS_OK;
    capture c = {0};
    PONS_TRY_ALL(st, job->comm, capture_begin(job, layer, &c));
    share_window(job, c.start);
    for (int g = 0; g < PONS_GROUPS; g++)
        PONS_TRY(st, capture_group(job, layer, (pons_group)g, &c, offset));
    PONS_TRY_ALL(st, job->comm, pons_job_run_stage(job, c.block, PONS_STAGES - 1));
    share_window(job, c.end);
    PONS_TRY(st, probe_linears(job, layer, &c));
    /* one rank's, else 0 */
    pons_comm_sum_f64(job->comm, c.relative[0][0], PONS_LINEARS * WIDTHS * POINTS);
    pons_comm_sum_f64(job->comm, c.gain, PONS_LINEARS);
    for (int i = 0; i < PONS_LINEARS; i++) {
        items[i].weights = c.works[i].rows * c.works[i].cols;
        for (int k = 0; k < WIDTHS * POINTS; k++)
            items[i].damage[k / POINTS][k % POINTS] =
                c.gain[i] * c.relative[i][k / POINTS][k % POINTS];
    }
done:
    capture_end(&c);
    return st;
}

/* Sparsities as whole numbers of pruned columns, and bits; those of the recipe stay 0. */
static pons_status choose(const pons_job *job, const pons_allocate_item *items,
                          pons_allocate_choice *choice)
{
    pons_status st = PONS_OK;
    int64_t n = job->config->layers * PONS_LINEARS;
    bool widths = job->recipe.allocate_bits != 0;
    pons_allocate_grid grid = list_points(&job->recipe);
    double total = 0, least = 1, most = 0;
    double kept = (1 - job->recipe.prune.sparsity) * (widths ? job->recipe.weights.bits : 1);
    for (int64_t i = 0; i < n; i++)
        total += kept * (double)items[i].weights;
    PONS_TRY(st, pons_allocate(n, items, &grid, total, choice));
    for (int64_t i = 0; i < n; i++) {
        int64_t rows, cols;
        pons_linear_shape(job->config, (pons_linear)(i % PONS_LINEARS), &rows, &cols);
        choice[i].sparsity = (rint(choice[i].sparsity * (double)cols) + 0.25) / (double)cols;
        if (!widths) choice[i].bits = 0;
        least = fmin(least, choice[i].sparsity);
        most = fmax(most, choice[i].sparsity);
    }
    if (job->rank == 0)
        pons_log(PONS_LOG_INFO, "allocate: linears = %lld, sparsities from %.3f to %.3f",
                 (long long)n, least, most);
done:
    return st;
}

/* A linear in the journal. */
static json_t *describe(const pons_job *job, int64_t i, const pons_allocate_item *item,
                        const pons_allocate_choice *choice)
{
    pons_allocate_grid grid = list_points(&job->recipe);
    char name[128];
    snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)(i / PONS_LINEARS),
             pons_linear_name((pons_linear)(i % PONS_LINEARS)));
    json_t *damage = json_array(), *line;
    for (int k = 0; k < grid.widths * POINTS; k++)
        json_array_append_new(damage, json_real(item->damage[k / POINTS][k % POINTS]));
    line =
        json_pack("{s:s, s:f, s:o}", "name", name, "sparsity", choice->sparsity, "damage", damage);
    if (choice->bits) json_object_set_new(line, "bits", json_integer(choice->bits));
    return line;
}

/* Rank 0: the line that a resumed run reads, with the curves for whoever wants to know why: the damage at
 * each sparsity, for each width in turn. */
static pons_status write_line(const pons_job *job, const pons_allocate_item *items,
                              const pons_allocate_choice *choice)
{
    json_t *linears = json_array();
    for (int64_t i = 0; i < job->config->layers * PONS_LINEARS; i++)
        json_array_append_new(linears, describe(job, i, &items[i], &choice[i]));
    return pons_journal_append(job->journal,
                               json_pack("{s:s, s:o}", "event", "allocation", "linears", linears));
}

/* Tokens of the pass for each column of the widest linear: curves are compared with each other, and what
 * few tokens do to one they do to all. */
enum { TOKENS_PER_COLUMN = 8 };

static int64_t count_windows(const pons_job *job)
{
    int64_t widest = 0, length = job->recipe.calibration.length;
    for (int g = 0; g < PONS_GROUPS; g++) {
        int64_t d = pons_group_dim(job->config, (pons_group)g);
        widest = d > widest ? d : widest;
    }
    int64_t windows = (TOKENS_PER_COLUMN * widest + length - 1) / length;
    return windows < job->recipe.calibration.windows ? windows : job->recipe.calibration.windows;
}

static int owner_of(const pons_job *job, int64_t windows, int64_t w)
{
    int r = 0;
    while (pons_job_window_begin(job, windows, r + 1) <= w)
        r++;
    return r;
}

/* Collective: the first windows of the job, from the ranks that hold them to those that will in the pass. */
static void deal_again(const pons_job *job, pons_job *pass)
{
    enum { TAG = 3 };
    int64_t windows = pass->recipe.calibration.windows, floats = window_floats(job);
    size_t bytes = (size_t)floats * sizeof *job->h;
    for (int64_t w = 0; w < windows; w++) {
        int from = owner_of(job, job->recipe.calibration.windows, w),
            to = owner_of(job, windows, w);
        const float *have = job->h + (w - job->window_begin) * floats;
        float *want = pass->h + (w - pass->window_begin) * floats;
        if (from == to && job->rank == to)
            memcpy(want, have, bytes);
        else if (job->rank == from)
            pons_comm_send(job->comm, have, bytes, to, TAG);
        else if (job->rank == to)
            pons_comm_recv(job->comm, want, bytes, from, TAG);
    }
}

/* Collective: the job as the pass sees it: few windows, dense inputs, and of the method what decides where
 * pruning hurts: a mask that knows the Hessian and the adjustment, not what is gained on top of them everywhere. */
static pons_status begin_pass(pons_job *job, pons_job *pass)
{
    pons_status st = PONS_OK;
    *pass = *job;
    pass->inputs = job->calibration;
    pass->recipe.calibration.windows = count_windows(job);
    pass->recipe.calibration.holdout = 0;
    pass->recipe.scale_from = PONS_SCALE_DENSE;
    pass->recipe.refit = PONS_REFIT_NONE;
    if (job->recipe.prune.mask == PONS_MASK_ADMM || job->recipe.prune.mask == PONS_MASK_DUAL_SWAP)
        pass->recipe.prune.mask = PONS_MASK_OBS;
    pass->recipe.obr.blocks = 2;
    pass->recipe.polish.sweeps = 0;
    int64_t windows = pass->recipe.calibration.windows, S = job->recipe.calibration.length;
    pass->window_begin = pons_job_window_begin(job, windows, job->rank);
    pass->window_end = pons_job_window_begin(job, windows, job->rank + 1);
    pass->held_begin = pass->held_end = 0;
    int64_t mine = pons_job_own_windows(pass);
    pass->h = pons_mem_alloc(mine * window_floats(job), sizeof *pass->h);
    pass->x = pons_mem_alloc(mine * S * pons_block_width(job->config), sizeof *pass->x);
    PONS_TRY_ALL(st, job->comm, pass->h && pass->x ? PONS_OK : PONS_ERR_NOMEM);
    deal_again(job, pass);
done:
    return st;
}

/* Collective: the pass. @param choice [layers, PONS_LINEARS] out */
static pons_status run_pass(pons_job *job, pons_allocate_choice *choice)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_progress progress = {0};
    pons_job pass;
    pons_allocate_item *items = NULL;
    size_t *offset = NULL;
    int64_t layers = job->config->layers;
    PONS_TRY(st, begin_pass(job, &pass));
    items = pons_mem_calloc(layers * PONS_LINEARS, sizeof *items);
    offset = pons_mem_alloc(job->size + 1, sizeof *offset);
    PONS_TRY_ALL(st, job->comm, items && offset ? PONS_OK : PONS_ERR_NOMEM);
    pons_progress_begin(&progress, "allocate: blocks", layers);
    for (int64_t layer = 0; layer < layers; layer++) {
        PONS_TRY_ALL(st, job->comm, pons_stop_check());
        PONS_TRY(st, capture_block(&pass, layer, offset, items + layer * PONS_LINEARS));
        pons_progress_update(&progress, layer + 1);
    }
    pons_progress_end(&progress);
    job->seconds = pass.seconds;
    local = choose(job, items, choice);
    if (local == PONS_OK && job->rank == 0) local = write_line(job, items, choice);
    PONS_TRY_ALL(st, job->comm, local);
done:
    pons_progress_drop(&progress);
    pons_mem_free(pass.h);
    pons_mem_free(pass.x);
    pons_mem_free(offset);
    pons_mem_free(items);
    return st;
}

/* Rank 0: what an earlier process chose. */
static pons_status recall(const pons_job *job, pons_allocate_choice *choice, bool *known)
{
    const json_t *line = pons_journal_find(job->journal, "allocation", NULL, 0), *linear;
    const json_t *linears = json_object_get(line, "linears");
    size_t i, n = (size_t)(job->config->layers * PONS_LINEARS);
    *known = line != NULL;
    if (line && json_array_size(linears) != n)
        return pons_fail(PONS_ERR_INPUT,
                         "%s/journal.jsonl: allocation: found %zu linears, allowed: the %zu of "
                         "this model",
                         job->run, json_array_size(linears), n);
    json_array_foreach(linears, i, linear)
    {
        choice[i].sparsity = json_real_value(json_object_get(linear, "sparsity"));
        choice[i].bits = (int)json_integer_value(json_object_get(linear, "bits"));
    }
    return PONS_OK;
}

pons_status pons_job_allocate(pons_job *job)
{
    pons_status st = PONS_OK;
    int64_t n = job->config->layers * PONS_LINEARS;
    pons_allocate_choice *choice = NULL;
    bool known = false;
    if (job->recipe.prune.allocate == PONS_ALLOCATE_UNIFORM) return PONS_OK;
    choice = pons_mem_calloc(n, sizeof *choice);
    PONS_TRY_ALL(st, job->comm, choice ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY_ALL(st, job->comm, job->rank == 0 ? recall(job, choice, &known) : PONS_OK);
    pons_comm_bcast(job->comm, &known, sizeof known, 0);
    if (known)
        pons_comm_bcast(job->comm, choice, (size_t)n * sizeof *choice, 0);
    else
        PONS_TRY(st, run_pass(job, choice));
    job->choice = choice;
    choice = NULL;
done:
    pons_mem_free(choice);
    return st;
}
