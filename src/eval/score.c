/*
 * Scoring sequences. Owns how they are packed into windows, how windows are dealt to ranks, and the
 * sums of their losses; knows nothing of what the sequences mean.
 *
 * The last token of a sequence predicts nothing, so it does not go through the model. Windows are
 * filled in the order given, whatever the number of ranks, because the bits of a token depend on
 * its place in its window.
 */
#include "eval/score.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "calib/walk.h"
#include "eval/head.h"
#include "eval/load_block.h"

enum { WINDOW = 2048 /* tokens; a longer sequence is a window of its own */ };
#define WAVE_BYTES ((int64_t)2 << 30) /* of hidden states on a rank */

typedef struct scorer {
    pons_comm *comm;
    const pons_model *model;
    const pons_model_config *config;
    const pons_sequences *sequences;
    pons_runtime runtime;
    bool bf16;
    float *gain;        /* [hidden] of the last norm */
    int64_t windows;    /* of all sequences */
    int64_t *first;     /* [windows + 1] first sequence of each window */
    int64_t *at;        /* [count + windows] per window: begin of its sequences in it, its end */
    int64_t begin, end; /* windows of this rank in the wave at hand */
    int64_t widest;     /* tokens of the longest window */
    float *h;           /* tokens of [begin, end), hidden */
    float *x;           /* [widest, pons_block_width] */
    pons_progress progress;
} scorer;

/* Tokens of sequence i that go through the model. */
static int64_t inputs(const pons_sequences *q, int64_t i)
{
    return q->begin[i + 1] - q->begin[i] - 1;
}

/* Begin of the sequences of a window, relative to it, and its number of tokens. */
static const int64_t *window_begin(const scorer *s, int64_t w) { return s->at + s->first[w] + w; }

static int64_t window_tokens(const scorer *s, int64_t w)
{
    return window_begin(s, w)[s->first[w + 1] - s->first[w]];
}

static pons_status check(const pons_sequences *q, int64_t vocab)
{
    for (int64_t i = 0; i < q->count; i++)
        PONS_ASSERT(q->scored[i] >= 1 && q->scored[i] <= inputs(q, i));
    for (int64_t t = 0; t < q->begin[q->count]; t++)
        if (q->ids[t] < 0 || q->ids[t] >= vocab)
            return pons_fail(PONS_ERR_INPUT,
                             "token %lld of the sequences has id %d, outside the model's "
                             "vocabulary of %lld",
                             (long long)t, q->ids[t], (long long)vocab);
    return PONS_OK;
}

/* Fill windows in order; a sequence that does not fit begins the next one. */
static void pack(scorer *s)
{
    const pons_sequences *q = s->sequences;
    int64_t tokens = 0, n = 0;
    s->windows = 0;
    for (int64_t i = 0; i < q->count; i++) {
        if (i == 0 || tokens + inputs(q, i) > WINDOW) {
            if (i > 0) s->at[n++] = tokens;
            s->first[s->windows++] = i;
            tokens = 0;
        }
        s->at[n++] = tokens;
        tokens += inputs(q, i);
        if (tokens > s->widest) s->widest = tokens;
    }
    s->at[n] = tokens;
    s->first[s->windows] = q->count;
}

static pons_status prepare(scorer *s)
{
    pons_status st = PONS_OK;
    int64_t count = s->sequences->count;
    PONS_TRY(st, check(s->sequences, s->config->vocab));
    PONS_ALLOC(st, s->gain, s->config->hidden);
    PONS_TRY(st, pons_model_read_final_norm(s->model, s->gain));
    PONS_ALLOC(st, s->first, count + 1);
    PONS_ALLOC(st, s->at, 2 * count + 1);
    pack(s);
    PONS_ALLOC(st, s->x, s->widest * pons_block_width(s->config));
done:
    return st;
}

/* Hidden states of the windows of this rank in windows [first, last). */
static pons_status embed_wave(scorer *s, int64_t first, int64_t last)
{
    pons_status st = PONS_OK;
    const pons_sequences *q = s->sequences;
    int rank = pons_comm_rank(s->comm), size = pons_comm_size(s->comm);
    int64_t tokens = 0;
    s->begin = first + pons_share_begin(last - first, size, rank);
    s->end = first + pons_share_begin(last - first, size, rank + 1);
    for (int64_t w = s->begin; w < s->end; w++)
        tokens += window_tokens(s, w);
    pons_mem_free(s->h);
    PONS_ALLOC(st, s->h, tokens * s->config->hidden);
    float *h = s->h;
    for (int64_t i = s->first[s->begin]; i < s->first[s->end]; i++) {
        PONS_TRY(st, pons_model_read_embedding(s->model, q->ids + q->begin[i], inputs(q, i), h));
        h += inputs(q, i) * s->config->hidden;
    }
done:
    return st;
}

/* Every window of this rank through a block. */
static pons_status push_block(scorer *s, const pons_block *block)
{
    pons_status st = PONS_OK;
    float *h = s->h;
    for (int64_t w = s->begin; w < s->end; w++) {
        pons_stream window = {.runtime = s->runtime,
                              .length = window_tokens(s, w),
                              .hidden = s->config->hidden,
                              .own = {w, w + 1},
                              .inputs = 1,
                              .h = h,
                              .x = s->x,
                              .sequences = s->first[w + 1] - s->first[w],
                              .begin = window_begin(s, w)};
        PONS_TRY(st, pons_walk_block(s->config->arch, NULL, 1, &(pons_lane){block, &window}, NULL));
        h += window.length * window.hidden;
    }
done:
    return st;
}

/* Collective: read one block and push the wave through it. */
static pons_status push_layer(scorer *s, int64_t layer)
{
    pons_status st = PONS_OK;
    pons_block *block = NULL;
    PONS_TRY_ALL(st, s->comm, pons_block_create(s->config, layer, s->bf16, &block));
    PONS_TRY(st, pons_eval_load_block(s->comm, s->model, layer, block));
    PONS_TRY_ALL(st, s->comm, push_block(s, block));
done:
    pons_block_destroy(&block);
    return st;
}

/* Move the tokens of a window that predict scored ones to its front: their hidden states in h, what
 * they predict in target. @return how many. */
static int64_t gather_scored(const scorer *s, int64_t w, float *h, int32_t *target)
{
    const pons_sequences *q = s->sequences;
    int64_t n = 0, d = s->config->hidden;
    for (int64_t i = s->first[w]; i < s->first[w + 1]; i++) {
        int64_t from = window_begin(s, w)[i - s->first[w]] + inputs(q, i) - q->scored[i];
        memmove(h + n * d, h + from * d, (size_t)(q->scored[i] * d) * sizeof *h);
        memcpy(target + n, q->ids + q->begin[i + 1] - q->scored[i],
               (size_t)q->scored[i] * sizeof *target);
        n += q->scored[i];
    }
    return n;
}

static pons_status sum_losses(scorer *s, const pons_eval_head *head, double *log_likelihood)
{
    pons_status st = PONS_OK;
    int32_t *target = NULL;
    double *loss = NULL;
    float *h = s->h;
    PONS_ALLOC(st, target, s->widest);
    PONS_ALLOC(st, loss, s->widest);
    for (int64_t w = s->begin; w < s->end; w++) {
        int64_t n = gather_scored(s, w, h, target), at = 0;
        PONS_TRY(st, pons_eval_head_losses(head, n, h, target, loss));
        for (int64_t i = s->first[w]; i < s->first[w + 1]; i++) {
            double sum = 0;
            for (int64_t t = 0; t < s->sequences->scored[i]; t++)
                sum += loss[at++];
            log_likelihood[i] = -sum;
        }
        h += window_tokens(s, w) * s->config->hidden;
    }
done:
    pons_mem_free(loss);
    pons_mem_free(target);
    return st;
}

static pons_status read_head(void *user, int64_t row, int64_t n, float *out)
{
    return pons_model_read_head_rows(user, row, n, out);
}

/* Collective: windows [first, last) through the whole model; every rank gets all their results. */
static pons_status run_wave(scorer *s, int64_t first, int64_t last, double *log_likelihood)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_eval_head *head = NULL;
    int size = pons_comm_size(s->comm);
    size_t *offset = pons_mem_alloc(size + 1, sizeof *offset);
    local = offset ? embed_wave(s, first, last) : PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, s->comm, local);
    for (int64_t layer = 0; layer < s->config->layers; layer++) {
        PONS_TRY(st, push_layer(s, layer));
        pons_progress_update(&s->progress, s->progress.done + 1);
    }
    PONS_TRY(st, pons_eval_head_create(s->comm, s->config, s->bf16, s->begin < s->end, s->gain,
                                       read_head, (void *)(uintptr_t)s->model, &head));
    PONS_TRY_ALL(st, s->comm, sum_losses(s, head, log_likelihood));
    double *part = log_likelihood + s->first[first];
    for (int r = 0; r <= size; r++) {
        int64_t w = first + pons_share_begin(last - first, size, r);
        offset[r] = (size_t)(s->first[w] - s->first[first]) * sizeof *part;
    }
    pons_comm_allgather_parts(s->comm, part, offset);
    pons_progress_update(&s->progress, s->progress.done + 1);
done:
    pons_eval_head_destroy(&head);
    pons_mem_free(offset);
    return st;
}

static pons_status check_finite(const pons_sequences *q, const double *log_likelihood)
{
    for (int64_t i = 0; i < q->count; i++)
        if (!isfinite(log_likelihood[i]))
            return pons_fail(PONS_ERR_NUMERIC, "the log-likelihood of sequence %lld of %lld is %f",
                             (long long)i + 1, (long long)q->count, log_likelihood[i]);
    return PONS_OK;
}

pons_status pons_eval_score(pons_comm *comm, const pons_model *model,
                            const pons_sequences *sequences, bool weights_only, bool bf16,
                            double *log_likelihood)
{
    pons_status st = PONS_OK;
    scorer s = {.comm = comm,
                .model = model,
                .config = pons_model_get_config(model),
                .sequences = sequences,
                .runtime = *pons_model_runtime(model),
                .bf16 = bf16};
    if (weights_only) pons_runtime_drop_quantizers(&s.runtime);
    PONS_TRY_ALL(st, comm, prepare(&s));
    int64_t wave = WAVE_BYTES / (WINDOW * s.config->hidden * (int64_t)sizeof *s.h);
    wave = (wave > 1 ? wave : 1) * pons_comm_size(comm);
    int64_t waves = (s.windows + wave - 1) / wave;
    pons_progress_begin(&s.progress, "tasks", waves * (s.config->layers + 1));
    for (int64_t w = 0; w < s.windows; w += wave)
        PONS_TRY(st, run_wave(&s, w, w + wave < s.windows ? w + wave : s.windows, log_likelihood));
    pons_progress_end(&s.progress);
    PONS_TRY(st, check_finite(sequences, log_likelihood)); /* the same numbers on every rank */
done:
    pons_progress_drop(&s.progress);
    pons_mem_free(s.x);
    pons_mem_free(s.h);
    pons_mem_free(s.at);
    pons_mem_free(s.first);
    pons_mem_free(s.gain);
    return st;
}
