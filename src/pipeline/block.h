/**
 * Steps of a block that a pass before compression takes, too. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_BLOCK_H
#define PONS_PIPELINE_BLOCK_H

#include "pipeline/linear.h"

/** One stage of the compressed stream's own windows, with job->inputs. Local. */
pons_status pons_job_run_stage(pons_job *job, const pons_block *block, int stage);

/** The Hessian of an input from the windows of all ranks, factored; with ten times the damping as often
 * as the recipe allows. Collective. @param file NULL, or where the Hessian is kept, too */
pons_status pons_job_factor_input(pons_job *job, int64_t layer, const pons_block *block,
                                  const pons_input *input, pons_hessian_file *file,
                                  pons_hessian_factor **out);

#endif
