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

#include "calib/block.h"
#include "calib/stream.h"
#include "hessian/cross.h"
#include "hessian/factor.h"
#include "pipeline/linear.h"

/** The two streams of the targets, and work of a window. Opaque. */
typedef struct pons_targets pons_targets;

/**
 * @param compressed, dense streams with the same own windows; borrowed until it is destroyed. Local.
 * @return PONS_OK or PONS_ERR_NOMEM. Memory: the hidden states of the summed windows once more, and those
 * and the inputs of one window.
 */
pons_status pons_targets_create(const pons_context *context, const pons_stream *compressed,
                                const pons_stream *dense, pons_targets **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_targets_destroy(pons_targets **targets);

/** The block that the dense stream goes through: it has the model's own weights of a group while the
 * group's windows are added and its targets made. Borrowed. Local. */
void pons_targets_set_block(pons_targets *targets, const pons_block *dense);

/** Empty sum of a group's targets. Local. @return PONS_OK or PONS_ERR_NOMEM. Memory: of the cross Hessian
 * in f64, d x d, for o_proj and down_proj [hidden, d]. */
pons_status pons_targets_create_sum(const pons_targets *targets, int tap, pons_cross **out);

/** What is done with a window; hessian/cross.h. */
typedef enum pons_cross_visit {
    PONS_CROSS_OBSERVE,
    PONS_CROSS_ADD,
    PONS_CROSS_ADD_AGAIN /* as it was when it was observed, by this object */
} pons_cross_visit;

/** Observe or add an own window whose inputs of a group both streams hold now. Local. @return as
 * pons_cross_observe, pons_cross_accumulate. Cost: 2 S d^2 flop, for o_proj and down_proj 4 S hidden d. */
pons_status pons_targets_add_window(pons_targets *targets, int tap, int64_t local,
                                    pons_cross_visit step, pons_cross *sum);

/**
 * Replace the own rows of every read linear of a group by their targets; set its held-out ratio, for the
 * inputs of held-out windows that both streams hold now, and the share of the step that was taken.
 * Collective.
 * @param sum of the windows of each rank, which is reduced here; NULL: made here, of streams that keep the
 * inputs of all windows
 * Memory: two d x d f32, for o_proj and down_proj one; with held-out windows the group's steps, whole and
 * prepared. Cost: 6 S rows d a held-out window, 6 d^2 a row, for o_proj and down_proj 4 d^2.
 */
pons_status pons_targets_aim(pons_targets *targets, const pons_team *team, pons_account *account,
                             int tap, const pons_hessian_factor *factor, pons_cross *sum,
                             pons_block_linear *linears);

#endif
