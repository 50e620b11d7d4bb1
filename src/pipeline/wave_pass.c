/*
 * Rank r of every team handles the same windows, so a window goes from rank r of one team to rank r of the
 * next; the first team keeps the hidden states between waves. A rank's own failure does not stop its sends
 * and receives; it is agreed on after the pass.
 *
 * What is summed depends neither on ranks nor on teams: sums of windows are exact, and the scales they need
 * are estimated from window 0 alone (hessian/accumulate.h), or, where that estimate was bad, found from all
 * windows in one more dense pass. With targets there are always two dense passes, one to observe and one to
 * add.
 */
#include "pipeline/wave_pass.h"

#include <string.h>

#include "base/log.h"

enum { TAG_FORWARD = 5, TAG_BACK = 6 };

/* A window on its way through a block. */
typedef struct visit {
    pons_wave *wave;
    pons_wave_kind kind;
    pons_wave_block *block;
    double start;
} visit;

static pons_status enter(void *user, int stage)
{
    visit *v = user;
    (void)stage;
    v->start = pons_clock();
    return PONS_OK;
}

static bool next_input(const pons_wave *v, int tap, pons_input *input)
{
    return pons_input_next(v->context->config->arch, &v->context->inputs, tap, input);
}

/* The Hessian of an input and a window. */
static pons_status add_input(visit *v, const pons_input *input)
{
    pons_status st = PONS_OK;
    const pons_stream *window = &v->wave->window[PONS_WAVE_COMPRESSED];
    pons_hessian_source *source = &v->block->work.source;
    int index = input->index;
    pons_hessian *sum = source->sum[index];
    const float *x = pons_input_of_window(source->block, window, input, 0, source->own_x);
    if (v->kind != PONS_WAVE_ADD)
        PONS_TRY(st, pons_hessian_observe(sum, window->own.begin, window->length, x));
    if (v->kind == PONS_WAVE_OBSERVE) return PONS_OK;
    if (v->kind == PONS_WAVE_OBSERVE_AND_ADD && !v->block->estimated[index]) {
        pons_hessian_estimate_scales(sum, v->wave->team->comm, 0);
        v->block->estimated[index] = true;
    }
    st = pons_hessian_add(sum, window->length, x);
    pons_hessian_release_work(sum); /* one of many */
done:
    return st;
}

/* What the targets of a tap's linears are made of and a window. */
static pons_status add_targets(visit *v, int tap)
{
    pons_cross *sum = v->block->work.targets.sum[tap];
    pons_cross_visit step = v->kind == PONS_WAVE_OBSERVE ? PONS_CROSS_OBSERVE : PONS_CROSS_ADD;
    pons_targets_set_block(v->wave->targets, v->block->open.block);
    pons_status st = pons_targets_add_window(v->wave->targets, tap, 0, step, sum);
    pons_cross_release_work(sum);
    return st;
}

/* Visitor: a window has the input of a tap. */
static pons_status add_window(void *user, int stage, int64_t local)
{
    pons_status st = PONS_OK;
    visit *v = user;
    pons_account *a = v->wave->account;
    bool held_out = pons_stream_summed(&v->wave->window[PONS_WAVE_COMPRESSED]) == 0;
    (void)local;
    a->seconds.forward += pons_trace_phase(a->trace, PONS_PHASE_FORWARD, v->start);
    if (v->kind == PONS_WAVE_THROUGH || stage == v->wave->context->config->arch->taps || held_out)
        return PONS_OK;
    double start = pons_clock();
    for (pons_input input = PONS_INPUT_NONE; next_input(v->wave, stage, &input);)
        PONS_TRY(st, add_input(v, &input));
    if (v->wave->targets) PONS_TRY(st, add_targets(v, stage));
done:
    a->seconds.hessian += pons_trace_phase(a->trace, PONS_PHASE_HESSIAN, start);
    return st;
}

/* Collective on the team: estimates of scales that this rank's first window has not come to, for it failed
 * or there is none; in the order of those that it does come to. */
static void estimate_rest(pons_wave *v)
{
    for (int64_t k = 0; k < v->count; k++)
        for (int tap = 0; tap < v->context->config->arch->taps; tap++)
            for (pons_input input = PONS_INPUT_NONE; next_input(v, tap, &input);) {
                pons_wave_block *b = &v->block[k];
                if (b->estimated[input.index]) continue;
                pons_hessian_estimate_scales(b->work.source.sum[input.index], v->team->comm, 0);
                b->estimated[input.index] = true;
            }
}

/* The window views on own window i, h [lanes, length, hidden]. */
static void point_at(pons_wave *v, int64_t i, float *h)
{
    int64_t held = i - pons_wave_summed(v);
    for (int lane = 0; lane < v->lanes; lane++) {
        pons_stream *w = &v->window[lane];
        w->own = w->held_out = (pons_window_range){0, 0};
        if (held < 0)
            w->own = (pons_window_range){v->own.begin + i, v->own.begin + i + 1};
        else
            w->held_out = (pons_window_range){v->held.begin + held, v->held.begin + held + 1};
        w->h = h + lane * pons_wave_floats(v);
    }
}

/* Keep what a held-out window is in front of a block. */
static void keep_held_out(const pons_wave *v, pons_wave_block *b, int64_t held)
{
    int64_t n = pons_wave_floats(v);
    for (int lane = 0; lane < v->lanes; lane++)
        memcpy(b->held[lane] + held * n, v->window[lane].h, (size_t)n * sizeof(float));
}

/* Own window i through this team's blocks, the first `lanes` of h in place. */
static pons_status run_window(pons_wave *v, pons_wave_kind kind, int lanes, int64_t i, float *h)
{
    pons_status st = PONS_OK;
    visit on_way = {.wave = v, .kind = kind};
    const pons_visitor visitor = {.enter = enter, .window = add_window, .user = &on_way};
    int64_t held = i - pons_wave_summed(v);
    point_at(v, i, h);
    for (int64_t k = 0; k < v->count && st == PONS_OK; k++) {
        pons_wave_block *b = on_way.block = &v->block[k];
        pons_lane lane[PONS_WAVE_LANES];
        for (int l = 0; l < lanes; l++)
            lane[l] = (pons_lane){b->open.block, &v->window[l]};
        pons_trace_set_block(v->account->trace, b->open.layer);
        if (held >= 0 && kind == PONS_WAVE_ADD) keep_held_out(v, b, held);
        st = pons_walk_block(v->context->config->arch, NULL, lanes, lane, &visitor);
    }
    if (kind == PONS_WAVE_OBSERVE_AND_ADD) estimate_rest(v);
    return st;
}

static float *buffer_of(const pons_wave *v, int64_t i) { return v->buffer[i % PONS_WAVE_BUFFERS]; }

/* All windows of this rank through this team's blocks, from the team before and to the one after. The lane
 * that is at its end goes back to the first team: the dense one after the last dense pass, the compressed
 * one after the second. */
static pons_status run_pass(pons_wave *v, pons_wave_kind kind)
{
    pons_status st = PONS_OK;
    pons_comm *comm = v->all->comm;
    pons_transfer in[PONS_WAVE_BUFFERS] = {{0}}, out[PONS_WAVE_BUFFERS] = {{0}};
    int each = v->team->size, before = v->all->rank - each, after = v->all->rank + each;
    bool through = kind == PONS_WAVE_THROUGH, last = v->index == v->teams - 1;
    int lanes = through ? 1 : v->lanes, back = -1; /* lane that returns */
    if (through) back = PONS_WAVE_COMPRESSED;
    if (kind == PONS_WAVE_ADD && v->lanes > 1) back = PONS_WAVE_DENSE;
    int64_t n = pons_wave_windows(v), one = pons_wave_floats(v), size = lanes * one;
    if (n == 0 && kind == PONS_WAVE_OBSERVE_AND_ADD) estimate_rest(v);
    if (n > 0 && v->index > 0)
        pons_comm_start_recv(comm, buffer_of(v, 0), size, before, TAG_FORWARD, &in[0]);
    for (int64_t i = 0; i < n; i++) {
        int b = (int)(i % PONS_WAVE_BUFFERS), next = (int)((i + 1) % PONS_WAVE_BUFFERS);
        float *h = v->buffer[b];
        float *kept = v->index == 0 && back >= 0 ? pons_stream_h(v->stream[back], i) : NULL;
        if (v->index > 0) {
            if (i + 1 < n) { /* the next one arrives while this one is computed */
                pons_comm_wait(&out[next]);
                pons_comm_start_recv(comm, v->buffer[next], size, before, TAG_FORWARD, &in[next]);
            }
            pons_comm_wait(&in[b]);
        } else {
            pons_comm_wait(&out[b]);
            for (int lane = 0; lane < lanes; lane++)
                memcpy(h + lane * one, pons_stream_h(v->stream[lane], i), (size_t)one * sizeof *h);
            if (kept && !last)
                pons_comm_start_recv(comm, kept, one, v->all->rank + (v->teams - 1) * each,
                                     TAG_BACK, &v->returning[i]);
        }
        pons_status window = run_window(v, kind, lanes, i, h);
        if (st == PONS_OK) st = window;
        if (!last)
            pons_comm_start_send(comm, h, size, after, TAG_FORWARD, &out[b]);
        else if (kept)
            memcpy(kept, h + back * one, (size_t)one * sizeof *h);
        else if (back >= 0)
            pons_comm_start_send(comm, h + back * one, one, v->all->rank - v->index * each,
                                 TAG_BACK, &out[b]);
    }
    for (int b = 0; b < PONS_WAVE_BUFFERS; b++)
        pons_comm_wait(&out[b]);
    for (int64_t i = 0; v->index == 0 && back >= 0 && !last && i < n; i++)
        pons_comm_wait(&v->returning[i]);
    return st;
}

/* Collective on the team: whether all estimated scales were good. */
static bool all_fit(pons_wave *v)
{
    bool fits = true;
    for (int64_t k = 0; k < v->count; k++)
        for (int i = 0; i < v->context->config->arch->linears; i++) {
            pons_hessian *sum = v->block[k].work.source.sum[i];
            if (sum) fits = pons_hessian_fits(sum, v->team->comm) && fits;
        }
    return fits;
}

/* Collective on the team: scales of all sums from all windows. */
static pons_status agree_scales(pons_wave *v)
{
    pons_status st = PONS_OK;
    for (int64_t k = 0; k < v->count; k++) {
        pons_block_work *work = &v->block[k].work;
        for (int i = 0; i < v->context->config->arch->linears; i++)
            if (work->source.sum[i])
                PONS_TRY(st, pons_hessian_agree(work->source.sum[i], v->team->comm));
        for (int g = 0; work->targets.sum && g < v->context->config->arch->taps; g++)
            if (work->targets.sum[g]) pons_cross_agree(work->targets.sum[g], v->team->comm);
    }
done:
    return st;
}

pons_status pons_wave_sum(pons_wave *v)
{
    pons_status st = PONS_OK;
    pons_comm *comm = v->all->comm;
    bool fits = false;
    PONS_TRY_ALL(st, comm, run_pass(v, v->targets ? PONS_WAVE_OBSERVE : PONS_WAVE_OBSERVE_AND_ADD));
    if (!v->targets) {
        fits = all_fit(v);
        fits = pons_comm_all(comm, fits);
        if (!fits && v->all->rank == 0)
            pons_log(PONS_LOG_INFO,
                     "blocks %lld to %lld: window 0 is unlike the others; one more dense pass",
                     (long long)v->first, (long long)(v->first + v->blocks - 1));
    }
    if (fits) return PONS_OK;
    PONS_TRY_ALL(st, comm, agree_scales(v));
    PONS_TRY_ALL(st, comm, run_pass(v, PONS_WAVE_ADD));
done:
    return st;
}

pons_status pons_wave_pass_through(pons_wave *v)
{
    pons_status st = PONS_OK;
    PONS_TRY_ALL(st, v->all->comm, run_pass(v, PONS_WAVE_THROUGH));
done:
    return st;
}
