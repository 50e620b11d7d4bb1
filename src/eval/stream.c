/*
 * Windows on their way through a model: owns the residual streams of this rank's windows and the
 * sums of their losses. The blocks they are pushed through belong to the
 * caller.
 *
 * Same bits for any number of ranks: a window is pushed whole by one rank, and the sums of all
 * windows are added in window order on every rank.
 */
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "eval/perplexity.h"

enum { TAG_IDS = 1, TAG_HIDDEN = 2 };

struct pons_eval_stream {
    pons_model_config config;
    bool bf16;
    int idle;            /* ranks below it have no windows */
    pons_stream windows; /* of this rank, one after the other */
    int32_t *ids;        /* [own windows, length] */
    double seconds;
};

/* First window of rank r, in [0, size]. */
static int64_t first_window(int64_t windows, int size, int idle, int r)
{
    return r < idle ? 0 : pons_share_begin(windows, size - idle, r - idle);
}

void pons_eval_stream_destroy(pons_eval_stream **stream)
{
    pons_eval_stream *s = *stream;
    if (!s) return;
    pons_stream_free(&s->windows);
    pons_mem_free(s->ids);
    pons_mem_free(s);
    *stream = NULL;
}

/* ids is NULL except on rank 0, which also needs `window`, a place for one window to be sent. */
static pons_status prepare(pons_eval_stream **stream, float **window, const pons_comm *comm,
                           const pons_model_config *config, int idle, const int32_t *ids,
                           int64_t windows, int64_t length)
{
    pons_status st = PONS_OK;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    int64_t begin = first_window(windows, size, idle, rank);
    int64_t local = first_window(windows, size, idle, rank + 1) - begin;
    pons_eval_stream *s = NULL;
    if (length < 2)
        return pons_fail(PONS_ERR_INPUT,
                         "windows of %lld tokens predict no token; at least 2 tokens are needed",
                         (long long)length);
    if (windows < 1) return pons_fail(PONS_ERR_INPUT, "there are no windows to evaluate");
    for (int64_t i = 0; ids && i < windows * length; i++)
        if (ids[i] < 0 || ids[i] >= config->vocab)
            return pons_fail(PONS_ERR_INPUT,
                             "token %lld has id %d, outside the model's vocabulary of %lld",
                             (long long)i, ids[i], (long long)config->vocab);
    PONS_CALLOC(st, s, 1);
    s->windows = (pons_stream){.windows = windows, .length = length, .own = {begin, begin + local}};
    PONS_ALLOC(st, s->ids, local * length);
    PONS_TRY(st, pons_stream_create(config, false, &s->windows));
    if (ids) PONS_CALLOC(st, *window, length * config->hidden);
    *stream = s;
    s = NULL;
done:
    pons_eval_stream_destroy(&s);
    return st;
}

/* Rank 0 embeds every window and keeps it or sends it to its owner. After a failure it goes on
 * sending, so that nobody waits for ever; the status is agreed on by the caller. */
static pons_status embed_windows(pons_eval_stream *s, pons_comm *comm, const int32_t *ids,
                                 pons_embed embed, void *user, float *window)
{
    pons_status st = PONS_OK;
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    int64_t length = s->windows.length, floats = length * s->config.hidden;
    size_t id_bytes = (size_t)length * sizeof *ids, bytes = (size_t)floats * sizeof *window;
    for (int owner = 0; owner < size; owner++) {
        int64_t begin = first_window(s->windows.windows, size, s->idle, owner);
        int64_t end = first_window(s->windows.windows, size, s->idle, owner + 1);
        for (int64_t w = begin; w < end; w++) {
            int32_t *own_ids = owner == rank ? s->ids + (w - begin) * length : NULL;
            float *own = owner == rank ? pons_stream_h(&s->windows, w - begin) : NULL;
            if (rank == 0) {
                const int32_t *source = ids + w * length;
                float *to = own ? own : window;
                if (st == PONS_OK) st = embed(user, source, length, to);
                if (own) {
                    memcpy(own_ids, source, id_bytes);
                } else {
                    pons_comm_send(comm, source, id_bytes, owner, TAG_IDS);
                    pons_comm_send(comm, window, bytes, owner, TAG_HIDDEN);
                }
            } else if (own) {
                pons_comm_recv(comm, own_ids, id_bytes, 0, TAG_IDS);
                pons_comm_recv(comm, own, bytes, 0, TAG_HIDDEN);
            }
        }
    }
    return st;
}

pons_status pons_eval_stream_create(pons_comm *comm, const pons_model_config *config,
                                    const pons_runtime *runtime, bool bf16, int idle,
                                    const int32_t *ids, int64_t windows, int64_t length,
                                    pons_embed embed, void *user, pons_eval_stream **out)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    pons_eval_stream *s = NULL;
    float *window = NULL;
    if (pons_comm_rank(comm) != 0) ids = NULL;
    PONS_TRY_ALL(st, comm, prepare(&s, &window, comm, config, idle, ids, windows, length));
    s->config = *config;
    s->windows.runtime = *runtime;
    s->bf16 = bf16;
    s->idle = idle;
    PONS_TRY_ALL(st, comm, embed_windows(s, comm, ids, embed, user, window));
    s->seconds = pons_clock() - start;
    *out = s;
    s = NULL;
done:
    pons_mem_free(window);
    pons_eval_stream_destroy(&s);
    return st;
}

pons_stream *pons_eval_stream_windows(pons_eval_stream *s) { return &s->windows; }

pons_status pons_eval_stream_block(pons_eval_stream *s, const pons_block *block)
{
    const pons_lane lane = {block, &s->windows};
    double start = pons_clock();
    pons_status st = pons_walk_block(s->config.arch, NULL, 1, &lane, NULL);
    s->seconds += pons_clock() - start;
    return st;
}

/* Sums of the cross-entropies of the local windows over their length - 1 predicted tokens. */
static pons_status local_sums(const pons_eval_stream *s, const pons_eval_head *head, double *sum)
{
    pons_status st = PONS_OK;
    const pons_stream *own = &s->windows;
    int64_t predicted = own->length - 1, count = pons_stream_count(own);
    double *loss = NULL;
    pons_progress progress = {0};
    PONS_ALLOC(st, loss, predicted);
    pons_progress_begin(&progress, "perplexity: windows", count);
    for (int64_t w = 0; w < count; w++) {
        double *total = &sum[own->own.begin + w];
        PONS_TRY(st, pons_eval_head_losses(head, predicted, pons_stream_h(own, w),
                                           s->ids + w * own->length + 1, loss));
        *total = 0;
        for (int64_t t = 0; t < predicted; t++)
            *total += loss[t];
        pons_progress_update(&progress, w + 1);
    }
    pons_progress_end(&progress);
done:
    pons_progress_drop(&progress);
    pons_mem_free(loss);
    return st;
}

/* The last step, done alike on every rank: sum [windows] to the perplexity. */
static pons_status reduce_sums(const pons_eval_stream *s, const double *sum, double *perplexity)
{
    double total = 0;
    int64_t windows = s->windows.windows;
    for (int64_t w = 0; w < windows; w++) {
        double mean = sum[w] / (double)(s->windows.length - 1);
        if (!isfinite(mean))
            return pons_fail(PONS_ERR_NUMERIC,
                             "perplexity: the cross-entropy of window %lld of %lld is %f",
                             (long long)w + 1, (long long)windows, mean);
        total += mean;
    }
    *perplexity = exp(total / (double)windows);
    if (!isfinite(*perplexity))
        return pons_fail(PONS_ERR_NUMERIC,
                         "perplexity: exp of the mean cross-entropy %g is too large for a double",
                         total / (double)windows);
    return PONS_OK;
}

static pons_status prepare_sums(const pons_eval_stream *s, int size, double **sum, size_t **offset)
{
    pons_status st = PONS_OK;
    PONS_CALLOC(st, *sum, s->windows.windows);
    PONS_ALLOC(st, *offset, size + 1);
    for (int r = 0; r <= size; r++)
        (*offset)[r] = (size_t)first_window(s->windows.windows, size, s->idle, r) * sizeof **sum;
done:
    return st;
}

pons_status pons_eval_stream_finish(pons_eval_stream *s, pons_comm *comm, const float *gain,
                                    pons_read_rows read, void *user, pons_perplexity *out)
{
    pons_status st = PONS_OK;
    double start = pons_clock(), perplexity = 0, *sum = NULL;
    pons_eval_head *head = NULL;
    size_t *offset = NULL;
    PONS_TRY_ALL(st, comm, prepare_sums(s, pons_comm_size(comm), &sum, &offset));
    PONS_TRY(st,
             pons_eval_head_create(comm, &s->config, s->bf16, pons_stream_count(&s->windows) > 0,
                                   gain, read, user, &head));
    PONS_TRY_ALL(st, comm, local_sums(s, head, sum));
    pons_comm_allgather_parts(comm, sum, offset);
    PONS_TRY(st, reduce_sums(s, sum, &perplexity));
    s->seconds += pons_clock() - start;
    *out = (pons_perplexity){.perplexity = perplexity,
                             .seconds = s->seconds,
                             .windows = s->windows.windows,
                             .tokens = s->windows.windows * s->windows.length};
done:
    pons_eval_head_destroy(&head);
    pons_mem_free(offset);
    pons_mem_free(sum);
    return st;
}
