/*
 * A wave of blocks, compressed side by side by teams of ranks.
 *
 *   dense pass   windows stream team 0 -> team 1 -> ... through the dense blocks; every team adds up the
 *                Hessians of its blocks' inputs as they pass, and with targets the cross Hessians of the
 *                two streams, which go through the same blocks
 *   solve        each team factors and compresses its own blocks; rank 0 commits them in order
 *   second pass  the windows stream again, through the compressed blocks, back to team 0
 *
 * What a block becomes depends on the wave it is in, but not on the teams. Held-out windows are needed when
 * a target is known: every block keeps their hidden states in front of it, and they walk through it again,
 * with its dense weights, while it is solved.
 */
#include "pipeline/wave.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "pipeline/commit.h"
#include "pipeline/replay.h"
#include "pipeline/wave_pass.h"

enum { TAG_SECONDS = 4 };

/* First of the wave's blocks that team t has, counted from the wave's first. */
static int64_t block_begin(const pons_wave *v, int t)
{
    return pons_share_begin(v->blocks, v->teams, t);
}

/* ---- Commit */

/* Collective on all: one block from the first rank of its team to rank 0, which commits it, unless an
 * earlier process has. @param mine NULL on other teams */
static pons_status hand_over_block(pons_wave *v, pons_rundir *run, int64_t layer, int owner,
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

static pons_status hand_over(pons_wave *v, pons_rundir *run)
{
    pons_status st = PONS_OK;
    for (int64_t i = 0, owner = 0; i < v->blocks; i++) {
        while (i >= block_begin(v, (int)owner + 1))
            owner++;
        bool own = owner == v->index;
        PONS_TRY(st, hand_over_block(v, run, v->first + i, (int)owner,
                                     own ? &v->block[i - block_begin(v, v->index)].open : NULL));
    }
done:
    return st;
}

/* ---- The wave */

/* Local: empty sums of a block's targets, and room for held-out windows in front of it. */
static pons_status create_target_sums(const pons_wave *v, pons_wave_block *b)
{
    pons_status st = PONS_OK;
    int taps = v->context->config->arch->taps;
    PONS_CALLOC(st, b->work.targets.sum, taps);
    for (int tap = 0; tap < taps; tap++)
        PONS_TRY(st, pons_targets_create_sum(v->targets, tap, &b->work.targets.sum[tap]));
    for (int lane = 0; lane < v->lanes; lane++)
        PONS_ALLOC(st, b->held[lane], pons_wave_held(v) * pons_wave_floats(v));
done:
    return st;
}

/* Local: empty sums of a block's inputs. */
static pons_status create_sums(const pons_wave *v, pons_wave_block *b)
{
    pons_status st = PONS_OK;
    const pons_context *c = v->context;
    const pons_arch *arch = c->config->arch;
    const pons_stream *s = v->stream[PONS_WAVE_COMPRESSED];
    pons_hessian_source *source = &b->work.source;
    source->origin = PONS_HESSIAN_SUM;
    source->block = b->open.block;
    PONS_CALLOC(st, b->estimated, arch->linears);
    PONS_CALLOC(st, source->sum, arch->linears);
    for (int tap = 0; tap < arch->taps; tap++)
        for (pons_input input = PONS_INPUT_NONE; pons_input_next(arch, &c->inputs, tap, &input);)
            PONS_TRY(st, pons_hessian_create(pons_tap_width(c->config, tap), s->windows, c->bf16,
                                             &source->sum[input.index]));
    if (!pons_block_shares_input(&c->inputs)) PONS_ALLOC(st, source->own_x, s->length * s->width);
    if (v->targets) PONS_TRY(st, create_target_sums(v, b));
done:
    return st;
}

/* Collective on the team: its block with dense linears. */
static pons_status open_block(pons_wave *v, int64_t layer, const char *keep, pons_wave_block *b)
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

static void close_block(const pons_arch *arch, pons_wave_block *b)
{
    pons_hessian **sum = b->work.source.sum;
    pons_cross **cross = b->work.targets.sum;
    for (int i = 0; sum && i < arch->linears; i++)
        pons_hessian_destroy(&sum[i]);
    for (int tap = 0; cross && tap < arch->taps; tap++)
        pons_cross_destroy(&cross[tap]);
    pons_mem_free(sum);
    pons_mem_free(cross);
    pons_mem_free(b->estimated);
    for (int lane = 0; lane < PONS_WAVE_LANES; lane++)
        pons_mem_free(b->held[lane]);
    pons_mem_free(b->work.source.own_x);
    pons_open_block_destroy(&b->open);
}

static void close_wave(pons_wave *v)
{
    for (int64_t k = 0; v->block && k < v->count; k++)
        close_block(v->context->config->arch, &v->block[k]);
    for (int b = 0; b < PONS_WAVE_BUFFERS; b++)
        pons_mem_free(v->buffer[b]);
    for (int lane = 0; lane < PONS_WAVE_LANES; lane++)
        pons_stream_free(&v->held_out[lane]);
    pons_targets_destroy(&v->targets);
    pons_targets_destroy(&v->held_targets);
    pons_mem_free(v->returning);
    pons_mem_free(v->block);
}

/* The dense linears of a block that this team opens next. */
static void read_block_ahead(const pons_wave *v, int64_t layer)
{
    for (int g = 0; g < v->context->config->arch->taps; g++)
        pons_linears_read_ahead(v->context, v->team, layer, g);
}

/* Those of its first block in the wave after this one. */
static void read_wave_ahead(const pons_wave *v, int all_teams)
{
    int64_t first = v->first + v->blocks, left = v->context->config->layers - first;
    int64_t blocks = left < v->context->recipe.wave ? left : v->context->recipe.wave;
    int teams = blocks < all_teams ? (int)blocks : all_teams;
    if (v->index < teams) read_block_ahead(v, first + pons_share_begin(blocks, teams, v->index));
}

/* Local: what targets need besides the blocks' sums. */
static pons_status open_targets(pons_wave *v)
{
    pons_status st = PONS_OK;
    pons_stream *held = v->held_out;
    for (int lane = 0; lane < PONS_WAVE_LANES; lane++) {
        const pons_stream *s = v->stream[lane];
        held[lane] = (pons_stream){
            .runtime = s->runtime, .windows = s->windows, .length = s->length, .held_out = v->held};
        PONS_TRY(st, pons_stream_create(v->context->config, true, &held[lane]));
    }
    PONS_TRY(st, pons_targets_create(v->context, &v->window[0], &v->window[1], &v->targets));
    PONS_TRY(st, pons_targets_create(v->context, &held[0], &held[1], &v->held_targets));
done:
    return st;
}

/* Local: memory of the wave but for its blocks. */
static pons_status reserve(pons_wave *v)
{
    pons_status st = PONS_OK;
    PONS_CALLOC(st, v->block, v->count);
    PONS_CALLOC(st, v->returning, pons_wave_windows(v));
    for (int b = 0; b < PONS_WAVE_BUFFERS; b++)
        PONS_ALLOC(st, v->buffer[b], v->lanes * pons_wave_floats(v));
    if (v->lanes > 1) PONS_TRY(st, open_targets(v));
done:
    return st;
}

/* Collective on all: memory, and the dense blocks of this team. @param keep as pons_block_work */
static pons_status open_wave(pons_wave *v, const char *keep)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t begin = v->index < v->teams ? block_begin(v, v->index) : 0;
    v->count = v->index < v->teams ? block_begin(v, v->index + 1) - begin : 0;
    PONS_TRY_ALL(st, v->all->comm, reserve(v));
    for (int64_t k = 0; k < v->count && local == PONS_OK; k++) {
        int64_t layer = v->first + begin + k;
        if (k + 1 < v->count) read_block_ahead(v, layer + 1);
        local = open_block(v, layer, keep, &v->block[k]);
    }
    PONS_TRY_ALL(st, v->all->comm, local);
done:
    return st;
}

/* Collective on the team: its blocks from their sums, one after the other. */
static pons_status solve(pons_wave *v)
{
    pons_status st = PONS_OK;
    size_t bytes = (size_t)(pons_wave_held(v) * pons_wave_floats(v)) * sizeof(float);
    for (int64_t k = 0; k < v->count; k++) {
        pons_wave_block *b = &v->block[k];
        pons_block_work *work = &b->work;
        for (int lane = 0; v->held_targets && lane < PONS_WAVE_LANES; lane++) {
            memcpy(v->held_out[lane].h, b->held[lane], bytes);
            work->lane[work->lanes++] = (pons_lane){b->open.block, &v->held_out[lane]};
        }
        if (v->held_targets) pons_targets_set_block(v->held_targets, b->open.block);
        work->targets.targets = v->held_targets;
        work->all_dense = v->held_targets != NULL;
        PONS_TRY(st, pons_block_compress(v->context, v->team, v->account, work, &b->open));
    }
done:
    return st;
}

/* What is known of the wave without communication. */
static void plan_wave(const pons_teams *teams, int64_t first, pons_streams *streams, pons_wave *v)
{
    const pons_recipe *r = &v->context->recipe;
    const pons_team *t = v->team;
    int64_t left = v->context->config->layers - first, N = streams->compressed.windows;
    int64_t held_out = r->calibration.holdout;
    v->first = first;
    v->blocks = left < r->wave ? left : r->wave;
    v->teams = v->blocks < teams->count ? (int)v->blocks : teams->count; /* the last may be small */
    v->index = v->all->rank / t->size;
    v->held = (pons_window_range){N, N};
    if (v->index < v->teams) { /* else this team has no block */
        v->own = (pons_window_range){pons_team_window_begin(t, N, t->rank),
                                     pons_team_window_begin(t, N, t->rank + 1)};
        v->held = (pons_window_range){N + pons_team_held_begin(t, held_out, t->rank + 1),
                                      N + pons_team_held_begin(t, held_out, t->rank)};
    }
    v->stream[PONS_WAVE_COMPRESSED] = &streams->compressed;
    v->stream[PONS_WAVE_DENSE] = &streams->dense;
    v->lanes = streams->dense.x ? PONS_WAVE_LANES : 1;
    for (int lane = 0; lane < v->lanes; lane++) {
        const pons_stream *s = v->stream[lane];
        v->window[lane] = (pons_stream){.runtime = s->runtime,
                                        .windows = s->windows,
                                        .length = s->length,
                                        .hidden = s->hidden,
                                        .width = s->width,
                                        .own = {0, 1},
                                        .inputs = 1,
                                        .x = s->x};
    }
}

pons_status pons_wave_compress(const pons_context *context, const pons_team *team,
                               const pons_teams *teams, pons_rundir *run, pons_account *account,
                               pons_streams *streams, int64_t first)
{
    pons_status st = PONS_OK;
    pons_wave v = {.context = context, .all = team, .team = &teams->own, .account = account};
    plan_wave(teams, first, streams, &v);
    PONS_TRY(st, open_wave(&v, context->recipe.keep_hessians ? run->path : NULL));
    PONS_TRY(st, pons_wave_sum(&v));
    PONS_TRY_ALL(st, team->comm, solve(&v));
    PONS_TRY(st, hand_over(&v, run));
    read_wave_ahead(&v, teams->count);
    PONS_TRY(st, pons_wave_pass_through(&v));
    if (streams->weights_only) /* its files are read now */
        PONS_TRY(st, pons_commit_settle(team, run, account));
    for (int64_t i = 0; streams->weights_only && i < v.blocks; i++)
        PONS_TRY(st,
                 pons_replay_block(context, team, run->path, account, streams, first + i, false));
done:
    close_wave(&v);
    return st;
}
