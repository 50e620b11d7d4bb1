/*
 * Rotations learned from the dense model: one forward pass over a few calibration windows that keeps
 * sampled vectors, those of the residual stream to learn R1 from at the end, those inside the heads of
 * a layer to learn its R2 from at once. How a matrix is learned is known to rotate/learn.h.
 *
 *   R1   inputs of q, k, v and of up, gate in every layer: the residual stream, normed without gains
 *   R2   values, and inputs of o, head by head, of one layer
 *
 * The vectors are those that the rotated model quantizes, but for the rotation.
 */
#include "pipeline/learn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "calib/walk.h"
#include "eval/load_block.h"
#include "io/file.h"
#include "kern/transformer.h"
#include "pipeline/deal.h"
#include "rotate/learn.h"
#include "rotate/spinquant_file.h"

/* Tokens that a window gives at each place where vectors are taken. */
enum { POSITIONS = 48 };

typedef struct pass {
    const pons_context *context;
    int64_t layer; /* that is being run */
    const pons_block *block;
    int64_t positions;
    pons_stream windows; /* of the dense model */
    pons_learn_vectors stream, heads;
    float *stream_x, *heads_x; /* what those borrow */
    float *r1, *r2;            /* [hidden, hidden], [layers, head_dim, head_dim] */
    double before, after;      /* sums over layers: of what R2 does */
} pass;

static void pass_free(pass *p)
{
    pons_stream_free(&p->windows);
    pons_mem_free(p->stream_x);
    pons_mem_free(p->heads_x);
    pons_mem_free(p->r1);
    pons_mem_free(p->r2);
}

/* Places of a block where its norms read the residual stream. */
static int64_t count_norms(const pons_arch *arch)
{
    int64_t n = 0;
    for (int t = 0; t < arch->taps; t++)
        n += arch->tap[t].kind == PONS_INPUT_STREAM;
    return n;
}

static pons_status pass_create(const pons_context *context, const pons_team *team, pass *p)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = context->config;
    int64_t windows = context->recipe.rotation.learn_windows, hd = c->head_dim;
    int64_t S = context->recipe.calibration.length;
    pons_window_range own = {pons_team_window_begin(team, windows, team->rank),
                             pons_team_window_begin(team, windows, team->rank + 1)};
    p->context = context;
    p->positions = S < POSITIONS ? S : POSITIONS;
    p->windows =
        (pons_stream){.runtime = pons_runtime_plain(), .windows = windows, .length = S, .own = own};
    p->stream = p->heads =
        (pons_learn_vectors){.windows = windows, .begin = own.begin, .end = own.end};
    p->stream.d = c->hidden;
    p->stream.count = p->positions * count_norms(c->arch) * c->layers;
    p->heads.d = hd;
    p->heads.count = p->positions * (c->heads + c->kv_heads);
    int64_t mine = own.end - own.begin;
    PONS_TRY(st, pons_stream_create(c, false, &p->windows));
    PONS_ALLOC(st, p->stream_x, mine * p->stream.count * c->hidden);
    PONS_ALLOC(st, p->heads_x, mine * p->heads.count * hd);
    PONS_ALLOC(st, p->r1, c->hidden * c->hidden);
    PONS_ALLOC(st, p->r2, c->layers * hd * hd);
    p->stream.X = p->stream_x;
    p->heads.X = p->heads_x;
    PONS_TRY(st, pons_rotation_r1(context->rotation, p->r1));
    for (int64_t layer = 0; layer < c->layers; layer++)
        PONS_TRY(st, pons_rotation_r2(context->rotation, layer, p->r2 + layer * hd * hd));
done:
    return st;
}

/* pons_embed: embeddings of the dense model. */
static pons_status embed_dense(void *user, const int32_t *ids, int64_t n, float *out)
{
    const pons_context *context = user;
    pons_status st = pons_model_read_embedding(context->model, ids, n, out);
    if (st == PONS_OK) pons_rotation_center(context->rotation, out, n);
    return st;
}

/* The i-th position that is taken at a place: evenly over the window, elsewhere at every place. */
static int64_t position_of(const pass *p, int64_t place, int64_t i)
{
    enum { SHIFTS = 64 };
    return (i * SHIFTS + place * 37 % SHIFTS) * p->windows.length / (SHIFTS * p->positions);
}

/* An own window's residual stream in front of norm number `place` of the model. Places come in turn, so
 * that a panel holds tokens of all of them. */
static void take_stream(pass *p, int64_t local, int64_t place)
{
    const pons_model_config *c = p->context->config;
    const float *h = pons_stream_h(&p->windows, local);
    int64_t hidden = c->hidden, places = count_norms(c->arch) * c->layers;
    float *to = p->stream_x + local * p->stream.count * hidden;
    for (int64_t i = 0; i < p->positions; i++)
        pons_rmsnorm(1, hidden, h + position_of(p, place, i) * hidden, NULL, (float)c->rms_eps,
                     to + (i * places + place) * hidden);
}

/* Bring vectors x [rows, n], rows `ld` apart, to a mean square of one an entry. */
static void normalize(int64_t rows, int64_t n, int64_t ld, float *x)
{
    double sum = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            sum += (double)x[i * ld + j] * (double)x[i * ld + j];
    float scale = sum > 0 ? (float)(1 / sqrt(sum / (double)(rows * n))) : 1;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            x[i * ld + j] *= scale;
}

/* An own window's inputs of o [S, heads head_dim] and values [S, kv_heads head_dim]; the error of each
 * kind counts relative to what it is of. */
static void take_heads(pass *p, int64_t local)
{
    const pons_model_config *c = p->context->config;
    const float *o = pons_stream_x(&p->windows, local);
    const float *v = pons_block_values(p->block, p->windows.length);
    int64_t o_dim = c->heads * c->head_dim, v_dim = c->kv_heads * c->head_dim, ld = o_dim + v_dim;
    float *to = p->heads_x + local * p->heads.count * c->head_dim;
    for (int64_t i = 0; i < p->positions; i++) {
        int64_t s = position_of(p, p->layer, i);
        memcpy(to + i * ld, o + s * o_dim, (size_t)o_dim * sizeof *to);
        memcpy(to + i * ld + o_dim, v + s * v_dim, (size_t)v_dim * sizeof *to);
    }
    normalize(p->positions, o_dim, ld, to);
    normalize(p->positions, v_dim, ld, to + o_dim);
}

/* pons_visitor: a stage that ends with a norm leaves the residual stream as the norm reads it. */
static pons_status take_vectors(void *user, int stage, int64_t local)
{
    pass *p = user;
    const pons_arch *arch = p->context->config->arch;
    if (stage == arch->taps) return PONS_OK;
    int64_t place = p->layer * count_norms(arch);
    for (int t = 0; t < stage; t++)
        place += arch->tap[t].kind == PONS_INPUT_STREAM;
    if (arch->tap[stage].kind == PONS_INPUT_STREAM) take_stream(p, local, place);
    if (arch->tap[stage].kind == PONS_INPUT_HEADS) take_heads(p, local);
    return PONS_OK;
}

/* Collective: a layer's block is run and its R2 learned. */
static pons_status pass_layer(const pons_team *team, pass *p, int64_t layer)
{
    pons_status st = PONS_OK;
    const pons_context *context = p->context;
    const pons_visitor visitor = {.window = take_vectors, .user = p};
    pons_block *block = NULL;
    pons_learn_result result;
    int64_t size = context->config->head_dim * context->config->head_dim;
    pons_learn_schedule schedule = pons_learn_schedule_of(context->recipe.rotation.learn_steps);
    PONS_TRY_ALL(st, team->comm, pons_block_create(context->config, layer, context->bf16, &block));
    PONS_TRY(st, pons_eval_load_block(team->comm, context->model, layer, block));
    const pons_lane lane = {block, &p->windows};
    p->layer = layer;
    p->block = block;
    PONS_TRY_ALL(st, team->comm, pons_walk_block(context->config->arch, NULL, 1, &lane, &visitor));
    PONS_TRY(
        st, pons_learn_orthogonal(team->comm, &p->heads, &schedule, p->r2 + layer * size, &result));
    p->before += result.before;
    p->after += result.after;
done:
    pons_block_destroy(&block);
    return st;
}

/* Rank 0 */
static pons_status write_file(const pons_rundir *run, const pass *p)
{
    const pons_model_config *c = p->context->config;
    char *path = pons_mem_printf("%s/R.bin", run->path);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_spinquant_write(path, c->hidden, c->head_dim, c->layers, p->r1, p->r2);
    pons_mem_free(path);
    return st;
}

/* Collective: what an earlier process of this run learned, when it came so far. */
static pons_status recall_rotation(pons_context *context, const pons_team *team,
                                   const pons_rundir *run, bool *found)
{
    pons_status st = PONS_OK;
    pons_rotation *rotation = NULL;
    pons_recipe recipe = context->recipe;
    size_t room = sizeof recipe.rotation.file;
    bool fits = (size_t)snprintf(recipe.rotation.file, room, "%s/R.bin", run->path) < room;
    bool there = run->resumed && fits && pons_file_exists(recipe.rotation.file);
    *found = pons_comm_all(team->comm, there);
    if (!*found) return PONS_OK;
    PONS_TRY_ALL(st, team->comm, pons_rotation_create(&recipe, context->config, &rotation));
    pons_rotation_destroy(&context->rotation);
    context->rotation = rotation;
    rotation = NULL;
done:
    pons_rotation_destroy(&rotation);
    return st;
}

/* Collective. */
static pons_status learn(pons_context *context, const pons_team *team, const pons_rundir *run,
                         pons_account *account, const int32_t *ids)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_progress progress = {0};
    pass p = {0};
    pons_learn_result result;
    int64_t layers = context->config->layers;
    double start = pons_clock();
    pons_learn_schedule schedule = pons_learn_schedule_of(context->recipe.rotation.learn_steps);
    PONS_TRY_ALL(st, team->comm, pass_create(context, team, &p));
    PONS_TRY(st, pons_deal_windows(team, ids, 0, embed_dense, context, &p.windows));
    pons_progress_begin(&progress, "learn: blocks", layers);
    for (int64_t layer = 0; layer < layers; layer++) {
        PONS_TRY(st, pass_layer(team, &p, layer));
        pons_progress_update(&progress, layer + 1);
    }
    pons_progress_end(&progress);
    PONS_TRY(st, pons_learn_orthogonal(team->comm, &p.stream, &schedule, p.r1, &result));
    PONS_TRY_ALL(st, team->comm, pons_rotation_replace(context->rotation, p.r1, p.r2));
    if (team->rank == 0) local = write_file(run, &p);
    PONS_TRY_ALL(st, team->comm, local);
    account->seconds.learn = pons_trace_phase(account->trace, PONS_PHASE_LEARN, start);
    if (team->rank == 0)
        pons_log(PONS_LOG_INFO,
                 "learn: mean squared range of the residual stream = %.2f -> %.2f, inside heads = "
                 "%.2f -> %.2f, deviation from orthogonal = %.1e, %.1f s",
                 result.before, result.after, p.before / (double)layers, p.after / (double)layers,
                 result.deviation, account->seconds.learn);
done:
    pons_progress_drop(&progress);
    pass_free(&p);
    return st;
}

pons_status pons_learn_rotation(pons_context *context, const pons_team *team,
                                const pons_rundir *run, pons_account *account, const int32_t *ids)
{
    bool found = false;
    pons_status st = recall_rotation(context, team, run, &found);
    return st == PONS_OK && !found ? learn(context, team, run, account, ids) : st;
}
