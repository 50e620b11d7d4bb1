/* Memory of a block that is being compressed. */
#include "pipeline/open_block.h"

#include "base/mem.h"

static pons_status list(const pons_context *context, const pons_team *team, int64_t layer,
                        pons_open_block *b)
{
    pons_status st;
    b->layer = layer;
    b->arch = context->config->arch;
    PONS_TRY(st, pons_linears_list(context, team, layer, &b->linears));
    PONS_ALLOC(st, b->gains, pons_gain_floats(context->config));
    PONS_TRY(st, pons_context_read_gains(context, layer, b->gains));
done:
    return st;
}

pons_status pons_open_block_create(const pons_context *context, const pons_team *team,
                                   int64_t layer, pons_open_block *b)
{
    pons_status st;
    PONS_TRY(st, list(context, team, layer, b));
    PONS_TRY(st, pons_context_create_block(context, layer, b->gains, &b->block));
done:
    return st;
}

pons_status pons_open_block_reserve(const pons_context *context, const pons_team *team,
                                    int64_t layer, pons_open_block *b)
{
    pons_status st;
    PONS_TRY(st, list(context, team, layer, b));
    PONS_TRY(st, pons_linears_reserve_kept(context, b->linears));
done:
    return st;
}

void pons_open_block_destroy(pons_open_block *b)
{
    pons_block_destroy(&b->block);
    pons_linears_destroy(b->arch, &b->linears);
    pons_mem_free(b->gains);
    *b = (pons_open_block){0};
}
