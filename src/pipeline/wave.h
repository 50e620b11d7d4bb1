/**
 * Compressing several blocks side by side, by teams. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_WAVE_H
#define PONS_PIPELINE_WAVE_H

#include "pipeline/rundir.h"
#include "pipeline/streams.h"

/** The blocks of the wave that begins with block `first`; those that an earlier process has committed stay
 * as they are. Collective. @param team all ranks */
pons_status pons_wave_compress(const pons_context *context, const pons_team *team,
                               const pons_teams *teams, pons_rundir *run, pons_account *account,
                               pons_streams *streams, int64_t first);

#endif
