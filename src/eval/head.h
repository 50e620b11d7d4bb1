/**
 * The end of a model: last norm and lm_head, from hidden states to the loss of each token.
 */
#ifndef PONS_EVAL_HEAD_H
#define PONS_EVAL_HEAD_H

#include "model/model.h"
#include "par/comm.h"

/** Rows [row, row + n) of the head into out [n, hidden]. Local: called on every rank for its share
 * of the rows, which are then broadcast. */
typedef pons_status (*pons_read_rows)(void *user, int64_t row, int64_t n, float *out);

typedef struct pons_eval_head pons_eval_head;

/**
 * Read the head on all ranks together, each row once, and prepare it where it is needed.
 * Collective on comm.
 * @param config, bf16 the same on every rank; bf16: products in bf16
 * @param needed whether this rank will ask for losses
 * @param gain final norm gain [hidden] (copied), or NULL for ones
 * @return the same on every rank: PONS_ERR_NOMEM, or what read returns. Memory: 4 bytes an entry of
 * the head (2 in bf16) where it is needed, elsewhere a panel.
 */
pons_status pons_eval_head_create(pons_comm *comm, const pons_model_config *config, bool bf16,
                                  bool needed, const float *gain, pons_read_rows read, void *user,
                                  pons_eval_head **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_eval_head_destroy(pons_eval_head **head);

/**
 * loss[t] = -log softmax(logits of token t)[target[t]]. Local.
 * @param h [T, hidden] residual stream after the last block; @param target [T] below the vocabulary
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: h twice and 12 bytes for every 256 logits.
 */
pons_status pons_eval_head_losses(const pons_eval_head *head, int64_t T, const float *h,
                                  const int32_t *target, double *loss);

#endif
