/* Perplexity of a model on disk: reads it block by block and pushes a stream of windows through. */
#include "eval/perplexity.h"

#include "base/log.h"
#include "base/mem.h"
#include "eval/load_block.h"

/* How many windows to use: `windows`, or as many as fit when that is 0. */
static pons_status choose_windows(int64_t count, int64_t length, int64_t windows, int64_t *out)
{
    if (length < 2)
        return pons_fail(PONS_ERR_INPUT,
                         "windows of %lld tokens predict no token; at least 2 tokens are needed",
                         (long long)length);
    int64_t fit = count / length;
    if (fit < (windows ? windows : 1))
        return pons_fail(PONS_ERR_INPUT,
                         "the text has %lld tokens: %lld windows of %lld fit, %lld are needed",
                         (long long)count, (long long)fit, (long long)length,
                         (long long)(windows ? windows : 1));
    *out = windows ? windows : fit;
    return PONS_OK;
}

static pons_status embed(void *user, const int32_t *ids, int64_t n, float *out)
{
    return pons_model_read_embedding(user, ids, n, out);
}

static pons_status read_head(void *user, int64_t row, int64_t n, float *out)
{
    return pons_model_read_head_rows(user, row, n, out);
}

/* Push the stream through one block of the model. Collective. */
static pons_status push_layer(pons_comm *comm, const pons_model *model, int64_t layer, bool bf16,
                              pons_eval_stream *stream)
{
    pons_status st = PONS_OK;
    pons_block *block = NULL;
    PONS_TRY_ALL(st, comm, pons_block_create(pons_model_get_config(model), layer, bf16, &block));
    PONS_TRY(st, pons_eval_load_block(comm, model, layer, block));
    PONS_TRY_ALL(st, comm, pons_eval_stream_block(stream, block));
done:
    pons_block_destroy(&block);
    return st;
}

pons_status pons_eval_perplexity(pons_comm *comm, const pons_model *model, const int32_t *ids,
                                 int64_t count, int64_t windows, int64_t length, bool weights_only,
                                 bool bf16, pons_perplexity *out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double start = pons_clock();
    const pons_model_config *config = pons_model_get_config(model);
    pons_runtime runtime = *pons_model_runtime(model);
    pons_eval_stream *stream = NULL;
    float *gain = NULL;
    pons_progress progress = {0};
    pons_perplexity result;
    if (weights_only) pons_runtime_drop_quantizers(&runtime);
    if (pons_comm_rank(comm) == 0) local = choose_windows(count, length, windows, &windows);
    PONS_TRY_ALL(st, comm, local);
    pons_comm_bcast(comm, &windows, sizeof windows, 0);

    gain = pons_mem_alloc(config->hidden, sizeof *gain);
    local = gain ? PONS_OK : PONS_ERR_NOMEM;
    if (gain && pons_comm_rank(comm) == 0) local = pons_model_read_final_norm(model, gain);
    PONS_TRY_ALL(st, comm, local);
    pons_comm_bcast(comm, gain, (size_t)config->hidden * sizeof *gain, 0);

    PONS_TRY(st, pons_eval_stream_create(comm, config, &runtime, bf16, 0, ids, windows, length,
                                         embed, (void *)(uintptr_t)model, &stream));
    pons_progress_begin(&progress, "perplexity: blocks", config->layers);
    for (int64_t layer = 0; layer < config->layers; layer++) {
        PONS_TRY(st, push_layer(comm, model, layer, bf16, stream));
        pons_progress_update(&progress, layer + 1);
    }
    pons_progress_end(&progress);
    PONS_TRY(st, pons_eval_stream_finish(stream, comm, gain, read_head, (void *)(uintptr_t)model,
                                         &result));
    result.seconds = pons_clock() - start;
    *out = result;
done:
    pons_progress_drop(&progress);
    pons_eval_stream_destroy(&stream);
    pons_mem_free(gain);
    return st;
}
