/**
 * rotation.learn: rotations that are learned from the first calibration windows in place of the drawn ones.
 * Internal to pipeline.
 */
#ifndef PONS_PIPELINE_LEARN_H
#define PONS_PIPELINE_LEARN_H

#include "pipeline/account.h"
#include "pipeline/context.h"
#include "pipeline/rundir.h"
#include "pipeline/team.h"

/**
 * Replace the drawn rotations by learned ones, and write them to RUN/R.bin; a resumed run reads them
 * there. Collective. The same bits for any number of ranks and threads.
 * @param ids rank 0: [rotation.learn_windows or more, length]
 * Memory: an embedded window and 48 vectors of the residual stream for each norm, per window of this
 * rank; one block; rotate/learn.h. Cost: a dense forward pass over the windows and rotate/learn.h.
 */
pons_status pons_learn_rotation(pons_context *context, const pons_team *team,
                                const pons_rundir *run, pons_account *account, const int32_t *ids);

#endif
