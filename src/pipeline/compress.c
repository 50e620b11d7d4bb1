/*
 * The schedule of the main job. Owns nothing that outlives a call.
 *
 *            RUN, OUT.part made               line "begin"
 *   open ------------------------> windows ----------------> blocks -------> finish -------> report
 *    |      (or found: --resume)      |                        |               |               |
 *    |                                |    resume: committed   |  block file,  |  RUN/model,   |  line
 *    |                                |    blocks taken over,  |  line "block" |  line "model";|  "finished"
 *    |                                |    streams brought     |  for each;    |  OUT.part     |
 *    |                                |    to where they were  |  line "hidden"|  filled and   |
 *    |                                                         |  now and then |  renamed      |
 *    +--- all blocks and RUN/model are there -----------------------------> finish            |
 *    +--- OUT is complete already --------------------------------------------------------> report
 *
 * What is on disk decides where a later process goes on, whenever this one dies:
 *   no line "begin"                  nothing happened: begin
 *   n lines "block"                  after those n blocks whose files are what their lines say
 *   line "model", all blocks         OUT is made of RUN
 *   OUT with the manifest of "model" only the report may be missing
 * A wave of blocks starts again as a whole; those of it that are committed already stay as they are.
 *
 * Invariants: every rank runs the same sequence of collectives; a rank's own failure is agreed on before
 * anyone leaves (PONS_TRY_ALL); a block counts when its journal line is on disk, and everything the line
 * speaks of is there before it; file and line of a block are written while the next one is compressed,
 * and agreed on at its end; OUT appears only in finish, by one rename; the bits of the output depend
 * neither on the number of ranks or threads nor on interruptions.
 */
#include "pipeline/compress.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kern/choice.h"
#include "kern/gemm.h"
#include "kern/limits.h"
#include "pipeline/allocate.h"
#include "pipeline/block.h"
#include "pipeline/check_model.h"
#include "pipeline/commit.h"
#include "pipeline/finish.h"
#include "pipeline/hidden.h"
#include "pipeline/report.h"
#include "pipeline/resume.h"
#include "pipeline/wave.h"
#include "pipeline/windows.h"

/* Everything that lives as long as the job; each step gets the parts that it needs. */
typedef struct job {
    pons_team team; /* all ranks */
    pons_teams teams;
    pons_context context;
    pons_rundir run;
    pons_streams streams;
    pons_targets *targets; /* NULL: dense targets */
    pons_account account;
} job;

/* A failure after blocks were committed: the sentence says how to go on. */
static pons_status say_how_to_resume(const job *j, pons_status code)
{
    char cause[PONS_ERROR_MESSAGE_BYTES];
    /* what was read or computed would be read or computed again */
    bool repeats = code == PONS_ERR_INPUT || code == PONS_ERR_NUMERIC || code == PONS_ERR_CONFIG ||
                   code == PONS_ERR_UNSUPPORTED || code == PONS_ERR_SHAPE;
    if (j->run.done == 0 || j->run.written || repeats) return code;
    snprintf(cause, sizeof cause, "%s", pons_error_message());
    return pons_fail(code,
                     "%s; %lld of %lld blocks are finished: the same command with --resume goes on",
                     cause, (long long)j->run.done, (long long)j->context.config->layers);
}

/* Collective: the block's shape and where its Hessians come from. */
static pons_status open_block(job *j, int64_t layer, pons_block_work *work, pons_open_block *b)
{
    pons_status st = PONS_OK, local;
    const pons_recipe *r = &j->context.recipe;
    pons_stream *s = &j->streams.compressed, *dense = &j->streams.dense;
    bool hessian = pons_method_needs_hessian(r->method);
    local = pons_open_block_create(&j->context, &j->team, layer, b);
    if (local == PONS_OK && j->targets)
        local = pons_context_create_block(&j->context, layer, b->gains, &work->dense);
    work->source = (pons_hessian_source){.stream = s, .block = b->block};
    work->source.origin = !hessian ? PONS_HESSIAN_NONE
                          : s->h   ? PONS_HESSIAN_WINDOWS
                                   : PONS_HESSIAN_FILE;
    if (local == PONS_OK && s->h && !pons_block_shares_input(&s->runtime)) {
        work->source.own_x = pons_mem_alloc(s->length * s->width, sizeof(float));
        if (!work->source.own_x) local = PONS_ERR_NOMEM;
    }
    PONS_TRY_ALL(st, j->team.comm, local);
    work->targets.targets = j->targets;
    if (j->targets) pons_targets_set_block(j->targets, work->dense);
    work->keep = r->keep_hessians && hessian ? j->run.path : NULL;
    if (s->h) work->lane[work->lanes++] = (pons_lane){b->block, s};
    if (j->targets) work->lane[work->lanes++] = (pons_lane){work->dense, dense};
done:
    return st;
}

/* Collective: one block after the other. */
static pons_status compress_block(job *j, int64_t layer)
{
    pons_status st = PONS_OK;
    pons_open_block block = {0};
    pons_block_work work = {0};
    PONS_TRY(st, open_block(j, layer, &work, &block));
    PONS_TRY(st, pons_block_compress(&j->context, &j->team, &j->account, &work, &block));
    PONS_TRY_ALL(st, j->team.comm, pons_streams_evaluate(&j->streams, &j->account, block.block));
    PONS_TRY(st, pons_commit_block(&j->context, &j->team, &j->run, &j->account, &block));
done:
    pons_block_destroy(&work.dense);
    pons_mem_free(work.source.own_x);
    pons_open_block_destroy(&block);
    return st;
}

/* Collective: the next block, or the wave that it belongs to. */
static pons_status compress_next(job *j)
{
    const pons_context *c = &j->context;
    int64_t next = j->run.next;
    if (!j->teams.own.comm) return compress_block(j, next);
    next = pons_teams_wave_begin(&j->teams, c->recipe.wave, c->config->layers, next);
    return pons_wave_compress(c, &j->team, &j->teams, &j->run, &j->account, &j->streams, next);
}

static pons_status compress_blocks(job *j)
{
    pons_status st = PONS_OK;
    pons_progress progress = {0};
    pons_context *c = &j->context;
    int64_t layers = c->config->layers;
    PONS_TRY(st, pons_windows_load(c, &j->team, &j->teams, &j->run, &j->account, &j->streams));
    if (j->streams.dense.h && !j->teams.own.comm)
        PONS_TRY_ALL(
            st, j->team.comm,
            pons_targets_create(c, &j->streams.compressed, &j->streams.dense, &j->targets));
    PONS_TRY(st, pons_resume(c, &j->team, &j->teams, &j->run, &j->account, &j->streams));
    PONS_TRY(st, pons_allocate_budget(c, &j->team, &j->run, &j->account, &j->streams.compressed));
    int64_t first = j->run.next;
    pons_progress_begin(&progress, "compress: blocks", layers - first);
    while (j->run.next < layers) {
        int64_t before = j->run.next;
        PONS_TRY(st, compress_next(j));
        PONS_TRY(st, pons_hidden_save(&c->recipe, layers, before, &j->team, &j->run, &j->account,
                                      &j->streams));
        pons_progress_update(&progress, j->run.next - first);
    }
    pons_progress_end(&progress);
done:
    pons_progress_drop(&progress);
    return st;
}

/* Collective: where `auto` chose, a resumed run keeps what it was begun with, if there are such products. */
static void keep_precision(pons_comm *comm, const pons_rundir *run, pons_context *c)
{
    bool have = pons_kern_shares_bf16(comm), was[2] = {c->bf16, c->solver_bf16};
    if (!run->resumed || !have) return;
    if (pons_comm_rank(comm) == 0) {
        const json_t *begun =
            json_object_get(pons_journal_find(run->journal, "begin", NULL, 0), "fingerprint");
        const char *products = json_string_value(json_object_get(begun, "products"));
        if (products) {
            was[0] = strstr(products, "forward bf16") != NULL;
            was[1] = strstr(products, "solver bf16") != NULL;
        }
    }
    pons_comm_bcast(comm, was, sizeof was, 0);
    if (c->recipe.compute == PONS_COMPUTE_AUTO) c->bf16 = was[0];
    if (c->recipe.obr.precision == PONS_COMPUTE_AUTO) c->solver_bf16 = was[1];
}

static void log_choice(const char *key, pons_choice what, pons_compute asked, bool bf16)
{
    if (asked == PONS_COMPUTE_AUTO)
        pons_log(PONS_LOG_INFO, "%s: auto = %s (%s)", key, bf16 ? "bf16" : "fp32",
                 pons_choice_reason(what));
}

/* Collective: what is known before any work. */
static pons_status open_job(job *j, pons_comm *comm, const pons_compress_options *options)
{
    pons_status st = PONS_OK;
    pons_context *c = &j->context;
    PONS_TRY(st, pons_account_open(comm, &j->account));
    PONS_TRY_ALL(st, comm, pons_kern_reserve_blas(omp_get_max_threads()));
    PONS_TRY(st, pons_context_open(comm, options, c));
    j->team = pons_team_of_all(comm, c->recipe.coordinator_works);
    if (options->hessians) PONS_TRY_ALL(st, comm, pons_hessians_check_recipe(c));
    if (c->recipe.wave > 1 && !options->hessians)
        PONS_TRY(st, pons_teams_make(c->teams, &j->team, &j->teams));
    PONS_TRY(st, pons_rundir_open(comm, c, &j->run));
    if (!j->run.written) PONS_TRY(st, pons_check_model(comm, c));
    keep_precision(comm, &j->run, c);
    if (j->team.rank != 0) goto done;
    pons_log(PONS_LOG_INFO, "compress: method = %s, model = %s, ranks = %d, products = %s, %s",
             pons_method_name(c->recipe.method), options->model, j->team.size,
             c->bf16 ? "bf16" : "fp32", pons_kern_describe());
    log_choice("compute", PONS_CHOICE_FORWARD, c->recipe.compute, c->bf16);
    log_choice("obr.precision", PONS_CHOICE_SOLVER, c->recipe.obr.precision, c->solver_bf16);
    if (c->recipe.rotation.file[0])
        pons_log(PONS_LOG_INFO, "rotation: file = %s, deviation = %.2g", c->recipe.rotation.file,
                 pons_rotation_deviation(c->rotation));
done:
    return st;
}

/* Collective: whether an earlier process got as far as RUN/model. */
static pons_status find_complete(job *j, pons_comm *comm)
{
    pons_status st = PONS_OK;
    PONS_TRY_ALL(st, comm,
                 j->team.rank == 0 ? pons_resume_complete(&j->context, &j->run, &j->account)
                                   : PONS_OK);
    pons_comm_bcast(comm, &j->run.complete, sizeof j->run.complete, 0);
    pons_comm_bcast(comm, &j->run.done, sizeof j->run.done, 0);
    j->run.next = j->run.done;
done:
    return st;
}

static void close_job(job *j, pons_comm *comm)
{
    pons_targets_destroy(&j->targets);
    pons_streams_close(&j->streams);
    pons_rundir_close(&j->run);
    pons_context_close(comm, &j->context);
    pons_comm_free(&j->teams.own.comm);
    pons_account_close(&j->account);
}

pons_status pons_pipeline_compress(pons_comm *comm, const pons_compress_options *options,
                                   json_t **report)
{
    pons_status st = PONS_OK;
    job j = {.team = pons_team_of_all(comm, true)};
    *report = NULL;
    PONS_TRY(st, open_job(&j, comm, options));
    int64_t layers = j.context.config->layers;
    if (j.run.written) { /* what remains is to report on it */
        j.run.done = j.run.next = layers;
        PONS_TRY_ALL(st, comm,
                     j.team.rank == 0 ? pons_resume_written(&j.context, &j.run, &j.account)
                                      : PONS_OK);
    } else {
        PONS_TRY(st, find_complete(&j, comm));
        if (!j.run.complete) PONS_TRY(st, compress_blocks(&j));
        PONS_TRY(st, pons_finish(&j.context, &j.team, &j.run, &j.account, &j.streams));
    }
    PONS_TRY(st, pons_report(&j.context, &j.team, j.teams.own.comm ? j.teams.own.size : j.team.size,
                             &j.run, &j.account, report));
done:
    pons_commit_settle_after_failure(&j.team, &j.run, &j.account);
    if (st != PONS_OK) st = say_how_to_resume(&j, st);
    close_job(&j, comm);
    return st;
}
