/**
 * Perplexity by streaming: every window's hidden state goes through one block at a time, windows
 * distributed over ranks; no rank holds the model. Source: specification 6 (mean over windows of
 * the mean
 * cross-entropy of length - 1 predicted tokens).
 */
#ifndef PONS_EVAL_PERPLEXITY_H
#define PONS_EVAL_PERPLEXITY_H

#include "calib/walk.h"
#include "eval/head.h"
#include "par/comm.h"

typedef struct pons_perplexity {
    double perplexity;
    double seconds;          /* this rank's, spent in the functions below */
    int64_t windows, tokens; /* tokens read: windows * length */
} pons_perplexity;

/** Hidden states of windows between two blocks of the model, with one runtime (dense, weights-only,
 * or
 * quantized activations). Opaque. */
typedef struct pons_eval_stream pons_eval_stream;

/** Rows of the embedding for n ids into out [n, hidden]. Local: called on rank 0 alone. */
typedef pons_status (*pons_embed)(void *user, const int32_t *ids, int64_t n, float *out);

/**
 * Embed the windows: consecutive, non-overlapping, from the first token. Collective on comm; the
 * windows are distributed over ranks in contiguous shares, rank 0 embeds them one by one and sends
 * them
 * to their owners.
 * @param config, runtime, bf16, windows, length the same on every rank; config and runtime are
 * copied
 * @param ids [windows * length] on rank 0 (ignored elsewhere)
 * @param bf16 products of the head in bf16 (the blocks know their own)
 * @param idle ranks below this one get no windows; less than the size of comm
 * @return the same on every rank: PONS_ERR_INPUT (an id outside the vocabulary, length below 2, no
 * windows), PONS_ERR_NOMEM, or what embed returns. Memory: length (hidden + 1) floats per window of
 * this rank, one window more on rank 0, and length * pons_block_width floats.
 */
pons_status pons_eval_stream_create(pons_comm *comm, const pons_model_config *config,
                                    const pons_runtime *runtime, bool bf16, int idle,
                                    const int32_t *ids, int64_t windows, int64_t length,
                                    pons_embed embed, void *user, pons_eval_stream **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_eval_stream_destroy(pons_eval_stream **stream);

/** This rank's windows, whose hidden states may be saved or restored between blocks. Borrowed. Local. */
pons_stream *pons_eval_stream_windows(pons_eval_stream *stream);

/** Push every local window through a block. Local: the status is to be agreed on by the caller. */
pons_status pons_eval_stream_block(pons_eval_stream *stream, const pons_block *block);

/**
 * Final norm and head, cross-entropy. Collective on comm; the result is on every rank, with the
 * same bits for any rank count (except the seconds).
 * @param gain final norm gain [hidden], given on every rank, or NULL for ones
 * @param read rows of the head [vocab, hidden], valid on every rank
 * @return the same on every rank: PONS_ERR_NUMERIC naming the first window whose cross-entropy is
 * NaN or infinite, PONS_ERR_NOMEM, or what read returns. Memory: the head (4 bytes an entry, 2 in
 * bf16), 12 bytes for every 256 logits of a window and its hidden states once more, on ranks that
 * have windows.
 */
pons_status pons_eval_stream_finish(pons_eval_stream *stream, pons_comm *comm, const float *gain,
                                    pons_read_rows read, void *user, pons_perplexity *out);

/**
 * Perplexity of a model on disk. Collective on comm; a rank holds one block at a time.
 * @param model opened on every rank
 * @param ids [count] on rank 0, ids and count ignored elsewhere
 * @param windows 0: as many as fit; @param length tokens of a window, at least 2
 * @param weights_only ignore the recorded activation and KV settings (online transforms stay)
 * @param bf16 products in bf16, the head's too
 * @return the same on every rank: PONS_ERR_INPUT when fewer than `windows` windows (or none) fit;
 * else as the functions above and pons_model_read_*.
 */
pons_status pons_eval_perplexity(pons_comm *comm, const pons_model *model, const int32_t *ids,
                                 int64_t count, int64_t windows, int64_t length, bool weights_only,
                                 bool bf16, pons_perplexity *out);

#endif
