/*
 * The schedule of the main job. Owns nothing that outlives a call.
 *
 *            RUN, OUT.part made               line "begin"
 *   open ------------------------> windows ----------------> blocks -------> finish -------> report
 *    |      (or found: --resume)      |                        |               |               |
 *    |                                |    resume: committed   |  shard, line  |  OUT.part     |  line
 *    |                                |    blocks taken over,  |  "block" for  |  renamed to   |  "finished"
 *    |                                |    streams brought     |  each; line   |  OUT          |
 *    |                                |    to where they were  |  "hidden"     |               |
 *    |                                                         |  now and then |               |
 *    +--- OUT is complete already --------------------------------------------------------> report
 *
 * What is on disk decides where a later process goes on, whenever this one dies:
 *   no line "begin"                  nothing happened: begin
 *   OUT.part, n lines "block"        after those n blocks whose shards are what their lines say
 *   OUT, no OUT.part                 only the report may be missing
 * A wave of blocks starts again as a whole; those of it that are committed already stay as they are.
 *
 * Invariants: every rank runs the same sequence of collectives; a rank's own failure is agreed on before
 * anyone leaves (PONS_TRY_ALL); a block counts when its journal line is on disk, and everything the line
 * speaks of is there before it; shard and line of a block are written while the next one is compressed,
 * and agreed on at its end; OUT appears only in finish, by one rename; the bits of the output depend
 * neither on the number of ranks or threads nor on interruptions.
 */
#include "pipeline/compress.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "kern/limits.h"
#include "pipeline/allocate.h"
#include "pipeline/commit.h"

/* A failure after blocks were committed: the sentence says how to go on. */
static pons_status say_how_to_resume(const pons_job *job, pons_status code)
{
    char cause[PONS_ERROR_MESSAGE_BYTES];
    if (job->done == 0 || job->written) return code;
    snprintf(cause, sizeof cause, "%s", pons_error_message());
    return pons_fail(code,
                     "%s; %lld of %lld blocks are finished: the same command with --resume goes on",
                     cause, (long long)job->done, (long long)job->config->layers);
}

static pons_status compress_blocks(pons_job *job)
{
    pons_status st = PONS_OK;
    pons_progress progress = {0};
    PONS_TRY(st, pons_job_load_windows(job));
    PONS_TRY(st, pons_job_resume(job));
    PONS_TRY(st, pons_job_allocate(job));
    int64_t first = job->next;
    pons_progress_begin(&progress, "compress: blocks", job->config->layers - first);
    while (job->next < job->config->layers) {
        if (job->team)
            PONS_TRY(st, pons_job_compress_wave(job, pons_job_wave_begin(job, job->next)));
        else
            PONS_TRY(st, pons_job_compress_block(job, job->next));
        PONS_TRY(st, pons_job_save_hidden(job));
        pons_progress_update(&progress, job->next - first);
    }
    pons_progress_end(&progress);
done:
    pons_progress_drop(&progress);
    return st;
}

/* OUT is there: what remains is to report on it. */
static pons_status recall_written(pons_job *job)
{
    pons_status st = PONS_OK;
    job->done = job->next = job->config->layers;
    if (job->rank != 0) return PONS_OK;
    PONS_TRY(st, pons_job_check_written(job));
    PONS_TRY(st, pons_job_recall(job, job->done));
    pons_log(PONS_LOG_INFO, "resume: %s is complete", job->options->out);
done:
    return st;
}

pons_status pons_pipeline_compress(pons_comm *comm, const pons_compress_options *options,
                                   json_t **report)
{
    pons_status st = PONS_OK;
    pons_job job;
    memset(&job, 0, sizeof job);
    job.comm = comm;
    job.rank = pons_comm_rank(comm);
    job.size = pons_comm_size(comm);
    job.options = options;
    job.start = pons_clock();
    *report = NULL;

    PONS_TRY(st, pons_trace_begin(comm, &job.trace));
    PONS_TRY_ALL(st, comm, pons_kern_reserve_blas(omp_get_max_threads()));
    PONS_TRY(st, pons_job_open(&job));
    if (job.written) {
        PONS_TRY_ALL(st, comm, recall_written(&job));
    } else {
        PONS_TRY(st, compress_blocks(&job));
        PONS_TRY(st, pons_job_finish(&job));
    }
    PONS_TRY(st, pons_job_report(&job, report));
done:
    pons_job_let_settle(&job);
    if (st != PONS_OK) st = say_how_to_resume(&job, st);
    pons_job_close(&job);
    pons_trace_end(&job.trace);
    return st;
}
