/**
 * One group of linears from its Hessian to its compressed values: what a single block and a block of a
 * wave do alike. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_GROUP_H
#define PONS_PIPELINE_GROUP_H

#include "pipeline/factor.h"
#include "pipeline/open_block.h"
#include "pipeline/target.h"

/**
 * Read to compressed, the linears of a group: for each input the factor, the targets, the rows.
 * Collective. @param targets NULL: the linears' own weights; @param file NULL, or where Hessians are
 * kept, too
 */
pons_status pons_group_compress(const pons_context *context, const pons_team *team,
                                pons_account *account, pons_group group,
                                pons_hessian_source *source, pons_targets *targets,
                                pons_hessian_file *file, pons_open_block *block);

/** Give the block the compressed values of a group, whose linears are then kept. Collective. */
pons_status pons_group_set(const pons_context *context, const pons_team *team, pons_group group,
                           pons_open_block *block);

#endif
