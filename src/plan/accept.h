/**
 * Whether a recipe can be run on a model and a number of ranks: the one answer of `pons plan` and `pons compress`.
 */
#ifndef PONS_PLAN_ACCEPT_H
#define PONS_PLAN_ACCEPT_H

#include "config/recipe.h"
#include "model/config.h"

/**
 * Check a valid recipe against the model's widths and the ranks: groups of activations, weights and patterns, Hadamard
 * orders, teams of a wave. Reads no file. Local.
 * @param[out] teams of ranks of the same size; 1 with a wave of one block
 * @return PONS_ERR_CONFIG naming the key; PONS_ERR_UNSUPPORTED for a width without a transform.
 */
pons_status pons_plan_accept(const pons_recipe *recipe, const pons_model_config *model, int ranks,
                             int *teams);

#endif
