/**
 * One block of a model on disk, as stored, on every rank.
 */
#ifndef PONS_EVAL_LOAD_BLOCK_H
#define PONS_EVAL_LOAD_BLOCK_H

#include "calib/block.h"
#include "par/comm.h"

/**
 * Read a block's linears, biases, norm gains and learned transforms and set them into `block`. Collective on comm:
 * linear i is read by rank i mod P and broadcast.
 * @param block empty block of that layer, created on every rank
 * @return the same status on every rank: what pons_model_read_* and pons_block_set_* return.
 * Memory: two of the largest linear in fp32.
 */
pons_status pons_eval_load_block(pons_comm *comm, const pons_model *model, int64_t layer,
                                 pons_block *block);

#endif
