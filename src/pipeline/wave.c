/*
 * A wave of blocks, compressed side by side by teams of ranks.
 *
 *   dense pass   windows stream team 0 -> team 1 -> ... through the dense blocks; every team adds up the
 *                Hessians of its blocks' four group inputs as they pass
 *   solve        each team factors and compresses its own blocks; rank 0 commits them in order
 *   second pass  the windows stream again, through the compressed blocks, back to team 0
 *
 * Rank r of every team handles the same windows, so a window goes from rank r of one team to rank r of
 * the next. Team 0 keeps the hidden states between waves. A rank's own failure does not stop its sends
 * and receives; it is agreed on after the pass. What a block becomes depends on the wave it is in, but
 * not on the teams: sums of windows are exact, and the scales they need are guessed from window 0 alone
 * (hessian/accumulate.h), or, where that guess was bad, from all windows in one more dense pass.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "pipeline/commit.h"
#include "pipeline/counts.h"
#include "pipeline/linear.h"

enum { BUFFERS = 3 }; /* one computed, one arriving, one leaving */
enum { TAG_FORWARD = 5, TAG_BACK = 6 };

/* One of this team's blocks. */
typedef struct own_block {
    int64_t layer;
    pons_block *block;
    pons_hessian *hessian[PONS_GROUPS];
    pons_linear_work works[PONS_LINEARS];
    float *norms;   /* [2 hidden] */
    double seconds; /* of its solve */
} own_block;

typedef struct wave {
    pons_job *job;
    pons_job team;    /* the job as this rank's team sees it: comm, rank and size are the team's */
    int index, teams; /* of this team; with blocks in this wave */
    int64_t first, blocks;       /* of the wave */
    int64_t windows, begin, end; /* of all; of this rank */
    own_block *own;              /* [count] */
    int64_t count;
    float *buffer[BUFFERS];   /* [length, hidden] */
    pons_transfer *returning; /* team 0: [end - begin] */
} wave;

/* What a pass is for. */
typedef enum pass_kind {
    OBSERVE_AND_ADD, /* dense, scales guessed */
    ADD,             /* dense, scales agreed on */
    THROUGH          /* compressed */
} pass_kind;

pons_status pons_job_make_teams(pons_job *job)
{
    int64_t wanted = job->recipe.layout.teams, each = job->recipe.layout.ranks_per_team;
    int64_t size = job->size, most = job->recipe.wave;
    if (most > job->config->layers) most = job->config->layers;
    if (!wanted && each && size % each == 0) wanted = size / each;
    for (int64_t t = 1; !wanted && !each && t <= size && t <= most; t++)
        if (size % t == 0) job->teams = (int)t;
    if (wanted || each) job->teams = (int)wanted;
    if (job->teams < 1 || size % job->teams || (each && job->teams * each != size))
        return pons_fail(PONS_ERR_CONFIG,
                         "layout: found teams %lld, ranks_per_team %lld; allowed: numbers whose "
                         "product is the %lld ranks of this job, or 0",
                         (long long)job->recipe.layout.teams, (long long)each, (long long)size);
    if (job->teams > most)
        return pons_fail(PONS_ERR_CONFIG,
                         "layout.teams: found %d, allowed: up to the %lld blocks of a wave",
                         job->teams, (long long)most);
    job->team_size = job->size / job->teams;
    return pons_comm_split(job->comm, job->rank / job->team_size, &job->team);
}

static float *buffer_of(const wave *v, int64_t i) { return v->buffer[i % BUFFERS]; }

static int64_t floats(const wave *v)
{
    return v->job->recipe.calibration.length * v->job->config->hidden;
}

/* ---- Passes */

/* Window number `window` through this team's blocks, h in place. */
static pons_status run_window(wave *v, int64_t window, pass_kind kind, float *h)
{
    pons_job *team = &v->team;
    pons_status st = pons_stop_check();
    int64_t S = team->recipe.calibration.length;
    bool first = window == v->begin;
    for (int64_t k = 0; k < v->count; k++) {
        pons_trace_set_block(team->trace, v->own[k].layer);
        for (int stage = 0; stage < PONS_STAGES; stage++) {
            double start = pons_clock();
            if (st == PONS_OK)
                st = pons_block_stage(v->own[k].block, &team->calibration, stage, S, h, team->x);
            team->seconds.forward += pons_trace_phase(team->trace, PONS_PHASE_FORWARD, start);
            start = pons_clock();
            if (kind == THROUGH || stage == PONS_GROUPS) continue;
            pons_hessian *sum = v->own[k].hessian[stage];
            if (st == PONS_OK && kind == OBSERVE_AND_ADD)
                st = pons_hessian_observe(sum, window, S, team->x);
            /* collective: also after a failure */
            if (first && kind == OBSERVE_AND_ADD) pons_hessian_estimate_scales(sum, team->comm, 0);
            if (st == PONS_OK) st = pons_hessian_add(sum, S, team->x);
            pons_hessian_release_work(sum); /* one of many */
            team->seconds.hessian += pons_trace_phase(team->trace, PONS_PHASE_HESSIAN, start);
        }
    }
    return st;
}

/* A rank without windows takes part in the guesses of its team. */
static void guess_alone(wave *v)
{
    for (int64_t k = 0; k < v->count; k++)
        for (int g = 0; g < PONS_GROUPS; g++)
            pons_hessian_estimate_scales(v->own[k].hessian[g], v->team.comm, 0);
}

/* All windows of this rank through this team's blocks, from the team before and to the one after. */
static pons_status run_pass(wave *v, pass_kind kind)
{
    pons_status st = PONS_OK;
    pons_comm *comm = v->job->comm;
    int each = v->job->team_size, before = v->job->rank - each, after = v->job->rank + each;
    bool last = v->index == v->teams - 1;
    int64_t n = v->end - v->begin, size = floats(v);
    pons_transfer in[BUFFERS] = {{0}}, out[BUFFERS] = {{0}};
    if (n == 0 && kind == OBSERVE_AND_ADD) guess_alone(v);
    if (n > 0 && v->index > 0)
        pons_comm_start_recv(comm, buffer_of(v, 0), size, before, TAG_FORWARD, &in[0]);
    for (int64_t i = 0; i < n; i++) {
        float *h = buffer_of(v, i), *kept = v->index == 0 ? v->job->h + i * size : NULL;
        if (v->index > 0) {
            if (i + 1 < n) { /* the next one arrives while this one is computed */
                pons_comm_wait(&out[(i + 1) % BUFFERS]);
                pons_comm_start_recv(comm, buffer_of(v, i + 1), size, before, TAG_FORWARD,
                                     &in[(i + 1) % BUFFERS]);
            }
            pons_comm_wait(&in[i % BUFFERS]);
        } else {
            pons_comm_wait(&out[i % BUFFERS]);
            memcpy(h, kept, (size_t)size * sizeof *h);
            if (kind == THROUGH && !last)
                pons_comm_start_recv(comm, kept, size, v->job->rank + (v->teams - 1) * each,
                                     TAG_BACK, &v->returning[i]);
        }
        pons_status window = run_window(v, v->begin + i, kind, h);
        if (st == PONS_OK) st = window;
        if (!last)
            pons_comm_start_send(comm, h, size, after, TAG_FORWARD, &out[i % BUFFERS]);
        else if (kind == THROUGH && v->index > 0)
            pons_comm_start_send(comm, h, size, v->job->rank - v->index * each, TAG_BACK,
                                 &out[i % BUFFERS]);
        else if (kind == THROUGH)
            memcpy(kept, h, (size_t)size * sizeof *h);
    }
    for (int b = 0; b < BUFFERS; b++)
        pons_comm_wait(&out[b]);
    for (int64_t i = 0; v->index == 0 && kind == THROUGH && !last && i < n; i++)
        pons_comm_wait(&v->returning[i]);
    return st;
}

/* Collective on the job: every block's Hessians are summed on this rank. */
static pons_status dense_pass(wave *v)
{
    pons_status st = PONS_OK, team = PONS_OK;
    bool fits = true;
    PONS_TRY_ALL(st, v->job->comm, run_pass(v, OBSERVE_AND_ADD));
    for (int64_t k = 0; k < v->count; k++)
        for (int g = 0; g < PONS_GROUPS; g++)
            fits = pons_hessian_fits(v->own[k].hessian[g], v->team.comm) && fits;
    if (pons_comm_all(v->job->comm, fits)) return PONS_OK;
    if (v->job->rank == 0)
        pons_log(PONS_LOG_INFO,
                 "blocks %lld to %lld: window 0 is unlike the others; one more dense pass",
                 (long long)v->first, (long long)(v->first + v->blocks - 1));
    for (int64_t k = 0; k < v->count && team == PONS_OK; k++)
        for (int g = 0; g < PONS_GROUPS && team == PONS_OK; g++)
            team = pons_hessian_agree(v->own[k].hessian[g], v->team.comm);
    PONS_TRY_ALL(st, v->job->comm, team);
    PONS_TRY_ALL(st, v->job->comm, run_pass(v, ADD));
done:
    return st;
}

/* ---- Solve */

/* Collective on the team. The Hessian is consumed. */
static pons_status factor_group(pons_job *team, own_block *b, pons_group group,
                                pons_hessian_file *file, pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    pons_hessian *h = b->hessian[group];
    pons_hessian_factor *factor = NULL;
    const pons_input input = {group, -1};
    double start = pons_clock();
    int64_t d = pons_group_dim(team->config, group), info = 0;
    bool harmonic = team->recipe.compat == PONS_COMPAT_FAITHFUL &&
                    team->recipe.rotation.kind == PONS_ROTATION_QUAROT;
    PONS_TRY(st, pons_hessian_reduce(h, team->comm));
    PONS_TRY(st, pons_hessian_factor_begin(team->comm, d, &factor));
    pons_hessian_factor_take(factor, 0, d, pons_hessian_matrix(h), d);
    team->seconds.hessian += pons_trace_phase(team->trace, PONS_PHASE_HESSIAN, start);
    if (file) PONS_TRY(st, pons_job_keep_hessian(team, file, &input, h));
    PONS_TRY_ALL(st, team->comm, pons_hessian_take_rows(h, d, 0)); /* room for the factor */
    start = pons_clock();
    PONS_TRY(st, pons_hessian_factor_finish(factor, pons_hessian_norm(h, harmonic),
                                            team->recipe.obr.damping, &info));
    PONS_TRY_ALL(
        st, team->comm,
        pons_job_check_factor(team, b->layer, &input, team->recipe.obr.damping, info, factor));
    team->seconds.factor += pons_trace_phase(team->trace, PONS_PHASE_FACTOR, start);
    *out = factor;
    factor = NULL;
done:
    pons_hessian_factor_destroy(&factor);
    return st;
}

/* Collective on the team: the block's linears from its Hessians; it then holds compressed values. */
static pons_status solve_block(pons_job *team, own_block *b)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_hessian_factor *factor = NULL;
    pons_hessian_file *file = NULL;
    double start = pons_clock();
    pons_trace_set_block(team->trace, b->layer);
    if (team->recipe.keep_hessians)
        PONS_TRY(st, pons_job_create_hessian_file(team, b->layer, &file));
    for (int g = 0; g < PONS_GROUPS; g++) {
        const pons_input input = {(pons_group)g, -1};
        PONS_TRY_ALL(st, team->comm, pons_stop_check());
        PONS_TRY(st, factor_group(team, b, (pons_group)g, file, &factor));
        PONS_TRY(st, pons_linear_works_read(team, b->layer, (pons_group)g, b->works));
        if (g + 1 < PONS_GROUPS) pons_linear_works_ahead(team, b->layer, (pons_group)(g + 1));
        PONS_TRY(st, pons_linear_works_compress(team, b->layer, &input, factor, b->works));
        for (int i = 0; i < PONS_LINEARS && local == PONS_OK; i++)
            if (pons_linear_group((pons_linear)i) == (pons_group)g)
                local = pons_block_set_linear(b->block, (pons_linear)i, b->works[i].all.value,
                                              b->works[i].has_bias ? b->works[i].bias : NULL);
        PONS_TRY_ALL(st, team->comm, local);
        pons_linear_works_keep(team, (pons_group)g, b->works);
        pons_hessian_factor_destroy(&factor);
        pons_hessian_destroy(&b->hessian[g]);
    }
    PONS_TRY(st, pons_job_commit_hessian_file(team, &file));
    b->seconds = pons_clock() - start;
done:
    pons_hessian_file_abandon(&file);
    pons_hessian_factor_destroy(&factor);
    return st;
}

/* ---- Commit */

/* Collective on the job: one block from the first rank of its team to rank 0, which commits it, unless an
 * earlier process has. */
static pons_status hand_over_block(wave *v, int64_t layer, int owner, own_block *mine)
{
    enum { TAG_SECONDS = 4 };
    pons_status st = PONS_OK, local = PONS_OK;
    pons_job *job = v->job;
    int root = owner * job->team_size;
    bool far = root != 0 && job->rank == 0;
    pons_linear_work works[PONS_LINEARS] = {0}, *w = mine ? mine->works : works;
    float *norms = NULL;
    double seconds = mine ? mine->seconds : 0;
    if (far) {
        local = pons_linear_works_create(job, layer, works);
        if (local == PONS_OK) local = pons_linear_works_reserve(job, works);
        norms = pons_mem_alloc(2 * job->config->hidden, sizeof *norms);
        if (local == PONS_OK && !norms) local = PONS_ERR_NOMEM;
        if (local == PONS_OK) local = pons_job_read_norms(job, layer, norms);
    }
    PONS_TRY_ALL(st, job->comm, local);
    if (far) {
        pons_linear_works_receive(job->comm, root, works);
        pons_comm_recv(job->comm, &seconds, sizeof seconds, root, TAG_SECONDS);
    } else if (root != 0 && job->rank == root) {
        pons_linear_works_send(job, job->comm, 0, mine->works);
        pons_comm_send(job->comm, &seconds, sizeof seconds, 0, TAG_SECONDS);
    }
    if (layer >= job->next)
        PONS_TRY(st, pons_job_hand_over(job, layer, w, mine ? &mine->norms : &norms, seconds));
done:
    pons_linear_works_destroy(works);
    pons_mem_free(norms);
    return st;
}

/* ---- The wave */

/* First of the wave's blocks that team t has, counted from the wave's first. */
static int64_t block_begin(const wave *v, int t)
{
    return pons_share_begin(v->blocks, v->teams, t);
}

/* Collective on the team: its blocks with dense linears, and empty sums. */
static pons_status open_block(pons_job *team, own_block *b)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t hidden = team->config->hidden;
    b->norms = pons_mem_alloc(2 * hidden, sizeof *b->norms);
    if (!b->norms) local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_job_read_norms(team, b->layer, b->norms);
    if (local == PONS_OK) local = pons_linear_works_create(team, b->layer, b->works);
    if (local == PONS_OK) local = pons_block_create(team->config, b->layer, team->bf16, &b->block);
    if (local == PONS_OK) local = pons_block_set_norms(b->block, b->norms, b->norms + hidden);
    for (int g = 0; g < PONS_GROUPS && local == PONS_OK; g++)
        local = pons_hessian_create(pons_group_dim(team->config, (pons_group)g),
                                    team->recipe.calibration.windows, team->bf16, &b->hessian[g]);
    PONS_TRY_ALL(st, team->comm, local);
    PONS_TRY(st, pons_linear_works_dense(team, b->layer, b->works, b->block));
done:
    return st;
}

static void close_wave(wave *v)
{
    for (int64_t k = 0; v->own && k < v->count; k++) {
        own_block *b = &v->own[k];
        for (int g = 0; g < PONS_GROUPS; g++)
            pons_hessian_destroy(&b->hessian[g]);
        pons_block_destroy(&b->block);
        pons_linear_works_destroy(b->works);
        pons_mem_free(b->norms);
    }
    for (int b = 0; b < BUFFERS; b++)
        pons_mem_free(v->buffer[b]);
    pons_mem_free(v->returning);
    pons_mem_free(v->own);
}

/* The dense linears of a block that this team opens next. */
static void read_block_ahead(wave *v, int64_t layer)
{
    for (int g = 0; g < PONS_GROUPS; g++)
        pons_linear_works_ahead(&v->team, layer, (pons_group)g);
}

/* Those of its first block in the wave after this one. */
static void read_wave_ahead(wave *v)
{
    int64_t first = v->first + v->blocks, left = v->job->config->layers - first;
    int64_t blocks = left < v->job->recipe.wave ? left : v->job->recipe.wave;
    int teams = blocks < v->job->teams ? (int)blocks : v->job->teams;
    if (v->index < teams) read_block_ahead(v, first + pons_share_begin(blocks, teams, v->index));
}

static pons_status open_wave(wave *v)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t begin = v->index < v->teams ? block_begin(v, v->index) : 0;
    v->count = v->index < v->teams ? block_begin(v, v->index + 1) - begin : 0;
    v->own = pons_mem_calloc(v->count, sizeof *v->own);
    v->returning = pons_mem_calloc(v->end - v->begin, sizeof *v->returning);
    if (!v->own || !v->returning) local = PONS_ERR_NOMEM;
    for (int b = 0; b < BUFFERS && local == PONS_OK; b++)
        if (!(v->buffer[b] = pons_mem_alloc(floats(v), sizeof *v->buffer[b])))
            local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, v->job->comm, local);
    for (int64_t k = 0; k < v->count && local == PONS_OK; k++) {
        v->own[k].layer = v->first + begin + k;
        if (k + 1 < v->count) read_block_ahead(v, v->own[k].layer + 1);
        local = open_block(&v->team, &v->own[k]);
    }
    PONS_TRY_ALL(st, v->job->comm, local);
done:
    return st;
}

static void add_seconds(pons_phase_seconds *to, const pons_phase_seconds *s)
{
    to->read += s->read;
    to->forward += s->forward;
    to->hessian += s->hessian;
    to->keep += s->keep;
    to->factor += s->factor;
    to->solve += s->solve;
    to->gather += s->gather;
    to->pack += s->pack;
}

pons_status pons_job_compress_wave(pons_job *job, int64_t first)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t left = job->config->layers - first;
    wave v = {.job = job, .team = *job, .first = first, .windows = job->recipe.calibration.windows};
    v.blocks = left < job->recipe.wave ? left : job->recipe.wave;
    v.teams = v.blocks < job->teams ? (int)v.blocks : job->teams; /* the last wave may be small */
    v.index = job->rank / job->team_size;
    v.team.seconds = (pons_phase_seconds){0};
    v.team.metrics = (pons_row_metrics){0};
    v.team.comm = job->team;
    v.team.rank = pons_comm_rank(job->team);
    v.team.size = job->team_size;
    v.begin = pons_share_begin(v.windows, job->team_size, v.team.rank);
    v.end = pons_share_begin(v.windows, job->team_size, v.team.rank + 1);
    if (v.index >= v.teams) v.end = v.begin; /* this team has no block */
    PONS_TRY(st, open_wave(&v));
    PONS_TRY(st, dense_pass(&v));
    for (int64_t k = 0; k < v.count && local == PONS_OK; k++)
        local = solve_block(&v.team, &v.own[k]);
    PONS_TRY_ALL(st, job->comm, local);
    for (int64_t i = 0, owner = 0; i < v.blocks; i++) {
        while (i >= block_begin(&v, (int)owner + 1))
            owner++;
        PONS_TRY(st,
                 hand_over_block(&v, first + i, (int)owner,
                                 owner == v.index ? &v.own[i - block_begin(&v, v.index)] : NULL));
    }
    read_wave_ahead(&v);
    PONS_TRY_ALL(st, job->comm, run_pass(&v, THROUGH));
    if (job->weights_only) PONS_TRY(st, pons_job_settle(job)); /* its shards are read now */
    for (int64_t i = 0; job->weights_only && i < v.blocks; i++)
        PONS_TRY(st, pons_job_replay_block(job, first + i, false));
done:
    pons_counts_add_work(&job->metrics, &v.team.metrics);
    add_seconds(&job->seconds, &v.team.seconds);
    close_wave(&v);
    return st;
}
