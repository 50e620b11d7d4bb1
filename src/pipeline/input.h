/**
 * Inputs of a block that have a Hessian each: one for every tap, or one for every linear
 * where each quantizes the tap's input its own way. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_INPUT_H
#define PONS_PIPELINE_INPUT_H

#include "calib/block.h"

/** Linears whose weights meet the same tokens. */
typedef struct pons_input {
    int tap;
    int linear;       /* -1: all of the tap */
    int index;        /* its linear, or the first one of the tap */
    const char *name; /* "qkv", "q_proj", for messages and files */
} pons_input;

/** Before the first one. */
#define PONS_INPUT_NONE ((pons_input){.index = -1})

/** The next input of a tap, from PONS_INPUT_NONE on. Local. @return whether there is one */
static inline bool pons_input_next(const pons_arch *arch, const pons_runtime *runtime, int tap,
                                   pons_input *input)
{
    int i = input->index + 1;
    bool shared = pons_block_shares_input(runtime);
    while (i < arch->linears && arch->linear[i].tap != tap)
        i++;
    if (i == arch->linears || (shared && input->index >= 0)) return false;
    if (shared)
        *input = (pons_input){tap, -1, i, arch->tap[tap].name};
    else
        *input = (pons_input){tap, i, i, arch->linear[i].short_name};
    return true;
}

/** The input of all linears of a tap. Local. */
static inline pons_input pons_input_of_tap(const pons_arch *arch, int tap)
{
    int first = 0;
    while (arch->linear[first].tap != tap)
        first++;
    return (pons_input){tap, -1, first, arch->tap[tap].name};
}

#endif
