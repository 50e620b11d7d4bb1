/* Opening what a job is about, and the rows of it that are neither windows nor linears. Does not touch
 * directories or calibration text. */
#include "pipeline/context.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "kern/choice.h"
#include "kern/gemm.h"
#include "model/transforms.h"
#include "par/shared.h"
#include "plan/accept.h"

static pons_status check_options(const pons_context *context)
{
    const pons_compress_options *o = context->options;
    if (!o->model) return pons_fail(PONS_ERR_USAGE, "compress: --model is required");
    if (!o->out) return pons_fail(PONS_ERR_USAGE, "compress: --out is required");
    if (context->recipe.rotation.learn && !o->calibration)
        return pons_fail(PONS_ERR_USAGE,
                         "compress: rotation.learn needs calibration text: --calib FILE");
    if (pons_method_needs_hessian(context->recipe.method) && !o->calibration)
        return pons_fail(PONS_ERR_USAGE, "compress: method %s needs calibration text: --calib FILE",
                         pons_method_name(context->recipe.method));
    return PONS_OK;
}

/* Collective: one precision for all ranks, also when their processors differ. */
static pons_status choose_precision(pons_comm *comm, pons_context *context)
{
    bool have = pons_kern_shares_bf16(comm);
    if (context->recipe.compute == PONS_COMPUTE_BF16 && !have)
        return pons_fail(
            PONS_ERR_UNSUPPORTED,
            "compute: bf16 needs a processor with AMX, or AVX-512 and a build with oneDNN, "
            "the same on every rank; use compute: fp32 or auto");
    if (context->recipe.obr.precision == PONS_COMPUTE_BF16 && !have)
        return pons_fail(
            PONS_ERR_UNSUPPORTED,
            "obr.precision: bf16 needs a processor with AMX, or AVX-512 and a build with oneDNN, "
            "the same on every rank; use obr.precision: fp32 or auto");
    context->bf16 = context->recipe.compute == PONS_COMPUTE_AUTO
                        ? pons_choice_bf16(comm, PONS_CHOICE_FORWARD)
                        : context->recipe.compute == PONS_COMPUTE_BF16;
    context->solver_bf16 = context->recipe.obr.precision == PONS_COMPUTE_AUTO
                               ? pons_choice_bf16(comm, PONS_CHOICE_SOLVER)
                               : context->recipe.obr.precision == PONS_COMPUTE_BF16;
    return PONS_OK;
}

/* Collective: what a node shares lies where the recipe says. */
static pons_status choose_scratch(pons_comm *comm, const pons_context *context)
{
    const char *directory = context->recipe.layout.scratch, *file = context->options->recipe;
    char name[PONS_ERROR_MESSAGE_BYTES / 2];
    if (!*directory) return PONS_OK;
    snprintf(name, sizeof name, "%s: layout.scratch", file ? file : "recipe");
    return pons_shared_use_scratch(comm, directory, name);
}

/* The recipe against model and ranks. With kept Hessians there are no waves, so the layout does not matter. */
static pons_status check_recipe(pons_comm *comm, pons_context *context)
{
    pons_recipe recipe = context->recipe;
    if (context->options->hessians) recipe.wave = 1;
    return pons_plan_accept(&recipe, context->config, pons_comm_size(comm), &context->teams);
}

/* Models and rotations, after the recipe. */
static pons_status open_model(pons_comm *comm, pons_context *context)
{
    pons_status st = PONS_OK, local = PONS_OK;
    const pons_compress_options *o = context->options;
    PONS_TRY_ALL(st, comm, pons_model_open(o->model, &context->model));
    context->config = pons_model_get_config(context->model);
    if (pons_model_is_packed(context->model))
        local = pons_fail(PONS_ERR_UNSUPPORTED, "%s: model is already quantized", o->model);
    PONS_TRY_ALL(st, comm, local);
    PONS_TRY_ALL(st, comm, check_recipe(comm, context));
    PONS_TRY_ALL(st, comm,
                 pons_rotation_create(&context->recipe, context->config, &context->rotation));
    context->runtime = pons_rotation_runtime(context->rotation);
    context->dense = context->runtime;
    pons_runtime_drop_quantizers(&context->dense);
    /* FlatQuant's clipping was learned with quantizers on */
    bool quantized =
        context->runtime.transforms || context->recipe.obr.target == PONS_TARGET_QUANTIZED_INPUTS;
    context->inputs = quantized ? context->runtime : context->dense;
done:
    return st;
}

pons_status pons_context_open(pons_comm *comm, const pons_compress_options *options,
                              pons_context *context)
{
    pons_status st = PONS_OK, local = PONS_OK;
    context->options = options;
    if (pons_comm_rank(comm) == 0)
        local =
            pons_recipe_load(options->recipe, options->set, options->set_count, &context->recipe);
    PONS_TRY_ALL(st, comm, local);
    pons_comm_bcast(comm, &context->recipe, sizeof context->recipe, 0);
    pons_stop_set_grace(context->recipe.checkpoint.grace);
    PONS_TRY_ALL(st, comm, check_options(context));
    PONS_TRY(st, choose_precision(comm, context));
    PONS_TRY(st, choose_scratch(comm, context));
    PONS_TRY(st, open_model(comm, context));
done:
    return st;
}

void pons_context_close(pons_comm *comm, pons_context *context)
{
    pons_rotation_destroy(&context->rotation);
    pons_model_close(&context->model);
    pons_mem_free(context->choice);
    pons_shared_use_scratch(comm, NULL, NULL);
}

char *pons_context_recipe_text(const pons_context *context)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    if (!stream) return NULL;
    pons_status st = pons_recipe_print(&context->recipe, stream);
    if (fclose(stream) != 0 || st != PONS_OK) {
        free(text);
        return NULL;
    }
    return text;
}

pons_status pons_context_round(const pons_context *context, const char *tensor, int64_t row,
                               int64_t rows, int64_t cols, float *x)
{
    pons_dtype dtype = context->recipe.output.dtype;
    int64_t n = rows * cols, bad = pons_dtype_first_beyond(dtype, x, n);
    if (bad < n)
        return pons_fail(PONS_ERR_NUMERIC,
                         "tensor %s, row %lld: %.6g%s does not fit output.dtype %s (largest %.6g); "
                         "use another output.dtype",
                         tensor, (long long)(row + bad / cols), (double)x[bad],
                         pons_rotation_folds(context->rotation) ? ", as rotated," : "",
                         dtype == PONS_DTYPE_F16 ? "f16" : "bf16",
                         (double)pons_dtype_largest(dtype));
    pons_dtype_round(dtype, x, n);
    return PONS_OK;
}

pons_status pons_context_read_gains(const pons_context *context, int64_t layer, float *gains)
{
    char name[64];
    pons_status st = pons_model_read_gains(context->model, layer, gains);
    if (st != PONS_OK) return st;
    pons_rotation_gains(context->rotation, layer, gains);
    snprintf(name, sizeof name, "(norms of block %lld)", (long long)layer);
    return pons_context_round(context, name, 0, 1, pons_gain_floats(context->config), gains);
}

pons_status pons_context_set_transforms(const pons_context *context, int64_t layer,
                                        pons_block *block)
{
    if (!context->runtime.transforms) return PONS_OK;
    float *transforms = pons_mem_alloc(pons_transforms_floats(context->config), sizeof *transforms);
    if (!transforms) return PONS_ERR_NOMEM;
    pons_rotation_transforms(context->rotation, layer, transforms);
    pons_status st = pons_block_set_transforms(block, transforms);
    pons_mem_free(transforms);
    return st;
}

pons_status pons_context_create_block(const pons_context *context, int64_t layer,
                                      const float *gains, pons_block **out)
{
    pons_status st = PONS_OK;
    pons_block *block = NULL;
    float *own = NULL;
    if (!gains) {
        PONS_ALLOC(st, own, pons_gain_floats(context->config));
        PONS_TRY(st, pons_context_read_gains(context, layer, own));
        gains = own;
    }
    PONS_TRY(st, pons_block_create(context->config, layer, context->bf16, &block));
    PONS_TRY(st, pons_block_set_gains(block, gains));
    PONS_TRY(st, pons_context_set_transforms(context, layer, block));
    *out = block;
    block = NULL;
done:
    pons_block_destroy(&block);
    pons_mem_free(own);
    return st;
}

pons_status pons_context_embed(void *user, const int32_t *ids, int64_t n, float *out)
{
    const pons_context *context = user;
    pons_status st = pons_model_read_embedding(context->model, ids, n, out);
    if (st != PONS_OK) return st;
    PONS_TRY(st, pons_rotation_embedding(context->rotation, out, n));
    for (int64_t i = 0; i < n && st == PONS_OK; i++)
        st = pons_context_round(context, "model.embed_tokens.weight", ids[i], 1,
                                context->config->hidden, out + i * context->config->hidden);
done:
    return st;
}

pons_status pons_context_embedding_rows(void *user, int64_t row, int64_t n, float *out)
{
    const pons_context *context = user;
    pons_status st = pons_model_read_embedding_rows(context->model, row, n, out);
    if (st != PONS_OK) return st;
    st = pons_rotation_embedding(context->rotation, out, n);
    if (st != PONS_OK) return st;
    return pons_context_round(context, "model.embed_tokens.weight", row, n, context->config->hidden,
                              out);
}

pons_status pons_context_head_rows(void *user, int64_t row, int64_t n, float *out)
{
    pons_status st = PONS_OK;
    const pons_context *context = user;
    float *gain = NULL;
    PONS_ALLOC(st, gain, context->config->hidden);
    PONS_TRY(st, pons_model_read_final_norm(context->model, gain));
    PONS_TRY(st, pons_model_read_head_rows(context->model, row, n, out));
    PONS_TRY(st, pons_rotation_head(context->rotation, gain, out, n));
    PONS_TRY(st,
             pons_context_round(context, "lm_head.weight", row, n, context->config->hidden, out));
done:
    pons_mem_free(gain);
    return st;
}

pons_status pons_context_final_norm(const pons_context *context, float *gain)
{
    pons_status st = pons_model_read_final_norm(context->model, gain);
    if (st != PONS_OK) return st;
    if (pons_rotation_folds(context->rotation))
        for (int64_t j = 0; j < context->config->hidden; j++)
            gain[j] = 1.0f;
    return pons_context_round(context, "model.norm.weight", 0, 1, context->config->hidden, gain);
}
