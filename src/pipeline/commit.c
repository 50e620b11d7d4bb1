/*
 * The last step of a block: its file in RUN/blocks, journal line, sums. Rank 0 does it on a thread while
 * all ranks go on with the next block; order on disk is what it would be without the thread, since one
 * block at a time is on its way and its line follows its file.
 */
#include "pipeline/commit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "pack/block_file.h"
#include "pipeline/counts.h"
#include "pipeline/damping.h"

/* A block on its way to disk. */
struct pons_commit {
    const pons_context *context;
    const char *run;
    pons_journal *journal; /* its end is the thread's until it has finished */
    pons_open_block block;
    json_t *lines; /* of the linears, for the journal */
    pons_task *task;
};

static void destroy(struct pons_commit **commit)
{
    if (!*commit) return;
    json_decref((*commit)->lines);
    pons_open_block_destroy(&(*commit)->block);
    pons_mem_free(*commit);
    *commit = NULL;
}

/* Errors and energies that are not numbers have no place in a journal. */
static pons_status check_finite(int64_t layer, const char *name, const pons_block_linear *w)
{
    if (pons_fault(PONS_FAULT_ROW_NAN)) w->result.error[0] = NAN;
    for (int64_t r = 0; r < w->rows; r++)
        if (!isfinite(w->result.error[r]) || !isfinite(w->result.energy[r]))
            return pons_fail(PONS_ERR_NUMERIC, "block %lld %s: row %lld: its error is NaN or Inf",
                             (long long)layer, name, (long long)r);
    return PONS_OK;
}

/* What the journal keeps of a linear: all that the manifest and the report need. */
static json_t *describe_linear(const pons_context *context, int64_t layer,
                               const pons_block_linear *w)
{
    const pons_recipe *recipe = &context->recipe;
    double error = 0, energy = 0;
    int64_t zeros = 0;
    char name[128];
    bool targets = recipe->obr.target != PONS_TARGET_DENSE;
    for (int64_t r = 0; r < w->rows; r++) {
        error += w->result.error[r];
        energy += w->result.energy[r];
        zeros += w->result.zeros[r];
    }
    snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)layer,
             context->config->arch->linear[w->linear].name);
    return json_pack("{s:s, s:I, s:I, s:i, s:I, s:f, s:f, s:o*, s:o*, s:o*}", "name", name, "rows",
                     (json_int_t)w->rows, "cols", (json_int_t)w->cols, "bits", w->bits, "zeros",
                     (json_int_t)zeros, "error", error, "energy", energy, "target_share",
                     targets ? json_real(w->target_share) : NULL, "holdout_ratio",
                     recipe->calibration.holdout > 0 ? json_real(w->holdout_ratio) : NULL,
                     "iterations", pons_counts_to_json(&w->metrics));
}

static pons_status write_file(struct pons_commit *c, char checksum[17])
{
    const pons_recipe *r = &c->context->recipe;
    int count = c->context->config->arch->linears;
    pons_status st = PONS_OK;
    pons_pack_linear *linears = NULL;
    char *path = pons_block_file_path(c->run, c->block.layer);
    if (!path) return PONS_ERR_NOMEM;
    PONS_ALLOC(st, linears, count);
    for (int l = 0; l < count; l++) {
        const pons_block_linear *w = &c->block.linears[l];
        PONS_ASSERT(w->state == PONS_LINEAR_KEPT);
        linears[l] =
            (pons_pack_linear){.scheme = {w->bits, r->weights.symmetric, r->weights.group_size},
                               .codes = w->result.codes,
                               .scale = w->result.scale,
                               .zero = w->result.zero,
                               .value = w->result.value,
                               .bias = w->has_bias ? w->bias : NULL};
    }
    st = pons_block_file_write(path, c->context->config, c->block.layer, r->output.dtype,
                               r->output.format == PONS_OUTPUT_DENSE, linears, c->block.gains,
                               checksum);
done:
    pons_mem_free(linears);
    pons_mem_free(path);
    return st;
}

/* On the thread. */
static pons_status write_block(void *user)
{
    struct pons_commit *c = user;
    pons_status st = PONS_OK;
    int64_t layer = c->block.layer;
    char checksum[17];
    const pons_arch *arch = c->context->config->arch;
    for (int l = 0; l < arch->linears; l++) {
        PONS_TRY(st, check_finite(layer, arch->linear[l].short_name, &c->block.linears[l]));
        if (json_array_append_new(c->lines,
                                  describe_linear(c->context, layer, &c->block.linears[l])))
            PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for a journal line"));
    }
    PONS_TRY(st, write_file(c, checksum));
    PONS_TRY(st, pons_damping_journal(c->journal, c->context->config->arch, &c->context->inputs,
                                      layer, c->block.linears));
    PONS_TRY(st, pons_journal_append(c->journal,
                                     json_pack("{s:s, s:I, s:s, s:f, s:O}", "event", "block",
                                               "block", (json_int_t)layer, "checksum", checksum,
                                               "seconds", c->block.seconds, "linears", c->lines)));
done:
    return st;
}

/* Rank 0. */
static pons_status start(const pons_context *context, pons_rundir *run, pons_open_block *b)
{
    pons_status st = PONS_OK;
    struct pons_commit *c;
    PONS_CALLOC(st, c, 1);
    c->lines = json_array();
    if (!c->lines) PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for a journal line"));
    c->context = context;
    c->run = run->path;
    c->journal = run->journal;
    c->block.layer = b->layer;
    c->block.seconds = b->seconds;
    c->block.arch = b->arch;
    c->block.linears = b->linears;
    b->linears = NULL;
    c->block.gains = b->gains;
    b->gains = NULL;
    PONS_TRY(st, pons_task_start(write_block, c, &c->task));
    run->commit = c;
    c = NULL;
done:
    destroy(&c);
    return st;
}

/* Rank 0: the end of the thread. */
static pons_status finish(pons_rundir *run, pons_account *account)
{
    pons_status st = PONS_OK;
    struct pons_commit *c = run->commit;
    double begin = pons_clock();
    pons_task_span span;
    json_t *line;
    size_t i;
    st = pons_task_finish(&c->task, &span);
    pons_trace_behind(account->trace, PONS_PHASE_PACK, c->block.layer, span);
    account->seconds.pack += pons_trace_phase(account->trace, PONS_PHASE_PACK, begin);
    if (st != PONS_OK) goto done;
    json_array_foreach(c->lines, i, line) PONS_TRY(st, pons_account_add_linear(account, line));
done:
    destroy(&run->commit);
    return st;
}

pons_status pons_commit_block(const pons_context *context, const pons_team *team, pons_rundir *run,
                              pons_account *account, pons_open_block *block)
{
    pons_status st;
    PONS_TRY(st, pons_commit_settle(team, run, account));
    PONS_TRY_ALL(st, team->comm, team->rank == 0 ? start(context, run, block) : PONS_OK);
    run->next = block->layer + 1;
done:
    return st;
}

pons_status pons_commit_settle(const pons_team *team, pons_rundir *run, pons_account *account)
{
    pons_status st = PONS_OK;
    if (run->next == run->done) return PONS_OK;
    PONS_TRY_ALL(st, team->comm, team->rank == 0 ? finish(run, account) : PONS_OK);
    run->done = run->next;
done:
    run->next = run->done;
    return st;
}

void pons_commit_settle_after_failure(const pons_team *team, pons_rundir *run,
                                      pons_account *account)
{
    char sentence[PONS_ERROR_MESSAGE_BYTES];
    if (run->next == run->done) return;
    snprintf(sentence, sizeof sentence, "%s", pons_error_message());
    if (pons_comm_all(team->comm, team->rank != 0 || finish(run, account) == PONS_OK))
        run->done = run->next;
    run->next = run->done;
    (void)pons_fail(PONS_ERR_IO, "%s", sentence);
}
