/* The steps of a tap's linears in their order. Each of them is another file's. */
#include "pipeline/group.h"

#include "base/log.h"
#include "pipeline/solve.h"

/* Collective: the linears of one input. */
static pons_status compress_input(const pons_context *context, const pons_team *team,
                                  pons_account *account, const pons_input *input,
                                  pons_hessian_source *source, const pons_group_targets *targets,
                                  pons_hessian_file *file, pons_open_block *b)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *factor = NULL;
    double damping = 0;
    if (source->origin != PONS_HESSIAN_NONE)
        PONS_TRY(st, pons_factor_input(context, team, account, b->layer, input, source, file,
                                       &damping, &factor));
    for (int i = 0; i < context->config->arch->linears; i++)
        if (pons_input_has(input, &b->linears[i])) b->linears[i].damping = damping;
    if (targets->targets)
        PONS_TRY(st, pons_targets_aim(targets->targets, team, account, input->tap, factor,
                                      targets->sum ? targets->sum[input->tap] : NULL, b->linears));
    PONS_TRY(st, pons_solve_linears(context, team, account, b->layer, input, factor, b->linears));
done:
    pons_hessian_factor_destroy(&factor);
    return st;
}

pons_status pons_group_compress(const pons_context *context, const pons_team *team,
                                pons_account *account, int tap, pons_hessian_source *source,
                                const pons_group_targets *targets, pons_hessian_file *file,
                                pons_open_block *block)
{
    pons_status st = PONS_OK;
    for (pons_input input = PONS_INPUT_NONE;
         pons_input_next(context->config->arch, &context->inputs, tap, &input);)
        PONS_TRY(st, compress_input(context, team, account, &input, source, targets, file, block));
done:
    return st;
}

pons_status pons_group_set(const pons_context *context, const pons_team *team, int tap,
                           pons_open_block *block)
{
    pons_status st = PONS_OK, local = PONS_OK;
    for (int i = 0; i < context->config->arch->linears && local == PONS_OK; i++) {
        const pons_block_linear *w = &block->linears[i];
        if (w->tap == tap)
            local = pons_block_set_linear(block->block, w->linear, w->result.value,
                                          w->has_bias ? w->bias : NULL);
    }
    PONS_TRY_ALL(st, team->comm, local);
    pons_linears_keep(context, team, tap, block->linears);
done:
    return st;
}
