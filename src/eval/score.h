/**
 * Log-likelihoods of the ends of sequences of any length, by streaming: sequences are packed into
 * windows, the windows go through one block at a time, distributed over ranks; no rank holds the
 * model.
 */
#ifndef PONS_EVAL_SCORE_H
#define PONS_EVAL_SCORE_H

#include "model/model.h"
#include "par/comm.h"

/** Token sequences, the same on every rank. The arrays belong to the caller. */
typedef struct pons_sequences {
    int64_t count;
    int64_t *begin;  /* [count + 1] first token of each; sequences have at least 2 */
    int64_t *scored; /* [count] tokens at its end that are scored, at least 1, not all */
    int32_t *ids;    /* [begin[count]] */
} pons_sequences;

/**
 * log_likelihood[i] = sum over the scored tokens of sequence i of the log of their probability
 * given those before them, in fp64 from fp32 logits. Collective on comm.
 *
 * Bits do not depend on the number of ranks. The model is read once for every 2 GiB of hidden
 * states on a rank.
 * @param model opened on every rank
 * @param weights_only ignore the recorded activation and KV settings (online transforms stay)
 * @param bf16 products in bf16
 * @param log_likelihood [count], filled on every rank
 * @return the same on every rank: PONS_ERR_INPUT (an id outside the vocabulary), PONS_ERR_NUMERIC
 * naming the first sequence whose result is NaN or infinite, PONS_ERR_NOMEM, or what
 * pons_model_read_* return.
 */
pons_status pons_eval_score(pons_comm *comm, const pons_model *model,
                            const pons_sequences *sequences, bool weights_only, bool bf16,
                            double *log_likelihood);

#endif
