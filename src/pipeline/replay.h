/**
 * Windows through blocks that are committed already. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_REPLAY_H
#define PONS_PIPELINE_REPLAY_H

#include "pipeline/streams.h"

/** The streams through a committed block of state directory `run`, the dense one through the model's own.
 * Collective. @param calibration false: the evaluation streams alone */
pons_status pons_replay_block(const pons_context *context, const pons_team *team, const char *run,
                              pons_account *account, pons_streams *streams, int64_t layer,
                              bool calibration);

#endif
