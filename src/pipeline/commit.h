/**
 * Committing blocks behind the work on those that follow. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_COMMIT_H
#define PONS_PIPELINE_COMMIT_H

#include "pipeline/open_block.h"
#include "pipeline/rundir.h"

/**
 * Give a compressed block to be committed: its file in RUN/blocks, then its journal line, on a thread of
 * rank 0; it is the only one on its way. Collective.
 * @param block its kept linears and its gains are taken over on rank 0, which finds it empty but for the
 * pons_block; elsewhere not looked at
 * @return the same on every rank; also the failure of the block before.
 */
pons_status pons_commit_block(const pons_context *context, const pons_team *team, pons_rundir *run,
                              pons_account *account, pons_open_block *block);

/** Wait until every block that was handed over is committed: run->done = run->next. Collective. */
pons_status pons_commit_settle(const pons_team *team, pons_rundir *run, pons_account *account);

/** After a failure: wait for the block on its way, which counts if it got there; the sentence of the
 * failure stays. Collective. */
void pons_commit_settle_after_failure(const pons_team *team, pons_rundir *run,
                                      pons_account *account);

#endif
