/**
 * The end of a job. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_FINISH_H
#define PONS_PIPELINE_FINISH_H

#include "pipeline/rundir.h"
#include "pipeline/streams.h"

/** Perplexities and RUN/model, unless the run is complete; then OUT. Collective. */
pons_status pons_finish(const pons_context *context, const pons_team *team, pons_rundir *run,
                        pons_account *account, pons_streams *streams);

#endif
