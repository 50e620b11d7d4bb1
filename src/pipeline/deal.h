/**
 * Calibration windows to the ranks that hold them. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_DEAL_H
#define PONS_PIPELINE_DEAL_H

#include "calib/stream.h"
#include "eval/perplexity.h"
#include "pipeline/team.h"

/**
 * Embed the windows of calibration ids and give each to the rank that holds it, by
 * pons_team_window_begin and pons_team_held_begin. Collective. Memory: one window on rank 0.
 * @param ids rank 0: [summed + held-out windows, length]; @param held_out their number over all ranks
 * @param embed called with `user` on rank 0; @param stream of these windows, whose h is filled
 */
pons_status pons_deal_windows(const pons_team *team, const int32_t *ids, int64_t held_out,
                              pons_embed embed, void *user, pons_stream *stream);

#endif
