/**
 * The linears of one tap from their Hessian to their compressed values: what a single block and a block of a
 * wave do alike. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_GROUP_H
#define PONS_PIPELINE_GROUP_H

#include "pipeline/factor.h"
#include "pipeline/open_block.h"
#include "pipeline/target.h"

/** What the linears are to reproduce. */
typedef struct pons_group_targets {
    pons_targets *targets; /* NULL: their own weights */
    pons_cross **sum;      /* [taps] as pons_targets_aim takes them; NULL: made of the streams */
} pons_group_targets;

/**
 * Read to compressed, the linears of a tap: for each input the factor, the targets, the rows.
 * Collective. @param file NULL, or where Hessians are kept, too
 */
pons_status pons_group_compress(const pons_context *context, const pons_team *team,
                                pons_account *account, int tap, pons_hessian_source *source,
                                const pons_group_targets *targets, pons_hessian_file *file,
                                pons_open_block *block);

/** Give the block the compressed values of a tap's linears, which are then kept. Collective. */
pons_status pons_group_set(const pons_context *context, const pons_team *team, int tap,
                           pons_open_block *block);

#endif
