/**
 * Committing blocks behind the work on those that follow. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_COMMIT_H
#define PONS_PIPELINE_COMMIT_H

#include "pipeline/linear.h"

/**
 * Give a compressed block to be committed: its shard to disk under its name, then its journal line, on a
 * thread of rank 0; it is the only one on its way. Collective.
 * @param works what the shard takes, norms [2 hidden] in counted memory: taken over on rank 0, which
 * finds them empty and NULL; elsewhere not looked at
 * @return the same on every rank; also the failure of the block before.
 */
pons_status pons_job_hand_over(pons_job *job, int64_t layer, pons_linear_work works[PONS_LINEARS],
                               float **norms, double seconds);

/** Wait until every block that was handed over is committed: job->done = job->next. Collective. */
pons_status pons_job_settle(pons_job *job);

/** After a failure: wait for the block on its way, which counts if it got there; the sentence of the
 * failure stays. Collective. */
void pons_job_let_settle(pons_job *job);

#endif
