/* Reading a finished block back. The bits are those of the block that was compressed: a shard holds what
 * it had. */
#include "pipeline/replay.h"

#include "base/log.h"
#include "base/mem.h"
#include "eval/load_block.h"
#include "pack/writer.h"
#include "pipeline/linear.h"

/* Collective: a block of OUT.part. */
static pons_status load_block(const pons_context *context, const pons_team *team, int64_t layer,
                              pons_block **out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_model *shard = NULL;
    pons_block *block = NULL;
    char *path = pons_pack_shard_path(context->options->out, context->config, layer);
    if (!path) local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_model_open_block(path, context->config, layer, &shard);
    if (local == PONS_OK) local = pons_context_create_block(context, layer, NULL, &block);
    PONS_TRY_ALL(st, team->comm, local);
    PONS_TRY(st, pons_eval_load_block(team->comm, shard, layer, block));
    *out = block;
    block = NULL;
done:
    pons_block_destroy(&block);
    pons_model_close(&shard);
    pons_mem_free(path);
    return st;
}

/* Local: a calibration stream through its block. */
static pons_status push(const pons_context *context, pons_account *account, const pons_block *block,
                        pons_stream *stream)
{
    const pons_lane lane = {block, stream};
    double start = pons_clock();
    pons_status st = pons_walk_block(context->config->arch, NULL, 1, &lane, NULL);
    account->seconds.forward += pons_trace_phase(account->trace, PONS_PHASE_FORWARD, start);
    return st;
}

/* Collective: the dense stream through a block of the model. */
static pons_status replay_dense(const pons_context *context, const pons_team *team,
                                pons_account *account, pons_stream *dense, int64_t layer)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_block_linear *linears = NULL;
    pons_block *block = NULL;
    local = pons_linears_list(context, team, layer, &linears);
    if (local == PONS_OK) local = pons_context_create_block(context, layer, NULL, &block);
    PONS_TRY_ALL(st, team->comm, local);
    PONS_TRY(st, pons_linears_set_dense(context, team, account, layer, linears, block));
    PONS_TRY_ALL(st, team->comm, push(context, account, block, dense));
done:
    pons_block_destroy(&block);
    pons_linears_destroy(context->config->arch, &linears);
    return st;
}

pons_status pons_replay_block(const pons_context *context, const pons_team *team,
                              pons_account *account, pons_streams *streams, int64_t layer,
                              bool calibration)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_block *block = NULL;
    PONS_TRY(st, load_block(context, team, layer, &block));
    if (calibration && streams->compressed.h)
        local = push(context, account, block, &streams->compressed);
    if (local == PONS_OK) local = pons_streams_evaluate(streams, account, block);
    PONS_TRY_ALL(st, team->comm, local);
    pons_block_destroy(&block);
    if (calibration && streams->dense.h)
        PONS_TRY(st, replay_dense(context, team, account, &streams->dense, layer));
done:
    pons_block_destroy(&block);
    return st;
}
