/**
 * Targets that know what the compressed model feeds its linears: a second calibration stream runs through
 * the block with the model's own weights, and the rows of a linear are moved to where they repair most of
 * the distance between the two (obr/target.h). Internal to pipeline.
 *
 * Held-out windows, which no sum has seen, tell what a target is worth: a linear whose target leaves much
 * more error there than its dense weights is warned of and goes part of the way. Bits depend neither on ranks nor on
 * threads.
 */
#ifndef PONS_PIPELINE_TARGET_H
#define PONS_PIPELINE_TARGET_H

#include "pipeline/linear.h"

/** The dense stream of this rank's windows. Opaque. */
typedef struct pons_targets pons_targets;

/**
 * Start the dense stream from the embedded windows. Local.
 * @return PONS_OK or PONS_ERR_NOMEM. Memory: as the calibration stream, its residual stream once more, and one more x
 * of a window.
 */
pons_status pons_targets_create(pons_job *job);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_targets_destroy(pons_targets **targets);

/** Begin a block with its two norm gains, [hidden] each one after the other. Local.
 * @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_targets_begin_block(pons_job *job, int64_t layer, const float *norms);

/** Run the dense stream up to the input of a group, then give its block the group's weights, which the
 * works hold as read. Collective. */
pons_status pons_targets_follow(pons_job *job, pons_group group,
                                pons_linear_work works[PONS_LINEARS]);

/**
 * Replace the own rows of every linear of a group by their targets, for the inputs that both streams hold
 * now; set each work's held-out ratio and the share of the step that was taken. Collective.
 * Memory: the cross Hessian in f64, d x d, for o_proj and down_proj [hidden, d]; two d x d f32, there one; with held-out
 * windows the group's weights and steps, whole and prepared. Cost: 2 S d^2 flop a window, there 4 S hidden d, for the cross
 * Hessian, 6 S rows d a held-out window, 6 d^2 a row, there 4 d^2.
 */
pons_status pons_targets_aim(pons_job *job, pons_group group, const pons_hessian_factor *factor,
                             pons_linear_work works[PONS_LINEARS]);

/** The last stage of the dense stream's block. Local. */
pons_status pons_targets_end_block(pons_job *job);

/** The dense stream through a block that an earlier process has compressed. Collective. */
pons_status pons_targets_replay(pons_job *job, int64_t layer);

/** Residual stream of the own windows, [local windows, length, hidden]. Borrowed. Local. */
float *pons_targets_hidden(pons_targets *targets);

#endif
