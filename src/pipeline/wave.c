/*
 * A wave of blocks, compressed side by side by teams of ranks.
 *
 *   dense pass   windows stream team 0 -> team 1 -> ... through the dense blocks; every team adds up the
 *                Hessians of its blocks' inputs as they pass
 *   solve        each team factors and compresses its own blocks; rank 0 commits them in order
 *   second pass  the windows stream again, through the compressed blocks, back to team 0
 *
 * Rank r of every team handles the same windows, so a window goes from rank r of one team to rank r of
 * the next. Team 0 keeps the hidden states between waves. A rank's own failure does not stop its sends
 * and receives; it is agreed on after the pass. What a block becomes depends on the wave it is in, but
 * not on the teams: sums of windows are exact, and the scales they need are estimated from window 0 alone
 * (hessian/accumulate.h), or, where that estimate was bad, from all windows in one more dense pass.
 */
#include "pipeline/wave.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "pipeline/block.h"
#include "pipeline/commit.h"
#include "pipeline/replay.h"

enum { BUFFERS = 3 }; /* one computed, one arriving, one leaving */
enum { TAG_SECONDS = 4, TAG_FORWARD = 5, TAG_BACK = 6 };

/* One of this team's blocks. */
typedef struct own_block {
    pons_open_block open;
    pons_block_work work; /* its sums */
    bool *guessed;        /* [linears] */
} own_block;

/* What a pass is for. */
typedef enum pass_kind {
    OBSERVE_AND_ADD, /* dense, scales guessed */
    ADD,             /* dense, scales agreed on */
    THROUGH          /* compressed */
} pass_kind;

typedef struct wave {
    const pons_context *context;
    const pons_team *all, *team; /* this rank's */
    pons_account *account;
    pons_stream *stream;   /* whose windows the first team holds */
    int index, teams;      /* of this team; with blocks in this wave */
    int64_t first, blocks; /* of the wave */
    int64_t begin, end;    /* windows that this rank handles */
    own_block *own;        /* [count] */
    int64_t count;
    float *buffer[BUFFERS];   /* [length, hidden] */
    pons_transfer *returning; /* first team: [end - begin] */
    /* The window on its way. */
    pass_kind kind;
    own_block *block;
    pons_stream window;
    double start;
} wave;

static float *buffer_of(const wave *v, int64_t i) { return v->buffer[i % BUFFERS]; }

static int64_t floats(const wave *v) { return v->stream->length * v->stream->hidden; }

/* The next input of a tap that has a Hessian. */
static bool next_input(const wave *v, int tap, pons_input *input)
{
    return pons_input_next(v->context->config->arch, &v->context->inputs, tap, input);
}

/* ---- Passes */

static pons_status enter(void *user, int stage)
{
    wave *v = user;
    (void)stage;
    v->start = pons_clock();
    return PONS_OK;
}

/* Visitor: a window has the input of a tap. */
static pons_status add_window(void *user, int stage, int64_t local)
{
    pons_status st = PONS_OK;
    wave *v = user;
    v->account->seconds.forward +=
        pons_trace_phase(v->account->trace, PONS_PHASE_FORWARD, v->start);
    if (v->kind == THROUGH || stage == v->context->config->arch->taps) return PONS_OK;
    double start = pons_clock();
    for (pons_input input = PONS_INPUT_NONE; st == PONS_OK && next_input(v, stage, &input);) {
        pons_hessian_source *source = &v->block->work.source;
        pons_hessian *sum = source->sum[input.index];
        const float *x =
            pons_input_of_window(source->block, &v->window, &input, local, source->own_x);
        if (v->kind == OBSERVE_AND_ADD)
            st = pons_hessian_observe(sum, v->window.own.begin, v->window.length, x);
        if (st == PONS_OK && v->kind == OBSERVE_AND_ADD && !v->block->guessed[input.index]) {
            pons_hessian_estimate_scales(sum, v->team->comm, 0);
            v->block->guessed[input.index] = true;
        }
        if (st == PONS_OK) st = pons_hessian_add(sum, v->window.length, x);
        pons_hessian_release_work(sum); /* one of many */
    }
    v->account->seconds.hessian += pons_trace_phase(v->account->trace, PONS_PHASE_HESSIAN, start);
    return st;
}

/* Collective on the team: guesses that this rank's first window has not come to, for it failed or there is
 * none; in the order of those that it does come to. */
static void guess_rest(wave *v)
{
    for (int64_t k = 0; k < v->count; k++)
        for (int g = 0; g < v->context->config->arch->taps; g++)
            for (pons_input input = PONS_INPUT_NONE; next_input(v, g, &input);) {
                if (v->own[k].guessed[input.index]) continue;
                pons_hessian_estimate_scales(v->own[k].work.source.sum[input.index], v->team->comm,
                                             0);
                v->own[k].guessed[input.index] = true;
            }
}

/* Window number `number` through this team's blocks, h in place. */
static pons_status run_window(wave *v, int64_t number, float *h)
{
    pons_status st = PONS_OK;
    const pons_visitor visitor = {.enter = enter, .window = add_window, .user = v};
    v->window.own = (pons_window_range){number, number + 1};
    v->window.h = h;
    for (int64_t k = 0; k < v->count && st == PONS_OK; k++) {
        v->block = &v->own[k];
        pons_trace_set_block(v->account->trace, v->block->open.layer);
        st = pons_walk_block(v->context->config->arch, NULL, 1,
                             &(pons_lane){v->block->open.block, &v->window}, &visitor);
    }
    if (v->kind == OBSERVE_AND_ADD) guess_rest(v);
    return st;
}

/* All windows of this rank through this team's blocks, from the team before and to the one after. */
static pons_status run_pass(wave *v, pass_kind kind)
{
    pons_status st = PONS_OK;
    pons_comm *comm = v->all->comm;
    int each = v->team->size, before = v->all->rank - each, after = v->all->rank + each;
    bool last = v->index == v->teams - 1;
    int64_t n = v->end - v->begin, size = floats(v);
    pons_transfer in[BUFFERS] = {{0}}, out[BUFFERS] = {{0}};
    v->kind = kind;
    if (n == 0 && kind == OBSERVE_AND_ADD) guess_rest(v);
    if (n > 0 && v->index > 0)
        pons_comm_start_recv(comm, buffer_of(v, 0), size, before, TAG_FORWARD, &in[0]);
    for (int64_t i = 0; i < n; i++) {
        float *h = buffer_of(v, i), *kept = v->index == 0 ? pons_stream_h(v->stream, i) : NULL;
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
                pons_comm_start_recv(comm, kept, size, v->all->rank + (v->teams - 1) * each,
                                     TAG_BACK, &v->returning[i]);
        }
        pons_status window = run_window(v, v->begin + i, h);
        if (st == PONS_OK) st = window;
        if (!last)
            pons_comm_start_send(comm, h, size, after, TAG_FORWARD, &out[i % BUFFERS]);
        else if (kind == THROUGH && v->index > 0)
            pons_comm_start_send(comm, h, size, v->all->rank - v->index * each, TAG_BACK,
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

/* Collective on the team: whether all guessed scales were good, or new scales agreed on by all windows. */
static bool all_fit(wave *v)
{
    bool fits = true;
    for (int64_t k = 0; k < v->count; k++)
        for (int i = 0; i < v->context->config->arch->linears; i++) {
            pons_hessian *sum = v->own[k].work.source.sum[i];
            if (sum) fits = pons_hessian_fits(sum, v->team->comm) && fits;
        }
    return fits;
}

static pons_status agree_scales(wave *v)
{
    pons_status st = PONS_OK;
    for (int64_t k = 0; k < v->count; k++)
        for (int i = 0; i < v->context->config->arch->linears; i++) {
            pons_hessian *sum = v->own[k].work.source.sum[i];
            if (sum) PONS_TRY(st, pons_hessian_agree(sum, v->team->comm));
        }
done:
    return st;
}

/* Collective on all: every block's Hessians are summed on this rank. */
static pons_status dense_pass(wave *v)
{
    pons_status st = PONS_OK;
    PONS_TRY_ALL(st, v->all->comm, run_pass(v, OBSERVE_AND_ADD));
    bool fits = all_fit(v);
    if (pons_comm_all(v->all->comm, fits)) return PONS_OK;
    if (v->all->rank == 0)
        pons_log(PONS_LOG_INFO,
                 "blocks %lld to %lld: window 0 is unlike the others; one more dense pass",
                 (long long)v->first, (long long)(v->first + v->blocks - 1));
    PONS_TRY_ALL(st, v->all->comm, agree_scales(v));
    PONS_TRY_ALL(st, v->all->comm, run_pass(v, ADD));
done:
    return st;
}

/* ---- Commit */

/* Collective on all: one block from the first rank of its team to rank 0, which commits it, unless an
 * earlier process has. @param mine NULL on other teams */
static pons_status hand_over_block(wave *v, pons_rundir *run, int64_t layer, int owner,
                                   pons_open_block *mine)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int root = owner * v->team->size;
    bool far = root != 0 && v->all->rank == 0;
    pons_open_block arriving = {.layer = layer};
    double start = pons_clock();
    if (far) local = pons_open_block_reserve(v->context, v->team, layer, &arriving);
    PONS_TRY_ALL(st, v->all->comm, local);
    if (far) {
        pons_linears_receive(v->context->config->arch, v->all->comm, root, arriving.linears);
        pons_comm_recv(v->all->comm, &arriving.seconds, sizeof arriving.seconds, root, TAG_SECONDS);
    } else if (root != 0 && v->all->rank == root) {
        pons_linears_send(v->context->config->arch, v->all->comm, 0, mine->linears);
        pons_comm_send(v->all->comm, &mine->seconds, sizeof mine->seconds, 0, TAG_SECONDS);
        v->account->seconds.pack += pons_trace_phase(v->account->trace, PONS_PHASE_PACK, start);
    }
    if (layer >= run->next)
        PONS_TRY(st,
                 pons_commit_block(v->context, v->all, run, v->account, mine ? mine : &arriving));
done:
    pons_open_block_destroy(&arriving);
    return st;
}

/* First of the wave's blocks that team t has, counted from the wave's first. */
static int64_t block_begin(const wave *v, int t)
{
    return pons_share_begin(v->blocks, v->teams, t);
}

static pons_status hand_over(wave *v, pons_rundir *run)
{
    pons_status st = PONS_OK;
    for (int64_t i = 0, owner = 0; i < v->blocks; i++) {
        while (i >= block_begin(v, (int)owner + 1))
            owner++;
        bool own = owner == v->index;
        PONS_TRY(st, hand_over_block(v, run, v->first + i, (int)owner,
                                     own ? &v->own[i - block_begin(v, v->index)].open : NULL));
    }
done:
    return st;
}

/* ---- The wave */

/* Local: empty sums of a block's inputs. */
static pons_status create_sums(const wave *v, own_block *b)
{
    pons_status st = PONS_OK;
    pons_hessian_source *source = &b->work.source;
    const pons_arch *arch = v->context->config->arch;
    source->origin = PONS_HESSIAN_SUM;
    source->block = b->open.block;
    PONS_CALLOC(st, b->guessed, arch->linears);
    PONS_CALLOC(st, source->sum, arch->linears);
    for (int g = 0; g < arch->taps; g++)
        for (pons_input input = PONS_INPUT_NONE; next_input(v, g, &input);)
            PONS_TRY(st,
                     pons_hessian_create(pons_tap_width(v->context->config, g), v->stream->windows,
                                         v->context->bf16, &source->sum[input.index]));
    if (!pons_block_shares_input(&v->context->inputs))
        PONS_ALLOC(st, source->own_x, v->stream->length * v->stream->width);
done:
    return st;
}

/* Collective on the team: its block with dense linears. */
static pons_status open_block(wave *v, int64_t layer, const char *keep, own_block *b)
{
    pons_status st = PONS_OK, local;
    b->work.keep = keep;
    local = pons_open_block_create(v->context, v->team, layer, &b->open);
    if (local == PONS_OK) local = create_sums(v, b);
    PONS_TRY_ALL(st, v->team->comm, local);
    PONS_TRY(st, pons_linears_set_dense(v->context, v->team, v->account, layer, b->open.linears,
                                        b->open.block));
done:
    return st;
}

static void close_wave(wave *v)
{
    for (int64_t k = 0; v->own && k < v->count; k++) {
        pons_hessian_source *source = &v->own[k].work.source;
        for (int i = 0; source->sum && i < v->context->config->arch->linears; i++)
            pons_hessian_destroy(&source->sum[i]);
        pons_mem_free(source->sum);
        pons_mem_free(v->own[k].guessed);
        pons_mem_free(source->own_x);
        pons_open_block_destroy(&v->own[k].open);
    }
    for (int b = 0; b < BUFFERS; b++)
        pons_mem_free(v->buffer[b]);
    pons_mem_free(v->returning);
    pons_mem_free(v->own);
}

/* The dense linears of a block that this team opens next. */
static void read_block_ahead(const wave *v, int64_t layer)
{
    for (int g = 0; g < v->context->config->arch->taps; g++)
        pons_linears_read_ahead(v->context, v->team, layer, g);
}

/* Those of its first block in the wave after this one. */
static void read_wave_ahead(const wave *v, int all_teams)
{
    int64_t first = v->first + v->blocks, left = v->context->config->layers - first;
    int64_t blocks = left < v->context->recipe.wave ? left : v->context->recipe.wave;
    int teams = blocks < all_teams ? (int)blocks : all_teams;
    if (v->index < teams) read_block_ahead(v, first + pons_share_begin(blocks, teams, v->index));
}

/* Collective on all: memory, and the dense blocks of this team. @param keep as pons_block_work */
static pons_status open_wave(wave *v, const char *keep)
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
    PONS_TRY_ALL(st, v->all->comm, local);
    for (int64_t k = 0; k < v->count && local == PONS_OK; k++) {
        int64_t layer = v->first + begin + k;
        if (k + 1 < v->count) read_block_ahead(v, layer + 1);
        local = open_block(v, layer, keep, &v->own[k]);
    }
    PONS_TRY_ALL(st, v->all->comm, local);
done:
    return st;
}

/* What is known of the wave without communication. */
static void plan_wave(const pons_teams *teams, int64_t first, wave *v)
{
    const pons_stream *s = v->stream;
    int64_t left = v->context->config->layers - first, most = v->context->recipe.wave;
    v->first = first;
    v->blocks = left < most ? left : most;
    v->teams = v->blocks < teams->count ? (int)v->blocks : teams->count; /* the last may be small */
    v->index = v->all->rank / v->team->size;
    v->begin = pons_team_window_begin(v->team, s->windows, v->team->rank);
    v->end = pons_team_window_begin(v->team, s->windows, v->team->rank + 1);
    if (v->index >= v->teams) v->end = v->begin; /* this team has no block */
    v->window = (pons_stream){.runtime = s->runtime,
                              .windows = s->windows,
                              .length = s->length,
                              .hidden = s->hidden,
                              .width = s->width,
                              .inputs = 1,
                              .x = s->x};
}

pons_status pons_wave_compress(const pons_context *context, const pons_team *team,
                               const pons_teams *teams, pons_rundir *run, pons_account *account,
                               pons_streams *streams, int64_t first)
{
    pons_status st = PONS_OK, local = PONS_OK;
    wave v = {.context = context,
              .all = team,
              .team = &teams->own,
              .account = account,
              .stream = &streams->compressed};
    plan_wave(teams, first, &v);
    PONS_TRY(st, open_wave(&v, context->recipe.keep_hessians ? run->path : NULL));
    PONS_TRY(st, dense_pass(&v));
    for (int64_t k = 0; k < v.count && local == PONS_OK; k++)
        local = pons_block_compress(context, v.team, account, &v.own[k].work, &v.own[k].open);
    PONS_TRY_ALL(st, team->comm, local);
    PONS_TRY(st, hand_over(&v, run));
    read_wave_ahead(&v, teams->count);
    PONS_TRY_ALL(st, team->comm, run_pass(&v, THROUGH));
    if (streams->weights_only) /* its files are read now */
        PONS_TRY(st, pons_commit_settle(team, run, account));
    for (int64_t i = 0; streams->weights_only && i < v.blocks; i++)
        PONS_TRY(st,
                 pons_replay_block(context, team, run->path, account, streams, first + i, false));
done:
    close_wave(&v);
    return st;
}
