/*
 * The schedule of the main job. Owns nothing that outlives a call.
 *
 *   open -> windows -> [ block 0 -> block 1 -> ... ] -> finish
 *
 * Invariants: every rank runs the same sequence of collectives; a rank's own failure is agreed on before
 * anyone leaves (PONS_TRY_ALL); OUT appears only in finish, by one rename; the bits of the output depend
 * neither on the number of ranks nor of threads.
 */
#include "pipeline/compress.h"

#include <string.h>

#include "base/log.h"
#include "pipeline/job.h"

pons_status pons_pipeline_compress(pons_comm *comm, const pons_compress_options *options,
                                   json_t **report)
{
    pons_status st = PONS_OK;
    pons_progress progress = {0};
    pons_job job;
    memset(&job, 0, sizeof job);
    job.comm = comm;
    job.rank = pons_comm_rank(comm);
    job.size = pons_comm_size(comm);
    job.options = options;
    job.start = pons_clock();
    *report = NULL;

    PONS_TRY(st, pons_job_open(&job));
    PONS_TRY(st, pons_job_load_windows(&job));
    pons_progress_begin(&progress, "compress: blocks", job.config->layers);
    for (int64_t layer = 0; layer < job.config->layers; layer++) {
        PONS_TRY(st, pons_job_compress_block(&job, layer));
        pons_progress_update(&progress, layer + 1);
    }
    pons_progress_end(&progress);
    PONS_TRY(st, pons_job_finish(&job, report));
done:
    pons_progress_drop(&progress);
    pons_job_close(&job, st == PONS_OK);
    return st;
}
