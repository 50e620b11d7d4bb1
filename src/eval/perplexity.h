/**
 * Perplexity by streaming: every window's hidden state goes through one block at a time, windows
 * dealt over ranks; no rank holds the model. Source: specification 6 (mean over windows of the mean
 * cross-entropy of length - 1 predicted tokens).
 */
#ifndef PONS_EVAL_PERPLEXITY_H
#define PONS_EVAL_PERPLEXITY_H

#include "calib/block.h"
#include "par/comm.h"

typedef struct pons_perplexity {
    double perplexity, seconds;
    int64_t windows, tokens; /* tokens read: windows * length */
} pons_perplexity;

/** A set of windows on their way through the model with one runtime (dense, weights-only, or
 * quantized activations). Opaque. */
typedef struct pons_eval_stream pons_eval_stream;

/**
 * Embed the windows: consecutive, non-overlapping, from the first token. Collective on comm;
 * windows are dealt over ranks.
 * @param ids [windows * length] on rank 0 (ignored elsewhere); embed fills rows for ids on rank 0
 */
typedef pons_status (*pons_embed)(void *user, const int32_t *ids, int64_t n, float *out);
pons_status pons_eval_stream_create(pons_comm *comm, const pons_model_config *config,
                                    const pons_runtime *runtime, bool bf16, const int32_t *ids,
                                    int64_t windows, int64_t length, pons_embed embed, void *user,
                                    pons_eval_stream **out);
void pons_eval_stream_destroy(pons_eval_stream **stream);

/** Push every local window through a block. Local. */
pons_status pons_eval_stream_block(pons_eval_stream *stream, const pons_block *block);

/**
 * Final norm and head, cross-entropy. Collective on comm; the result is on every rank, with the
 * same bits for any rank count.
 * @param gain final norm gain or NULL for ones; @param head [vocab, hidden] rows are read through
 * `read` in panels
 */
typedef pons_status (*pons_read_rows)(void *user, int64_t row, int64_t n, float *out);
pons_status pons_eval_stream_finish(pons_eval_stream *stream, pons_comm *comm, const float *gain,
                                    pons_read_rows read, void *user, pons_perplexity *out);

/**
 * Perplexity of a model on disk. Collective on comm.
 * @param ids [count] on rank 0; @param windows 0: as many as fit; @param weights_only ignore the
 * recorded activation and KV settings
 * @return PONS_ERR_INPUT when fewer than `windows` windows fit.
 */
pons_status pons_eval_perplexity(pons_comm *comm, const pons_model *model, const int32_t *ids,
                                 int64_t count, int64_t windows, int64_t length, bool weights_only,
                                 bool bf16, pons_perplexity *out);

#endif
