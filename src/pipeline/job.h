/**
 * State of one compression job, shared by the files of this room. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_JOB_H
#define PONS_PIPELINE_JOB_H

#include "eval/perplexity.h"
#include "hessian/accumulate.h"
#include "io/hessian_file.h"
#include "obr/compress.h"
#include "pack/writer.h"
#include "pipeline/compress.h"
#include "rotate/rotation.h"

/** Wall seconds of this rank by phase. */
typedef struct pons_phase_seconds {
    double read, forward, hessian, factor, solve, pack, evaluate;
} pons_phase_seconds;

typedef struct pons_job {
    pons_comm *comm;
    int rank, size;
    const pons_compress_options *options;
    char *run;      /* state directory; rank 0 */
    bool run_made;  /* and it is ours to remove on failure */
    bool committed; /* OUT is complete, so that RUN stays with it; rank 0 */

    pons_recipe recipe;
    pons_model *model;
    const pons_model_config *config;
    pons_rotation *rotation;
    pons_runtime runtime;     /* what the compressed model does at inference */
    pons_runtime calibration; /* the same without activation and KV quantization */
    bool bf16, solver_bf16;   /* of the forward pass; of the dual solver */

    /* Calibration windows of this rank: global indices [window_begin, window_end). */
    int64_t window_begin, window_end;
    float *h; /* [local windows, length, hidden] residual stream */
    float *x; /* [local windows, length, width] input of the current group */

    pons_eval_stream *weights_only, *full; /* NULL unless the recipe evaluates */

    pons_pack_writer *writer; /* rank 0 */
    json_t *linears;          /* rank 0: one object per linear, for pons.json */
    double error, energy;     /* sums over all linears */
    int64_t weights, zeros, rows, linear_count;
    char fingerprint[65];
    char calibration_digest[65]; /* rank 0: SHA-256 of the calibration ids */

    pons_phase_seconds seconds;
    pons_row_metrics metrics;
    double start;
} pons_job;

/** Ranks that do not work: 1 when rank 0 only coordinates, else 0. Local. */
static inline int pons_job_idle_ranks(const pons_job *job)
{
    return job->size > 1 && !job->recipe.coordinator_works;
}

/** First of n items that falls to rank r, in [0, size]; see pons_share_begin. Local. */
static inline int64_t pons_job_share_begin(const pons_job *job, int64_t n, int r)
{
    int idle = pons_job_idle_ranks(job);
    return r < idle ? 0 : pons_share_begin(n, job->size - idle, r - idle);
}

/** Recipe, model, rotation, output and state directories. Collective. */
pons_status pons_job_open(pons_job *job);

/** Tokens, windows, embeddings dealt to their ranks; evaluation streams. Collective. */
pons_status pons_job_load_windows(pons_job *job);

/** One block: four groups in order, evaluation streams, shard, journal line. Collective. */
pons_status pons_job_compress_block(pons_job *job, int64_t layer);

/** Embedding, head, manifest, commit, report on rank 0. Collective. */
pons_status pons_job_finish(pons_job *job, json_t **report);

/** Free everything; a job that did not finish leaves neither OUT nor a state directory, unless OUT
 * was complete before it failed: then both. Local. */
void pons_job_close(pons_job *job, bool finished);

/** Embedding rows / rotated table rows / rotated head rows as the output will hold them. pons_pack_rows. Local. */
pons_status pons_job_embed(void *job, const int32_t *ids, int64_t n, float *out);
pons_status pons_job_embedding_rows(void *job, int64_t row, int64_t n, float *out);
pons_status pons_job_head_rows(void *job, int64_t row, int64_t n, float *out);

/** Final norm gain as the output will hold it: ones when rotated. Local. */
pons_status pons_job_final_norm(pons_job *job, float *gain);

/** The effective recipe as YAML, to be free()d; NULL when memory is out. Local. */
char *pons_job_recipe_text(const pons_job *job);

/** Append an object to RUN/journal.jsonl. Rank 0. Takes the reference. Local. */
pons_status pons_job_journal(pons_job *job, json_t *line);

#endif
