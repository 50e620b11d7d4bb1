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
#include "base/stop.h"
#include "eval/perplexity.h"

enum { TAG_IDS = 1, TAG_HIDDEN = 2 };

struct pons_eval_stream {
    pons_model_config config;
    pons_runtime runtime;
    bool bf16;
    int64_t windows, length;
    int idle;           /* ranks below it have no windows */
    int64_t begin, end; /* windows of this rank */
    int32_t *ids;       /* [end - begin, length] */
    float *h;           /* [end - begin, length, hidden] */
    float *x;           /* [length, pons_block_width] */
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
    pons_mem_free(s->x);
    pons_mem_free(s->h);
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
                         "windows of %lld tokens predict nothing; at least 2 are needed",
                         (long long)length);
    if (windows < 1) return pons_fail(PONS_ERR_INPUT, "there are no windows to evaluate");
    for (int64_t i = 0; ids && i < windows * length; i++)
        if (ids[i] < 0 || ids[i] >= config->vocab)
            return pons_fail(PONS_ERR_INPUT,
                             "token %lld has id %d, outside the model's vocabulary of %lld",
                             (long long)i, ids[i], (long long)config->vocab);
    PONS_CALLOC(st, s, 1);
    s->begin = begin;
    s->end = begin + local;
    PONS_ALLOC(st, s->ids, local * length);
    PONS_ALLOC(st, s->h, local * length * config->hidden);
    PONS_ALLOC(st, s->x, local ? length * pons_block_width(config) : 0);
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
    int64_t floats = s->length * s->config.hidden;
    size_t id_bytes = (size_t)s->length * sizeof *ids, bytes = (size_t)floats * sizeof *window;
    for (int owner = 0; owner < size; owner++) {
        int64_t begin = first_window(s->windows, size, s->idle, owner);
        int64_t end = first_window(s->windows, size, s->idle, owner + 1);
        for (int64_t w = begin; w < end; w++) {
            int32_t *own_ids = owner == rank ? s->ids + (w - begin) * s->length : NULL;
            float *own = owner == rank ? s->h + (w - begin) * floats : NULL;
            if (rank == 0) {
                const int32_t *source = ids + w * s->length;
                float *to = own ? own : window;
                if (st == PONS_OK) st = embed(user, source, s->length, to);
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
    s->runtime = *runtime;
    s->bf16 = bf16;
    s->idle = idle;
    s->windows = windows;
    s->length = length;
    PONS_TRY_ALL(st, comm, embed_windows(s, comm, ids, embed, user, window));
    s->seconds = pons_clock() - start;
    *out = s;
    s = NULL;
done:
    pons_mem_free(window);
    pons_eval_stream_destroy(&s);
    return st;
}

float *pons_eval_stream_hidden(pons_eval_stream *s, int64_t *begin, int64_t *end, int64_t *floats)
{
    *begin = s->begin;
    *end = s->end;
    *floats = s->length * s->config.hidden;
    return s->h;
}

pons_status pons_eval_stream_block(pons_eval_stream *s, const pons_block *block)
{
    pons_status st = PONS_OK;
    double start = pons_clock();
    for (int64_t w = 0; w < s->end - s->begin; w++) {
        float *h = s->h + w * s->length * s->config.hidden;
        PONS_TRY(st, pons_stop_check());
        for (int stage = 0; stage < PONS_STAGES; stage++)
            PONS_TRY(st, pons_block_stage(block, &s->runtime, stage, s->length, h, s->x));
    }
    s->seconds += pons_clock() - start;
done:
    return st;
}

/* Sums of the cross-entropies of the local windows over their length - 1 predicted tokens. */
static pons_status local_sums(const pons_eval_stream *s, const pons_eval_head *head, double *sum)
{
    pons_status st = PONS_OK;
    int64_t predicted = s->length - 1;
    double *loss = NULL;
    pons_progress progress = {0};
    PONS_ALLOC(st, loss, predicted);
    pons_progress_begin(&progress, "perplexity: windows", s->end - s->begin);
    for (int64_t w = 0; w < s->end - s->begin; w++) {
        PONS_TRY(st, pons_eval_head_losses(head, predicted, s->h + w * s->length * s->config.hidden,
                                           s->ids + w * s->length + 1, loss));
        sum[s->begin + w] = 0;
        for (int64_t t = 0; t < predicted; t++)
            sum[s->begin + w] += loss[t];
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
    for (int64_t w = 0; w < s->windows; w++) {
        double mean = sum[w] / (double)(s->length - 1);
        if (!isfinite(mean))
            return pons_fail(PONS_ERR_NUMERIC,
                             "perplexity: the cross-entropy of window %lld of %lld is %f",
                             (long long)w + 1, (long long)s->windows, mean);
        total += mean;
    }
    *perplexity = exp(total / (double)s->windows);
    if (!isfinite(*perplexity))
        return pons_fail(PONS_ERR_NUMERIC,
                         "perplexity: exp of the mean cross-entropy %g is too large for a double",
                         total / (double)s->windows);
    return PONS_OK;
}

static pons_status prepare_sums(const pons_eval_stream *s, int size, double **sum, size_t **offset)
{
    pons_status st = PONS_OK;
    PONS_CALLOC(st, *sum, s->windows);
    PONS_ALLOC(st, *offset, size + 1);
    for (int r = 0; r <= size; r++)
        (*offset)[r] = (size_t)first_window(s->windows, size, s->idle, r) * sizeof **sum;
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
    PONS_TRY(st, pons_eval_head_create(comm, &s->config, s->bf16, s->begin < s->end, gain, read,
                                       user, &head));
    PONS_TRY_ALL(st, comm, local_sums(s, head, sum));
    pons_comm_allgather_parts(comm, sum, offset);
    PONS_TRY(st, reduce_sums(s, sum, &perplexity));
    s->seconds += pons_clock() - start;
    *out = (pons_perplexity){.perplexity = perplexity,
                             .seconds = s->seconds,
                             .windows = s->windows,
                             .tokens = s->windows * s->length};
done:
    pons_eval_head_destroy(&head);
    pons_mem_free(offset);
    pons_mem_free(sum);
    return st;
}
