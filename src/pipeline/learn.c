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
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "eval/load_block.h"
#include "io/file.h"
#include "kern/transformer.h"
#include "pipeline/job.h"
#include "rotate/learn.h"
#include "rotate/spinquant_file.h"

/* Tokens that a window gives at each place where vectors are taken. */
enum { POSITIONS = 48 };

typedef struct pass {
    int64_t S, positions;
    int64_t begin, end; /* windows of this rank */
    float *h;           /* [own windows, S, hidden] residual stream */
    float *x;           /* [S, pons_block_width] */
    pons_learn_vectors stream, heads;
    float *stream_x, *heads_x; /* what those borrow */
    float *r1, *r2;            /* [hidden, hidden], [layers, head_dim, head_dim] */
    double before, after;      /* sums over layers: of what R2 does */
} pass;

static void pass_free(pass *p)
{
    pons_mem_free(p->h);
    pons_mem_free(p->x);
    pons_mem_free(p->stream_x);
    pons_mem_free(p->heads_x);
    pons_mem_free(p->r1);
    pons_mem_free(p->r2);
}

static pons_status pass_create(const pons_job *job, pass *p)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = job->config;
    int64_t windows = job->recipe.rotation.learn_windows, hd = c->head_dim;
    p->S = job->recipe.calibration.length;
    p->positions = p->S < POSITIONS ? p->S : POSITIONS;
    p->begin = pons_job_window_begin(job, windows, job->rank);
    p->end = pons_job_window_begin(job, windows, job->rank + 1);
    p->stream = p->heads =
        (pons_learn_vectors){.windows = windows, .begin = p->begin, .end = p->end};
    p->stream.d = c->hidden;
    p->stream.count = p->positions * 2 * c->layers;
    p->heads.d = hd;
    p->heads.count = p->positions * (c->heads + c->kv_heads);
    int64_t mine = p->end - p->begin;
    PONS_ALLOC(st, p->h, mine * p->S * c->hidden);
    PONS_ALLOC(st, p->x, p->S * pons_block_width(c));
    PONS_ALLOC(st, p->stream_x, mine * p->stream.count * c->hidden);
    PONS_ALLOC(st, p->heads_x, mine * p->heads.count * hd);
    PONS_ALLOC(st, p->r1, c->hidden * c->hidden);
    PONS_ALLOC(st, p->r2, c->layers * hd * hd);
    p->stream.X = p->stream_x;
    p->heads.X = p->heads_x;
    PONS_TRY(st, pons_rotation_r1(job->rotation, p->r1));
    for (int64_t layer = 0; layer < c->layers; layer++)
        PONS_TRY(st, pons_rotation_r2(job->rotation, layer, p->r2 + layer * hd * hd));
done:
    return st;
}

/* pons_embed: embeddings of the dense model. */
static pons_status embed_dense(void *user, const int32_t *ids, int64_t n, float *out)
{
    const pons_job *job = user;
    pons_status st = pons_model_read_embedding(job->model, ids, n, out);
    if (st == PONS_OK) pons_rotation_center(job->rotation, out, n);
    return st;
}

/* The i-th position that is taken at a place: evenly over the window, elsewhere at every place. */
static int64_t position_of(const pass *p, int64_t place, int64_t i)
{
    enum { SHIFTS = 64 };
    return (i * SHIFTS + place * 37 % SHIFTS) * p->S / (SHIFTS * p->positions);
}

/* A window's residual stream h [S, hidden] in front of norm number `place` of the model. Places come
 * in turn, so that a panel holds tokens of all of them. */
static void take_stream(const pons_job *job, pass *p, int64_t window, int64_t place, const float *h)
{
    int64_t hidden = job->config->hidden, places = 2 * job->config->layers;
    float *to = p->stream_x + (window - p->begin) * p->stream.count * hidden;
    for (int64_t i = 0; i < p->positions; i++)
        pons_rmsnorm(1, hidden, h + position_of(p, place, i) * hidden, NULL,
                     (float)job->config->rms_eps, to + (i * places + place) * hidden);
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

/* A window's inputs of o [S, heads head_dim] and values [S, kv_heads head_dim]; the error of each kind
 * counts relative to what it is of. */
static void take_heads(const pons_job *job, pass *p, int64_t window, int64_t layer, const float *o,
                       const float *v)
{
    const pons_model_config *c = job->config;
    int64_t o_dim = c->heads * c->head_dim, v_dim = c->kv_heads * c->head_dim, ld = o_dim + v_dim;
    float *to = p->heads_x + (window - p->begin) * p->heads.count * c->head_dim;
    for (int64_t i = 0; i < p->positions; i++) {
        int64_t s = position_of(p, layer, i);
        memcpy(to + i * ld, o + s * o_dim, (size_t)o_dim * sizeof *to);
        memcpy(to + i * ld + o_dim, v + s * v_dim, (size_t)v_dim * sizeof *to);
    }
    normalize(p->positions, o_dim, ld, to);
    normalize(p->positions, v_dim, ld, to + o_dim);
}

/* Local: this rank's windows through one block of the dense model, vectors taken on the way. */
static pons_status run_block(const pons_job *job, pass *p, int64_t layer, const pons_block *block)
{
    pons_status st = PONS_OK;
    pons_runtime plain = pons_runtime_plain();
    for (int64_t w = p->begin; w < p->end; w++) {
        float *h = p->h + (w - p->begin) * p->S * job->config->hidden;
        for (int stage = 0; stage < PONS_STAGES; stage++) {
            if (stage == 0) take_stream(job, p, w, 2 * layer, h);
            PONS_TRY(st, pons_block_stage(block, &plain, stage, p->S, h, p->x));
            if (stage == 1) take_heads(job, p, w, layer, p->x, pons_block_values(block, p->S));
            if (stage == 2) take_stream(job, p, w, 2 * layer + 1, h);
        }
    }
done:
    return st;
}

/* Collective: a layer's block is run and its R2 learned. */
static pons_status pass_layer(pons_job *job, pass *p, int64_t layer)
{
    pons_status st = PONS_OK;
    pons_block *block = NULL;
    pons_learn_result result;
    int64_t size = job->config->head_dim * job->config->head_dim;
    pons_learn_schedule schedule = pons_learn_schedule_of(job->recipe.rotation.learn_steps);
    PONS_TRY_ALL(st, job->comm, pons_block_create(job->config, layer, job->bf16, &block));
    PONS_TRY(st, pons_eval_load_block(job->comm, job->model, layer, block));
    PONS_TRY_ALL(st, job->comm, run_block(job, p, layer, block));
    PONS_TRY(st,
             pons_learn_orthogonal(job->comm, &p->heads, &schedule, p->r2 + layer * size, &result));
    p->before += result.before;
    p->after += result.after;
done:
    pons_block_destroy(&block);
    return st;
}

/* Rank 0 */
static pons_status write_file(const pons_job *job, const pass *p)
{
    const pons_model_config *c = job->config;
    char *path = pons_mem_printf("%s/R.bin", job->run);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_spinquant_write(path, c->hidden, c->head_dim, c->layers, p->r1, p->r2);
    pons_mem_free(path);
    return st;
}

/* Collective: what an earlier process of this run learned, when it came so far. */
static pons_status recall_rotation(pons_job *job, bool *found)
{
    pons_status st = PONS_OK;
    pons_rotation *rotation = NULL;
    pons_recipe recipe = job->recipe;
    size_t room = sizeof recipe.rotation.file;
    bool fits = (size_t)snprintf(recipe.rotation.file, room, "%s/R.bin", job->run) < room;
    bool there = job->resumed && fits && pons_file_exists(recipe.rotation.file);
    *found = pons_comm_all(job->comm, there);
    if (!*found) return PONS_OK;
    PONS_TRY_ALL(st, job->comm, pons_rotation_create(&recipe, job->config, &rotation));
    pons_rotation_destroy(&job->rotation);
    job->rotation = rotation;
    rotation = NULL;
done:
    pons_rotation_destroy(&rotation);
    return st;
}

/* Collective. */
static pons_status learn(pons_job *job, const int32_t *ids)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_progress progress = {0};
    pass p = {0};
    pons_learn_result result;
    int64_t layers = job->config->layers;
    double start = pons_clock();
    pons_learn_schedule schedule = pons_learn_schedule_of(job->recipe.rotation.learn_steps);
    PONS_TRY_ALL(st, job->comm, pass_create(job, &p));
    PONS_TRY(st, pons_job_deal_windows(job, ids, p.stream.windows, 0, embed_dense, p.h));
    pons_progress_begin(&progress, "learn: blocks", layers);
    for (int64_t layer = 0; layer < layers; layer++) {
        PONS_TRY(st, pass_layer(job, &p, layer));
        pons_progress_update(&progress, layer + 1);
    }
    pons_progress_end(&progress);
    PONS_TRY(st, pons_learn_orthogonal(job->comm, &p.stream, &schedule, p.r1, &result));
    PONS_TRY_ALL(st, job->comm, pons_rotation_replace(job->rotation, p.r1, p.r2));
    if (job->rank == 0) local = write_file(job, &p);
    PONS_TRY_ALL(st, job->comm, local);
    job->seconds.learn = pons_trace_phase(job->trace, PONS_PHASE_LEARN, start);
    if (job->rank == 0)
        pons_log(PONS_LOG_INFO,
                 "learn: mean squared range of the residual stream = %.2f -> %.2f, inside heads = "
                 "%.2f -> %.2f, deviation from orthogonal = %.1e, %.1f s",
                 result.before, result.after, p.before / (double)layers, p.after / (double)layers,
                 result.deviation, job->seconds.learn);
done:
    pons_progress_drop(&progress);
    pass_free(&p);
    return st;
}

pons_status pons_job_learn_rotation(pons_job *job, const int32_t *ids)
{
    bool found = false;
    pons_status st = recall_rotation(job, &found);
    return st == PONS_OK && !found ? learn(job, ids) : st;
}
