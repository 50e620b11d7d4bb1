/**
 * Inputs of a block that have a Hessian each: one for every group of linears, or one for every linear
 * where each quantizes the group's input its own way. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_INPUT_H
#define PONS_PIPELINE_INPUT_H

#include "calib/block.h"

/** Linears whose weights meet the same tokens. */
typedef struct pons_input {
    pons_group group;
    int linear; /* -1: all of the group */
} pons_input;

static inline bool pons_input_has(const pons_input *input, pons_linear linear)
{
    return input->linear < 0 ? pons_linear_group(linear) == input->group
                             : (int)linear == input->linear;
}

/** "qkv", "q_proj", for messages and files. Local. */
static inline const char *pons_input_name(const pons_input *input)
{
    return input->linear < 0 ? pons_group_name(input->group)
                             : pons_linear_short_name((pons_linear)input->linear);
}

/** The inputs of a group, [PONS_LINEARS] out. Local. @return their number */
static inline int pons_input_list(const pons_runtime *runtime, pons_group group, pons_input *out)
{
    int n = 0;
    if (pons_block_shares_input(runtime)) out[n++] = (pons_input){group, -1};
    for (int i = 0; i < PONS_LINEARS && !pons_block_shares_input(runtime); i++)
        if (pons_linear_group((pons_linear)i) == group) out[n++] = (pons_input){group, i};
    return n;
}

#endif
