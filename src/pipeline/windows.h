/**
 * From texts to streams: tokens, windows, the fingerprint of what a run depends on. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_WINDOWS_H
#define PONS_PIPELINE_WINDOWS_H

#include "pipeline/rundir.h"
#include "pipeline/streams.h"

/** Tokenize and draw the windows, take the fingerprint and check it against the journal of a resumed run,
 * learn the rotation, fill the streams. Collective. */
pons_status pons_windows_load(pons_context *context, const pons_team *team, const pons_teams *teams,
                              pons_rundir *run, pons_account *account, pons_streams *streams);

#endif
