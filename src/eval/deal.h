/**
 * Items that are read by one rank and used by all: tensors of a block, panels of the head.
 *
 * Item i is read by rank i mod P; the ranks read P items at the same time and then broadcast them
 * one after the other, so that reading (and whatever the reader does, such as rotating) is shared
 * and no rank holds more than two items.
 */
#ifndef PONS_EVAL_DEAL_H
#define PONS_EVAL_DEAL_H

#include "par/comm.h"

/** Fill item i into `out`. Local: called on the rank that reads the item, on no other. */
typedef pons_status (*pons_deal_read)(void *user, int64_t item, float *out);

/** Use item i; `data` is borrowed for the call. Local: called on every rank, items ascending. */
typedef pons_status (*pons_deal_take)(void *user, int64_t item, const float *data);

/**
 * Read every item once and broadcast it to all ranks. Collective on comm.
 * @param count [items] floats of each item, the same on every rank
 * @return the status agreed on by all ranks: the first failure of a reader or a taker, or
 * PONS_ERR_NOMEM. Memory: two buffers of the largest item.
 */
pons_status pons_eval_deal_items(pons_comm *comm, int64_t items, const int64_t *count,
                                 pons_deal_read read, pons_deal_take take, void *user);

#endif
