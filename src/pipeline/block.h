/**
 * Compressing one block, group by group as its windows reach them. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_BLOCK_H
#define PONS_PIPELINE_BLOCK_H

#include "calib/walk.h"
#include "pipeline/group.h"

/** What a block is compressed with besides the job's context. */
typedef struct pons_block_work {
    pons_hessian_source source;
    pons_group_targets targets;
    const char *keep; /* path of RUN where Hessians are kept there, else NULL */
    pons_block
        *dense; /* that a lane of dense weights goes through, empty at first; NULL: none does */
    bool
        all_dense; /* the lanes see the model's own weights to the end; the block has them already */
    int lanes;     /* streams that walk through the block, with their blocks */
    pons_lane lane[2];
} pons_block_work;

/**
 * Walk the lanes through an open block; at the input of each group its linears are read, compressed and
 * set in block->block. Collective on the team.
 * @param block created; then its linears are kept and `seconds` is set
 */
pons_status pons_block_compress(const pons_context *context, const pons_team *team,
                                pons_account *account, pons_block_work *work,
                                pons_open_block *block);

#endif
