/**
 * Dampings that had to be raised above obr.damping: logged when it happens, journaled with the block.
 * Internal to pipeline.
 */
#ifndef PONS_PIPELINE_DAMPING_H
#define PONS_PIPELINE_DAMPING_H

#include "pipeline/input.h"
#include "pipeline/journal.h"
#include "pipeline/linear.h"

/** Log a raised damping. Local: rank 0 of a team. */
void pons_damping_log(int64_t layer, const pons_input *input, double damping);

/** A journal line for each input of a block whose damping was raised, as its linears have it. Rank 0.
 * Local. @param runtime makes the inputs @return as pons_journal_append. */
pons_status pons_damping_journal(pons_journal *journal, const pons_arch *arch,
                                 const pons_runtime *runtime, int64_t layer,
                                 const pons_block_linear *linears);

#endif
