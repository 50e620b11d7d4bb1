/* Owns the defaults, and what each method and each kind of rotation does. */
#include "config/recipe.h"

#include <string.h>

void pons_recipe_default(pons_recipe *recipe)
{
    memset(recipe, 0, sizeof *recipe); /* padding too: equal recipes are equal bytes */
    recipe->method = PONS_METHOD_OBR_GPTQ;
    recipe->compat = PONS_COMPAT_CORRECTED;
    recipe->compute = PONS_COMPUTE_AUTO;
    recipe->coordinator_works = true;
    recipe->wave = 1;
    recipe->calibration.windows = 128;
    recipe->calibration.length = 2048;
    recipe->checkpoint.blocks = 8;
    recipe->checkpoint.keep = true;
    recipe->checkpoint.grace = 30;
    recipe->rotation.kind = PONS_ROTATION_SPINQUANT;
    recipe->rotation.mode = PONS_ROTATE_HADAMARD;
    recipe->rotation.online = true;
    recipe->rotation.hadamard_dtype = PONS_DTYPE_F32;
    recipe->rotation.tolerance = 1e-3;
    recipe->rotation.learn_windows = 8;
    recipe->rotation.learn_steps = 300;
    recipe->weights.bits = 4;
    recipe->weights.symmetric = true;
    recipe->weights.mse_clip = true;
    recipe->prune.sparsity = 0.5;
    recipe->prune.spread = 0.15;
    recipe->obr.alpha = 0.5;
    recipe->obr.damping = 0.01;
    recipe->obr.block = 128;
    recipe->obr.blocks = 2;
    recipe->obr.solver = PONS_SOLVER_AUTO;
    recipe->obr.precision = PONS_COMPUTE_AUTO;
    recipe->obr.tolerance = 2e-3;
    recipe->activations.bits = 4;
    recipe->activations.o_proj_head_groups = true;
    recipe->activations.clip_ratio = 1.0f;
    recipe->kv.bits = 4;
    recipe->kv.per_head = true;
    recipe->kv.clip_ratio = 1.0f;
    recipe->values = recipe->kv;
    recipe->output.format = PONS_OUTPUT_PACK_QUANTIZED;
    recipe->output.dtype = PONS_DTYPE_BF16;
    recipe->evaluate.windows = 20;
    recipe->evaluate.length = 2048;
}

bool pons_rotation_kind_folds(pons_rotation_kind kind)
{
    return kind == PONS_ROTATION_QUAROT || kind == PONS_ROTATION_SPINQUANT;
}

enum { PRUNES = 1, QUANTIZES = 2, HESSIAN = 4, ALL_ROWS = 8 };

static int traits(pons_method method)
{
    switch (method) {
    case PONS_METHOD_NONE: return 0;
    case PONS_METHOD_RTN: return QUANTIZES;
    case PONS_METHOD_GPTQ: return QUANTIZES | HESSIAN;
    case PONS_METHOD_WANDA: return PRUNES | HESSIAN;
    case PONS_METHOD_WANDA_RTN: return PRUNES | QUANTIZES | HESSIAN;
    /* its threshold is taken over all rows of a block of columns */
    case PONS_METHOD_SPARSEGPT_GPTQ: return PRUNES | QUANTIZES | HESSIAN | ALL_ROWS;
    case PONS_METHOD_OBR_RTN: return PRUNES | QUANTIZES | HESSIAN;
    case PONS_METHOD_OBR_GPTQ: return PRUNES | QUANTIZES | HESSIAN;
    case PONS_METHOD_EXACT_OBS: return PRUNES | QUANTIZES | HESSIAN;
    }
    return 0;
}

bool pons_method_prunes(pons_method method) { return traits(method) & PRUNES; }
bool pons_method_quantizes(pons_method method) { return traits(method) & QUANTIZES; }
bool pons_method_needs_hessian(pons_method method) { return traits(method) & HESSIAN; }
bool pons_method_needs_all_rows(pons_method method) { return traits(method) & ALL_ROWS; }

bool pons_method_takes_mask(pons_method method)
{
    return pons_method_prunes(method) && method != PONS_METHOD_SPARSEGPT_GPTQ &&
           method != PONS_METHOD_EXACT_OBS;
}

bool pons_method_sweeps(pons_method method)
{
    return method == PONS_METHOD_GPTQ || method == PONS_METHOD_SPARSEGPT_GPTQ ||
           method == PONS_METHOD_OBR_GPTQ;
}

bool pons_method_compensates(pons_method method)
{
    return method == PONS_METHOD_OBR_RTN || method == PONS_METHOD_OBR_GPTQ ||
           method == PONS_METHOD_EXACT_OBS;
}

bool pons_method_polishes(pons_method method)
{
    return pons_method_quantizes(method) && pons_method_needs_hessian(method);
}
