/**
 * Compressing the rows of the linears of one input on all ranks of a team. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_SOLVE_H
#define PONS_PIPELINE_SOLVE_H

#include "pipeline/input.h"
#include "pipeline/linear.h"

/** Prepare what the linears of an input share. A numerical failure names block and input. Collective.
 * @param[out] damping what obr.damping was raised to for it, which is logged; untouched otherwise */
pons_status pons_solve_prepare(const pons_recipe *recipe, bool bf16, const pons_team *team,
                               int64_t layer, const pons_input *input,
                               const pons_hessian_factor *factor, double *damping,
                               pons_row_shared **out);

/** Read to compressed, every linear of an input of block `layer`: own rows are compressed, the results
 * gathered on every rank. Collective. @param factor NULL where the method needs none */
pons_status pons_solve_linears(const pons_context *context, const pons_team *team,
                               pons_account *account, int64_t layer, const pons_input *input,
                               const pons_hessian_factor *factor, pons_block_linear *linears);

#endif
