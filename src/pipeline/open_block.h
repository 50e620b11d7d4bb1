/**
 * A block between its dense weights and its file. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_OPEN_BLOCK_H
#define PONS_PIPELINE_OPEN_BLOCK_H

#include "pipeline/linear.h"

typedef struct pons_open_block {
    int64_t layer;
    pons_block *block; /* what windows go through; NULL on a rank that only commits */
    float *gains;      /* [pons_gain_floats] as the output holds them */
    const pons_arch *arch;
    pons_block_linear *linears; /* [arch->linears] listed at first */
    double seconds;             /* of its compression */
} pons_open_block;

/** A block with its norms, transforms and listed linears. Local. Destroy it also after a failure. */
pons_status pons_open_block_create(const pons_context *context, const pons_team *team,
                                   int64_t layer, pons_open_block *block);

/** The same with room for kept linears, and nothing for windows to go through. Local. */
pons_status pons_open_block_reserve(const pons_context *context, const pons_team *team,
                                    int64_t layer, pons_open_block *block);

/** Free what it holds. Accepts a block of zeros. Local. */
void pons_open_block_destroy(pons_open_block *block);

#endif
