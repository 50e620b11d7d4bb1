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
#include "calib/walk.h"
#include "pipeline/damping.h"
#include "pipeline/factor.h"
#include "pipeline/open_block.h"
#include "pipeline/solve.h"
#include "quant/weight.h"

enum { POINTS = PONS_ALLOCATE_POINTS, WIDTHS = PONS_ALLOCATE_WIDTHS, SAMPLE = PONS_ROW_PANEL };

/* Relative error of the probe at a linear's output: small enough to be linear, well above bf16. */
#define PROBE 0.1

/* The pass over the blocks: dense inputs of few windows, which are dealt to all ranks, and of the method what
 * decides where pruning hurts: a mask that knows the Hessian and the adjustment, not what is gained on top of
 * them everywhere. */
typedef struct pass {
    const pons_context *context;
    const pons_team *team;
    pons_account *account;
    pons_recipe recipe; /* that rows are tried with */
    pons_stream windows;
    size_t *offset; /* [size + 1] work */
} pass;

/* One block of it; the whole weights of a linear are NULL until its tap was reached. */
typedef struct capture {
    pass *p;
    pons_open_block open;               /* dense */
    float **W;                          /* [linears] whole */
    float *start, *end;                 /* first window before the block and after it */
    float *h, *x;                       /* the same on its way with one linear disturbed */
    double (*relative)[WIDTHS][POINTS]; /* [linears] error */
    double *gain;                       /* [linears] of a relative error, in the residual stream */
    double clock;                       /* begin of a stage's windows */
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

static int64_t window_floats(const pass *p) { return p->windows.length * p->windows.hidden; }

/* Evenly spaced rows of W [rows, d], one after the other. */
static void sample_rows(int64_t rows, int64_t count, int64_t d, const float *W, float *out)
{
    for (int64_t r = 0; r < count; r++)
        memcpy(out + r * d, W + r * rows / count * d, (size_t)d * sizeof *out);
}

/* Local: relative error of a linear's sampled rows at one sparsity and width. */
static pons_status compress_sample(const pass *p, const pons_block_linear *w, const float *W,
                                   double sparsity, int bits, const pons_hessian_factor *factor,
                                   const pons_row_shared *shared, double *relative)
{
    pons_status st = PONS_OK;
    pons_row_result r = {0};
    pons_recipe recipe = p->recipe;
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
static pons_status measure_tap(capture *c, int tap, const pons_hessian_factor *factor)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pass *p = c->p;
    const pons_input input = pons_input_of_tap(p->context->config->arch, tap);
    pons_row_shared *shared = NULL;
    pons_allocate_grid grid = list_points(&p->recipe);
    double start = pons_clock(), damping = 0;
    int turn = 0;
    PONS_TRY(st, pons_solve_prepare(&p->recipe, p->context->solver_bf16, p->team, c->open.layer,
                                    &input, factor, &damping, &shared));
    for (int i = 0; i < p->context->config->arch->linears; i++) {
        pons_block_linear *w = &c->open.linears[i];
        if (w->tap != tap) continue;
        if (damping > 0) w->damping = damping;
        for (int k = 0; k < grid.widths * POINTS; k++, turn++) {
            int width = k / POINTS, point = k % POINTS;
            int bits = p->recipe.allocate_bits ? grid.bits[width] : w->bits;
            double sparsity = grid.first + (grid.last - grid.first) * point / (POINTS - 1);
            if (local == PONS_OK && pons_team_turn(p->team, turn) == p->team->rank)
                local = compress_sample(p, w, c->W[i], sparsity, bits, factor, shared,
                                        &c->relative[i][width][point]);
        }
    }
    PONS_TRY_ALL(st, p->team->comm, local);
done:
    pons_row_shared_destroy(&shared);
    p->account->seconds.solve += pons_trace_phase(p->account->trace, PONS_PHASE_SOLVE, start);
    return st;
}

static pons_status set_dense(capture *c, int i, const float *W)
{
    const pons_block_linear *w = &c->open.linears[i];
    return pons_block_set_linear(c->open.block, w->linear, W, w->has_bias ? w->bias : NULL);
}

/* Visitor: the linears of the group that the windows reach next. */
static pons_status enter(void *user, int stage)
{
    pons_status st = PONS_OK, local = PONS_OK;
    capture *c = user;
    pass *p = c->p;
    if (stage < p->context->config->arch->taps) {
        int tap = stage;
        PONS_TRY(st, pons_linears_read(p->context, p->team, p->account, c->open.layer, tap,
                                       c->open.linears));
        pons_linears_read_ahead(p->context, p->team, c->open.layer + 1, tap);
        for (int i = 0; i < p->context->config->arch->linears && local == PONS_OK; i++) {
            const pons_block_linear *w = &c->open.linears[i];
            if (w->tap != tap) continue;
            c->W[i] = pons_mem_alloc(w->rows * w->cols, sizeof *c->W[i]);
            if (!c->W[i]) local = PONS_ERR_NOMEM;
        }
        PONS_TRY_ALL(st, p->team->comm, local);
    }
    c->clock = pons_clock();
done:
    return st;
}

/* Visitor: the group's Hessian, its dense weights to the block, its curves. */
static pons_status leave(void *user, int stage)
{
    pons_status st = PONS_OK, local = PONS_OK;
    capture *c = user;
    pass *p = c->p;
    pons_hessian_source source = {.origin = PONS_HESSIAN_WINDOWS, .stream = &p->windows};
    pons_hessian_factor *factor = NULL;
    double damping = 0;
    p->account->seconds.forward +=
        pons_trace_phase(p->account->trace, PONS_PHASE_FORWARD, c->clock);
    if (stage == p->context->config->arch->taps) return PONS_OK;
    const pons_input input = pons_input_of_tap(p->context->config->arch, stage);
    PONS_TRY(st, pons_factor_input(p->context, p->team, p->account, c->open.layer, &input, &source,
                                   NULL, &damping, &factor));
    for (int i = 0; i < p->context->config->arch->linears; i++) {
        pons_block_linear *w = &c->open.linears[i];
        if (!pons_input_has(&input, w)) continue;
        w->damping = damping;
        pons_linear_gather_rows(p->team, w, w->panel, p->offset, c->W[i]);
        if (local == PONS_OK) local = set_dense(c, i, c->W[i]);
    }
    PONS_TRY_ALL(st, p->team->comm, local);
    PONS_TRY(st, measure_tap(c, input.tap, factor));
done:
    pons_hessian_factor_destroy(&factor);
    return st;
}

/* W plus, in each row, PROBE of another row with a random sign: an error of that relative size at every
 * token's output, exactly, and of its scale. */
static void disturb(const pons_block_linear *w, uint32_t seed, const float *W, int64_t *order,
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
static pons_status probe(capture *c, int i)
{
    pons_status st = PONS_OK;
    const pons_block_linear *w = &c->open.linears[i];
    int64_t S = c->p->windows.length, hidden = c->p->windows.hidden, *order = NULL;
    pons_stream window = {.runtime = c->p->windows.runtime,
                          .length = S,
                          .hidden = hidden,
                          .own = {0, 1},
                          .inputs = 1,
                          .h = c->h,
                          .x = c->x};
    float *W = NULL;
    PONS_ALLOC(st, order, w->rows);
    PONS_ALLOC(st, W, w->rows * w->cols);
    disturb(w, (uint32_t)(c->open.layer * c->p->context->config->arch->linears + i), c->W[i], order,
            W);
    PONS_TRY(st, set_dense(c, i, W));
    memcpy(c->h, c->start, (size_t)window_floats(c->p) * sizeof *c->h);
    PONS_TRY(st, pons_walk_block(c->p->context->config->arch, NULL, 1,
                                 &(pons_lane){c->open.block, &window}, NULL));
    PONS_TRY(st, set_dense(c, i, c->W[i]));
    c->gain[i] = distance(S, hidden, c->h, c->end) / (PROBE * PROBE);
done:
    pons_mem_free(W);
    pons_mem_free(order);
    return st;
}

static void capture_end(capture *c)
{
    pons_open_block_destroy(&c->open);
    for (int i = 0; c->W && i < c->p->context->config->arch->linears; i++)
        pons_mem_free(c->W[i]);
    pons_mem_free(c->W);
    pons_mem_free(c->relative);
    pons_mem_free(c->gain);
    pons_mem_free(c->start);
    pons_mem_free(c->end);
    pons_mem_free(c->h);
    pons_mem_free(c->x);
}

static pons_status capture_begin(int64_t layer, capture *c)
{
    pons_status st = PONS_OK;
    const pass *p = c->p;
    int linears = p->context->config->arch->linears;
    PONS_CALLOC(st, c->W, linears);
    PONS_CALLOC(st, c->relative, linears);
    PONS_CALLOC(st, c->gain, linears);
    PONS_TRY(st, pons_open_block_create(p->context, p->team, layer, &c->open));
    PONS_ALLOC(st, c->start, window_floats(p));
    PONS_ALLOC(st, c->end, window_floats(p));
    PONS_ALLOC(st, c->h, window_floats(p));
    PONS_ALLOC(st, c->x, p->windows.length * p->windows.width);
done:
    return st;
}

/* Collective: the first window as it is now, from its rank to all. */
static void share_window(const pass *p, float *out)
{
    size_t bytes = (size_t)window_floats(p) * sizeof *out;
    int owner = p->team->idle;
    if (p->team->rank == owner) memcpy(out, p->windows.h, bytes);
    pons_comm_bcast(p->team->comm, out, bytes, owner);
}

/* Collective: the gain of every linear; they are dealt to the ranks. */
static pons_status probe_linears(capture *c)
{
    pons_status st = PONS_OK, local = PONS_OK;
    const pass *p = c->p;
    double start = pons_clock();
    for (int i = 0; i < p->context->config->arch->linears && local == PONS_OK; i++)
        if (pons_team_turn(p->team, i) == p->team->rank) local = probe(c, i);
    p->account->seconds.forward += pons_trace_phase(p->account->trace, PONS_PHASE_FORWARD, start);
    PONS_TRY_ALL(st, p->team->comm, local);
done:
    return st;
}

/* Collective: one block of the pass. @param items those of its linears @param journal rank 0 */
static pons_status capture_block(pass *p, int64_t layer, pons_journal *journal,
                                 pons_allocate_item *items)
{
    pons_status st = PONS_OK, local = PONS_OK;
    capture c = {.p = p};
    const pons_visitor visitor = {.enter = enter, .leave = leave, .user = &c};
    PONS_TRY_ALL(st, p->team->comm, capture_begin(layer, &c));
    share_window(p, c.start);
    const pons_lane lane = {c.open.block, &p->windows};
    PONS_TRY(st, pons_walk_block(p->context->config->arch, p->team->comm, 1, &lane, &visitor));
    share_window(p, c.end);
    PONS_TRY(st, probe_linears(&c));
    if (p->team->rank == 0)
        local = pons_damping_journal(journal, p->context->config->arch, &p->windows.runtime, layer,
                                     c.open.linears);
    PONS_TRY_ALL(st, p->team->comm, local);
    /* one rank's, else 0 */
    pons_comm_sum_f64(p->team->comm, c.relative[0][0],
                      p->context->config->arch->linears * WIDTHS * POINTS);
    pons_comm_sum_f64(p->team->comm, c.gain, p->context->config->arch->linears);
    for (int i = 0; i < p->context->config->arch->linears; i++) {
        items[i].weights = c.open.linears[i].rows * c.open.linears[i].cols;
        for (int k = 0; k < WIDTHS * POINTS; k++)
            items[i].damage[k / POINTS][k % POINTS] =
                c.gain[i] * c.relative[i][k / POINTS][k % POINTS];
    }
done:
    capture_end(&c);
    return st;
}

/* Sparsities as whole numbers of pruned columns, and bits; those of the recipe stay 0. */
static pons_status choose(const pons_context *context, int rank, const pons_allocate_item *items,
                          pons_allocate_choice *choice)
{
    pons_status st = PONS_OK;
    int64_t n = context->config->layers * context->config->arch->linears;
    bool widths = context->recipe.allocate_bits != 0;
    pons_allocate_grid grid = list_points(&context->recipe);
    double total = 0, least = 1, most = 0;
    double kept =
        (1 - context->recipe.prune.sparsity) * (widths ? context->recipe.weights.bits : 1);
    for (int64_t i = 0; i < n; i++)
        total += kept * (double)items[i].weights;
    PONS_TRY(st, pons_allocate(n, items, &grid, total, choice));
    for (int64_t i = 0; i < n; i++) {
        int64_t rows, cols;
        pons_linear_shape(context->config, (int)(i % context->config->arch->linears), &rows, &cols);
        choice[i].sparsity = (rint(choice[i].sparsity * (double)cols) + 0.25) / (double)cols;
        if (!widths) choice[i].bits = 0;
        least = fmin(least, choice[i].sparsity);
        most = fmax(most, choice[i].sparsity);
    }
    if (rank == 0)
        pons_log(PONS_LOG_INFO, "allocate: linears = %lld, sparsities from %.3f to %.3f",
                 (long long)n, least, most);
done:
    return st;
}

/* A linear in the journal. */
static json_t *describe(const pons_context *context, int64_t i, const pons_allocate_item *item,
                        const pons_allocate_choice *choice)
{
    pons_allocate_grid grid = list_points(&context->recipe);
    char name[128];
    snprintf(name, sizeof name, "model.layers.%lld.%s",
             (long long)(i / context->config->arch->linears),
             context->config->arch->linear[i % context->config->arch->linears].name);
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
static pons_status write_line(const pons_context *context, const pons_rundir *run,
                              const pons_allocate_item *items, const pons_allocate_choice *choice)
{
    json_t *linears = json_array();
    for (int64_t i = 0; i < context->config->layers * context->config->arch->linears; i++)
        json_array_append_new(linears, describe(context, i, &items[i], &choice[i]));
    return pons_journal_append(run->journal,
                               json_pack("{s:s, s:o}", "event", "allocation", "linears", linears));
}

/* Tokens of the pass for each column of the widest linear: curves are compared with each other, and what
 * few tokens do to one they do to all. */
enum { TOKENS_PER_COLUMN = 8 };

static int64_t count_windows(const pons_context *context)
{
    int64_t widest = 0, length = context->recipe.calibration.length;
    for (int g = 0; g < context->config->arch->taps; g++) {
        int64_t d = pons_tap_width(context->config, g);
        widest = d > widest ? d : widest;
    }
    int64_t windows = (TOKENS_PER_COLUMN * widest + length - 1) / length;
    int64_t all = context->recipe.calibration.windows;
    return windows < all ? windows : all;
}

/* Rank that holds window w of `windows`: as the job deals them, or shared out over all ranks. */
static int holder_of(const pons_team *team, bool shared, int64_t windows, int64_t w)
{
    int r = 0;
    while ((shared ? pons_team_share_begin(team, windows, r + 1)
                   : pons_team_window_begin(team, windows, r + 1)) <= w)
        r++;
    return r;
}

/* Collective: the first windows of the job, from the ranks that hold them to those that will in the pass. */
static void deal_again(const pons_team *team, const pons_stream *from, const pons_stream *to)
{
    enum { TAG = 3 };
    size_t bytes = (size_t)(from->length * from->hidden) * sizeof(float);
    for (int64_t w = 0; w < to->windows; w++) {
        int source = holder_of(team, false, from->windows, w);
        int target = holder_of(team, true, to->windows, w);
        const float *have = team->rank == source ? pons_stream_h(from, w - from->own.begin) : NULL;
        float *want = team->rank == target ? pons_stream_h(to, w - to->own.begin) : NULL;
        if (have && want)
            memcpy(want, have, bytes);
        else if (have)
            pons_comm_send(team->comm, have, bytes, target, TAG);
        else if (want)
            pons_comm_recv(team->comm, want, bytes, source, TAG);
    }
}

/* Collective. @param stream the job's own, which stays as it is */
static pons_status begin_pass(const pons_stream *stream, pass *p)
{
    pons_status st = PONS_OK, local;
    int64_t windows = count_windows(p->context);
    pons_recipe *r = &p->recipe;
    *r = p->context->recipe;
    r->scale_from = PONS_SCALE_DENSE;
    r->refit = PONS_REFIT_NONE;
    if (r->prune.mask == PONS_MASK_ADMM || r->prune.mask == PONS_MASK_DUAL_SWAP)
        r->prune.mask = PONS_MASK_OBS;
    r->obr.blocks = 2;
    r->polish.sweeps = 0;
    p->windows = (pons_stream){.runtime = p->context->dense,
                               .windows = windows,
                               .length = stream->length,
                               .own = {pons_team_share_begin(p->team, windows, p->team->rank),
                                       pons_team_share_begin(p->team, windows, p->team->rank + 1)}};
    local = pons_stream_create(p->context->config, true, &p->windows);
    p->offset = pons_mem_alloc(p->team->size + 1, sizeof *p->offset);
    if (!p->offset) local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, p->team->comm, local);
    deal_again(p->team, stream, &p->windows);
done:
    return st;
}

/* Collective: the pass. @param choice [layers, linears] out */
static pons_status run_pass(const pons_context *context, const pons_team *team, pons_rundir *run,
                            pons_account *account, const pons_stream *stream,
                            pons_allocate_choice *choice)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_progress progress = {0};
    pass p = {.context = context, .team = team, .account = account};
    pons_allocate_item *items = NULL;
    int64_t layers = context->config->layers;
    PONS_TRY(st, begin_pass(stream, &p));
    items = pons_mem_calloc(layers * context->config->arch->linears, sizeof *items);
    PONS_TRY_ALL(st, team->comm, items ? PONS_OK : PONS_ERR_NOMEM);
    pons_progress_begin(&progress, "allocate: blocks", layers);
    for (int64_t layer = 0; layer < layers; layer++) {
        PONS_TRY_ALL(st, team->comm, pons_stop_check());
        PONS_TRY(st, capture_block(&p, layer, run->journal,
                                   items + layer * context->config->arch->linears));
        pons_progress_update(&progress, layer + 1);
    }
    pons_progress_end(&progress);
    local = choose(context, team->rank, items, choice);
    if (local == PONS_OK && team->rank == 0) local = write_line(context, run, items, choice);
    PONS_TRY_ALL(st, team->comm, local);
done:
    pons_progress_drop(&progress);
    pons_stream_free(&p.windows);
    pons_mem_free(p.offset);
    pons_mem_free(items);
    return st;
}

/* Rank 0: what an earlier process chose. */
static pons_status recall(const pons_context *context, const pons_rundir *run,
                          pons_allocate_choice *choice, bool *known)
{
    const json_t *line = pons_journal_find(run->journal, "allocation", NULL, 0), *linear;
    const json_t *linears = json_object_get(line, "linears");
    size_t i, n = (size_t)(context->config->layers * context->config->arch->linears);
    *known = line != NULL;
    if (line && json_array_size(linears) != n)
        return pons_fail(PONS_ERR_INPUT,
                         "%s/journal.jsonl: allocation: found %zu linears, allowed: the %zu of "
                         "this model",
                         run->path, json_array_size(linears), n);
    json_array_foreach(linears, i, linear)
    {
        choice[i].sparsity = json_real_value(json_object_get(linear, "sparsity"));
        choice[i].bits = (int)json_integer_value(json_object_get(linear, "bits"));
    }
    return PONS_OK;
}

pons_status pons_allocate_budget(pons_context *context, const pons_team *team, pons_rundir *run,
                                 pons_account *account, const pons_stream *stream)
{
    pons_status st = PONS_OK;
    int64_t n = context->config->layers * context->config->arch->linears;
    pons_allocate_choice *choice = NULL;
    bool known = false;
    if (context->recipe.prune.allocate == PONS_ALLOCATE_UNIFORM) return PONS_OK;
    choice = pons_mem_calloc(n, sizeof *choice);
    PONS_TRY_ALL(st, team->comm, choice ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY_ALL(st, team->comm, team->rank == 0 ? recall(context, run, choice, &known) : PONS_OK);
    pons_comm_bcast(team->comm, &known, sizeof known, 0);
    if (known)
        pons_comm_bcast(team->comm, choice, (size_t)n * sizeof *choice, 0);
    else
        PONS_TRY(st, run_pass(context, team, run, account, stream, choice));
    context->choice = choice;
    choice = NULL;
done:
    pons_mem_free(choice);
    return st;
}
