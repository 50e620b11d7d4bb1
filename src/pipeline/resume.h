/**
 * Going on where an earlier process stopped. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_RESUME_H
#define PONS_PIPELINE_RESUME_H

#include "pipeline/rundir.h"
#include "pipeline/streams.h"

/** Bring a resumed job to where its last committed block left it; a new one to its first journal line.
 * Collective. */
pons_status pons_resume(const pons_context *context, const pons_team *team, const pons_teams *teams,
                        pons_rundir *run, pons_account *account, pons_streams *streams);

/** OUT is complete: recall the sums of its blocks from the journal. Rank 0. Local. */
pons_status pons_resume_written(const pons_context *context, pons_rundir *run,
                                pons_account *account);

/** Whether all blocks and RUN/model are there, so that only OUT is to be made: run->complete, with the
 * sums of the blocks. Rank 0. Local. Cost: reads the blocks. */
pons_status pons_resume_complete(const pons_context *context, pons_rundir *run,
                                 pons_account *account);

#endif
