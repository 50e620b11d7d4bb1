/* Reading a committed block back. The bits are those of the block that was compressed: its file holds what
 * it had. */
#include "pipeline/replay.h"

#include "base/log.h"
#include "base/mem.h"
#include "eval/deal.h"
#include "pack/block_file.h"
#include "pipeline/linear.h"

/* The linears of a block, from its file on one rank each to all ranks: [rows, cols] values, [rows] bias,
 * then 1.0 when there is a bias. */
typedef struct loader {
    const pons_context *context;
    pons_block_file *file;
    pons_block *block;
} loader;

static pons_status read_linear(void *user, int64_t item, float *out)
{
    const loader *l = user;
    const pons_recipe *r = &l->context->recipe;
    int64_t rows, cols;
    pons_linear_shape(l->context->config, (int)item, &rows, &cols);
    float *bias = out + rows * cols;
    const float *given = pons_block_file_bias(l->file, (int)item);
    for (int64_t i = 0; i < rows; i++)
        bias[i] = given ? given[i] : 0; /* broadcast even when absent */
    bias[rows] = given != NULL;
    pons_status st = pons_block_file_read_values(l->file, (int)item, out);
    if (r->output.format == PONS_OUTPUT_DENSE) /* as when it was compressed: solve.c */
        pons_dtype_round(r->output.dtype, out, rows * cols);
    return st;
}

static pons_status take_linear(void *user, int64_t item, const float *data)
{
    const loader *l = user;
    int64_t rows, cols;
    pons_linear_shape(l->context->config, (int)item, &rows, &cols);
    const float *bias = data + rows * cols;
    return pons_block_set_linear(l->block, (int)item, data, bias[rows] != 0 ? bias : NULL);
}

/* Local: the file, and a block with its gains. */
static pons_status open_block(loader *l, const char *run, int64_t layer)
{
    pons_status st = PONS_OK;
    char *path = pons_block_file_path(run, layer);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_block_file_open(path, l->context->config, layer, &l->file));
    PONS_TRY(st, pons_context_create_block(l->context, layer, pons_block_file_gains(l->file),
                                           &l->block));
done:
    pons_mem_free(path);
    return st;
}

/* Collective: a block of RUN/blocks. */
static pons_status load_block(const pons_context *context, const pons_team *team, const char *run,
                              int64_t layer, pons_block **out)
{
    pons_status st = PONS_OK;
    loader l = {.context = context};
    int linears = context->config->arch->linears;
    int64_t *count = pons_mem_alloc(linears, sizeof *count);
    PONS_TRY_ALL(st, team->comm, count ? open_block(&l, run, layer) : PONS_ERR_NOMEM);
    for (int i = 0; i < linears; i++) {
        int64_t rows, cols;
        pons_linear_shape(context->config, i, &rows, &cols);
        count[i] = rows * cols + rows + 1;
    }
    PONS_TRY(st, pons_eval_deal_items(team->comm, linears, count, read_linear, take_linear, &l));
    *out = l.block;
    l.block = NULL;
done:
    pons_block_destroy(&l.block);
    pons_block_file_close(&l.file);
    pons_mem_free(count);
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

pons_status pons_replay_block(const pons_context *context, const pons_team *team, const char *run,
                              pons_account *account, pons_streams *streams, int64_t layer,
                              bool calibration)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_block *block = NULL;
    PONS_TRY(st, load_block(context, team, run, layer, &block));
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
