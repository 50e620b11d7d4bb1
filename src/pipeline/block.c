/*
 * The visitor that compresses: before a stage the linears of its group are read, after it, when every
 * window has their input, they are compressed, and the windows go on through the compressed weights.
 */
#include "pipeline/block.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/stop.h"

typedef struct visit {
    const pons_context *context;
    const pons_team *team;
    pons_account *account;
    pons_block_work *work;
    pons_open_block *block;
    pons_hessian_file *file;
    double start; /* of the stage's windows */
} visit;

/* Read while the linears of this tap are compressed: those of the same tap in the next block, or of the next tap of a block that
 * was read before, for its sums. */
static void read_ahead(const visit *v, int tap)
{
    bool again = v->work->source.origin == PONS_HESSIAN_SUM;
    if (!again)
        pons_linears_read_ahead(v->context, v->team, v->block->layer + 1, tap);
    else if (tap + 1 < v->context->config->arch->taps)
        pons_linears_read_ahead(v->context, v->team, v->block->layer, tap + 1);
}

static pons_status enter(void *user, int stage)
{
    visit *v = user;
    pons_status st = PONS_OK;
    if (stage < v->context->config->arch->taps) {
        pons_fault_die(PONS_FAULT_BLOCK_DIE);
        pons_fault_signal(PONS_FAULT_BLOCK_STOP);
        PONS_TRY_ALL(st, v->team->comm, pons_stop_check());
        PONS_TRY(st, pons_linears_read(v->context, v->team, v->account, v->block->layer, stage,
                                       v->block->linears));
        read_ahead(v, stage);
    }
    v->start = pons_clock();
done:
    return st;
}

static pons_status leave(void *user, int stage)
{
    visit *v = user;
    const pons_arch *arch = v->context->config->arch;
    pons_status st = PONS_OK;
    v->account->seconds.forward +=
        pons_trace_phase(v->account->trace, PONS_PHASE_FORWARD, v->start);
    if (v->work->all_dense && stage > 0) /* no stage uses these linears' own weights any more */
        PONS_TRY(st, pons_group_set(v->context, v->team, stage - 1, v->block));
    if (stage == arch->taps) return PONS_OK;
    if (v->work->dense)
        PONS_TRY(
            st, pons_linears_gather_dense(arch, v->team, stage, v->block->linears, v->work->dense));
    PONS_TRY(st, pons_group_compress(v->context, v->team, v->account, stage, &v->work->source,
                                     &v->work->targets, v->file, v->block));
    if (!v->work->all_dense) PONS_TRY(st, pons_group_set(v->context, v->team, stage, v->block));
done:
    return st;
}

pons_status pons_block_compress(const pons_context *context, const pons_team *team,
                                pons_account *account, pons_block_work *work,
                                pons_open_block *block)
{
    pons_status st = PONS_OK;
    visit v = {.context = context, .team = team, .account = account, .work = work, .block = block};
    const pons_visitor visitor = {.enter = enter, .leave = leave, .user = &v};
    double start = pons_clock();
    pons_trace_set_block(account->trace, block->layer);
    if (work->keep)
        PONS_TRY(st,
                 pons_hessians_create(context, team, account, work->keep, block->layer, &v.file));
    PONS_TRY(st,
             pons_walk_block(context->config->arch, team->comm, work->lanes, work->lane, &visitor));
    PONS_TRY(st, pons_hessians_commit(account, &v.file));
    block->seconds = pons_clock() - start;
done:
    pons_hessian_file_abandon(&v.file);
    return st;
}
