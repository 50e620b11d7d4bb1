/**
 * Targets that know what the compressed model feeds its linears: a second calibration stream runs through
 * the block with the model's own weights, and the rows of a linear are moved to where they repair most of
 * the distance between the two (obr/target.h). Internal to pipeline.
 *
 * Held-out windows, which no sum has seen, tell what a target is worth: a linear whose target leaves much
 * more error there than its dense weights is warned of and goes part of the way. Bits depend neither on
 * ranks nor on threads.
 */
#ifndef PONS_PIPELINE_TARGET_H
#define PONS_PIPELINE_TARGET_H

#include "calib/stream.h"
#include "hessian/factor.h"
#include "pipeline/linear.h"

/** The dense stream's block, and work of a window. Opaque. */
typedef struct pons_targets pons_targets;

/**
 * @param compressed, dense streams with the same own windows that keep the inputs of all of them;
 * borrowed until it is destroyed. Local. @return PONS_OK or PONS_ERR_NOMEM. Memory: the hidden states of
 * the summed windows once more, and those and the inputs of one window.
 */
pons_status pons_targets_create(const pons_context *context, const pons_stream *compressed,
                                const pons_stream *dense, pons_targets **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_targets_destroy(pons_targets **targets);

/** Begin a block, empty of linears, with its norms [2 hidden]. Local. @return PONS_OK or
 * PONS_ERR_NOMEM. */
pons_status pons_targets_begin_block(pons_targets *targets, int64_t layer, const float *gains);

/** The block that the dense stream goes through. Borrowed. Local. */
const pons_block *pons_targets_block(const pons_targets *targets);

/** Give it the weights of a group, which the linears hold as read. Collective. */
pons_status pons_targets_take_weights(pons_targets *targets, const pons_team *team, int tap,
                                      const pons_block_linear *linears);

/**
 * Replace the own rows of every read linear of a group by their targets, for the inputs that both streams
 * hold now; set its held-out ratio and the share of the step that was taken. Collective.
 * Memory: the cross Hessian in f64, d x d, for o_proj and down_proj [hidden, d]; two d x d f32, there one;
 * with held-out windows the group's weights and steps, whole and prepared. Cost: 2 S d^2 flop a window,
 * there 4 S hidden d, for the cross Hessian, 6 S rows d a held-out window, 6 d^2 a row, there 4 d^2.
 */
pons_status pons_targets_aim(pons_targets *targets, const pons_team *team, pons_account *account,
                             int tap, const pons_hessian_factor *factor,
                             pons_block_linear *linears);

#endif
