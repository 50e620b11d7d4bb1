/**
 * prune.allocate: budget. Before the first block is compressed, a pass of the dense model over the
 * calibration windows measures what pruning would cost where, and one Lagrangian over all linears
 * (prune/allocate.h) gives each its own sparsity, and bits with weights.allocate_bits, at the same total.
 * Internal to pipeline.
 */
#ifndef PONS_PIPELINE_ALLOCATE_H
#define PONS_PIPELINE_ALLOCATE_H

#include "calib/stream.h"
#include "pipeline/account.h"
#include "pipeline/rundir.h"
#include "pipeline/team.h"

/**
 * Set context->choice: from the journal of a resumed run, else by the pass, which is then written there.
 * Nothing for prune.allocate: uniform. Collective.
 *
 * The damage of a linear at a sparsity and number of bits is the relative error that the recipe's mask
 * (obs in place of admm and dual_swap) and the published halves make on some of its rows there, with the
 * dense model's Hessian, times how much of a relative error at its output shows in the residual stream
 * after its block. The pass runs over the first windows only, 8 tokens for each column of the widest
 * linear, which it deals to all ranks, and leaves the job's own stream alone.
 * @param stream embedded windows
 * Cost: Hessians and forward pass of those windows; per linear 3 times 64 rows compressed, for each number
 * of bits, and a block run over one window. Memory: those windows' hidden states and inputs; on every
 * rank the weights of a block, one of its linears once more, and four hidden states or inputs of a window.
 */
pons_status pons_allocate_budget(pons_context *context, const pons_team *team, pons_rundir *run,
                                 pons_account *account, const pons_stream *stream);

#endif
