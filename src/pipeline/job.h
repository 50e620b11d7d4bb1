/**
 * State of one compression job, shared by the files of this room. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_JOB_H
#define PONS_PIPELINE_JOB_H

#include "eval/perplexity.h"
#include "hessian/accumulate.h"
#include "io/hessian_file.h"
#include "io/lock.h"
#include "obr/compress.h"
#include "pack/writer.h"
#include "pipeline/compress.h"
#include "pipeline/fingerprint.h"
#include "pipeline/journal.h"
#include "pipeline/trace.h"
#include "prune/allocate.h"
#include "rotate/rotation.h"

/** Wall seconds of this rank by phase. */
typedef struct pons_phase_seconds {
    double learn, read, forward, hessian, keep, factor, solve, gather, pack, evaluate, checkpoint;
} pons_phase_seconds;

typedef struct pons_job {
    pons_comm *comm;
    int rank, size;
    const pons_compress_options *options;
    char *run;             /* state directory */
    pons_lock *lock;       /* of RUN; rank 0 */
    pons_journal *journal; /* rank 0 */
    bool run_made; /* RUN is this process's, to be removed unless something was committed; rank 0 */
    bool resumed;  /* RUN is an earlier process's */
    bool written;  /* OUT is complete; only its report may be missing */
    int64_t done;  /* blocks [0, done) are committed */
    int64_t next;  /* blocks [0, next) are compressed: done, or one more, on its way to disk */
    struct pons_commit *commit; /* that one (commit.c); rank 0 */
    int64_t saved;              /* hidden states after so many blocks are in RUN/hidden; 0: none */

    /* Waves of several blocks (wave.c): teams of team_size adjacent ranks. */
    int teams, team_size;
    pons_comm *team; /* this rank's; NULL with a wave of one block */

    pons_recipe recipe;
    pons_model *model;
    const pons_model_config *config;
    pons_rotation *rotation;
    pons_runtime runtime;     /* what the compressed model does at inference */
    pons_runtime calibration; /* the same without activation and KV quantization */
    pons_runtime
        inputs; /* what makes the inputs that Hessians see: one of the two, by obr.target */
    bool bf16, solver_bf16; /* of the forward pass; of the dual solver */

    /* Calibration windows of this rank, one after the other: those that Hessians are made of, [window_begin, window_end) of
     * calibration.windows, then the held-out ones, [held_begin, held_end) of those after them. */
    int64_t window_begin, window_end, held_begin, held_end;
    float *h;     /* [local windows, length, hidden] residual stream */
    float *x;     /* [local windows, length, width] input of the current group */
    float *own_x; /* [length, width] a window as one linear sees it; NULL where groups share x */
    pons_allocate_choice
        *choice; /* [layers, PONS_LINEARS] of each linear; NULL: as the recipe says;
                                     bits 0: those of the recipe */
    struct pons_targets *targets; /* the dense model's stream; NULL with obr.target dense */

    pons_eval_stream *weights_only, *full; /* NULL unless the recipe evaluates */

    pons_pack_writer *writer; /* rank 0 */
    json_t *linears;          /* rank 0: one object per linear, for pons.json */
    double error, energy;     /* sums over all linears */
    int64_t weights, zeros, rows, linear_count;
    pons_fingerprint fingerprint;
    char hessian_fingerprint[1024]; /* what dense activations depend on: reuse.c */

    pons_trace *trace;
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

/** First of n calibration windows that rank r holds: with teams, the first team has them all. Local. */
static inline int64_t pons_job_window_begin(const pons_job *job, int64_t n, int r)
{
    if (!job->team) return pons_job_share_begin(job, n, r);
    return pons_share_begin(n, job->team_size, r < job->team_size ? r : job->team_size);
}

/** First block of the wave that block `layer` belongs to. Local. */
static inline int64_t pons_job_wave_begin(const pons_job *job, int64_t layer)
{
    return job->team && layer < job->config->layers ? layer - layer % job->recipe.wave : layer;
}

/** Windows drawn: those of the Hessians, then the held-out ones. Local. */
static inline int64_t pons_job_windows(const pons_job *job)
{
    return job->recipe.calibration.windows + job->recipe.calibration.holdout;
}

/** Of `held_out` windows that are dealt beside others rank r holds [pons_job_held_begin(r + 1), pons_job_held_begin(r)).
 * Those that do not divide go to the last ranks, as those of the others go to the first: no rank has more windows than
 * the sum of both, divided and rounded up. Local. */
static inline int64_t pons_job_held_begin(const pons_job *job, int64_t held_out, int r)
{
    int idle = pons_job_idle_ranks(job), workers = job->size - idle;
    return r <= idle ? held_out : pons_share_begin(held_out, workers, workers - (r - idle));
}

/** Own windows that Hessians are made of, and all of them. Local. */
static inline int64_t pons_job_hessian_windows(const pons_job *job)
{
    return job->window_end - job->window_begin;
}
static inline int64_t pons_job_own_windows(const pons_job *job)
{
    return pons_job_hessian_windows(job) + job->held_end - job->held_begin;
}

/** Recipe, model, rotation, output and state directories. Collective. */
pons_status pons_job_open(pons_job *job);

/** Tokens, windows, embeddings dealt to their ranks; evaluation streams; the fingerprint, checked
 * against the journal of a resumed run. Collective. */
pons_status pons_job_load_windows(pons_job *job);

/** What --hessians asks of the recipe. Local, the same on every rank. */
pons_status pons_job_check_reuse(const pons_job *job);

/** Set job->hessian_fingerprint. Rank 0. Local. */
pons_status pons_job_fingerprint_hessians(pons_job *job);

/** Whether the Hessians of --hessians are there for every block, dense and with this fingerprint.
 * Rank 0. Local. */
pons_status pons_job_check_hessians(pons_job *job);

/** Bring a resumed job to where its last committed block left it; a new one to its first journal
 * line. Collective. */
pons_status pons_job_resume(pons_job *job);

/** Sums and manifest entries of the blocks [0, layers) of the journal. Rank 0. Local. */
pons_status pons_job_recall(pons_job *job, int64_t layers);

/** Whether OUT is complete and holds the blocks that the journal speaks of. Rank 0. Local. */
pons_status pons_job_check_written(const pons_job *job);

/**
 * Embed windows of calibration ids and give each to the rank that owns it, by pons_job_window_begin and
 * pons_job_held_begin. Collective.
 * @param ids rank 0: [windows + held_out, length]; @param embed called with the job on rank 0
 * @param h [own windows, length, hidden]
 */
pons_status pons_job_deal_windows(pons_job *job, const int32_t *ids, int64_t windows,
                                  int64_t held_out, pons_embed embed, float *h);

/**
 * Replace the drawn rotations by ones that are learned from the first windows of calibration ids, and
 * write them to RUN/R.bin; a resumed run reads them there. Collective. The same bits for any number of
 * ranks and threads.
 * @param ids rank 0: [rotation.learn_windows or more, length]
 * Memory: an embedded window and 48 vectors of the residual stream for each norm, per window of this
 * rank; one block; rotate/learn.h. Cost: a dense forward pass over the windows and rotate/learn.h.
 */
pons_status pons_job_learn_rotation(pons_job *job, const int32_t *ids);

/** One block: four groups in order, evaluation streams, shard, journal line. Collective. */
pons_status pons_job_compress_block(pons_job *job, int64_t layer);

/** Give a block its learned transforms, when the run has any. Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_job_set_transforms(const pons_job *job, int64_t layer, pons_block *block);

/** The blocks of a wave that begins with block `first`, by teams. Collective. */
pons_status pons_job_compress_wave(pons_job *job, int64_t first);

/** Number and size of the teams, and this rank's. Collective. @return PONS_ERR_CONFIG naming the key of
 * a layout that these ranks do not make. */
pons_status pons_job_make_teams(pons_job *job);

/** Calibration windows and evaluation streams through a finished block. Local. */
pons_status pons_job_push_streams(pons_job *job, const pons_block *block);

/** The evaluation streams alone through a finished block. Local. */
pons_status pons_job_push_evaluation(pons_job *job, const pons_block *block);

/** The streams, or the evaluation streams alone, through a committed block, read from its shard.
 * Collective. */
pons_status pons_job_replay_block(pons_job *job, int64_t layer, bool calibration);

/** Norm gains of a block as the output holds them, ones when they were folded: [hidden] before
 * attention, [hidden] before the MLP. Local. */
pons_status pons_job_read_norms(const pons_job *job, int64_t layer, float *norms);

/** Manifest entry and sums of one linear, as its block's journal line has it. Rank 0. Local. */
pons_status pons_job_count_linear(pons_job *job, const json_t *line);

/** Save the hidden states after `done` blocks, if it is time to, in place of older ones. Collective. */
pons_status pons_job_save_hidden(pons_job *job);

/** Set the hidden states saved after job->saved blocks. Collective. @param files how many were
 * written, one for each rank of then */
pons_status pons_job_restore_hidden(pons_job *job, int64_t files);

/** Embedding, head, manifest, commit. Collective. */
pons_status pons_job_finish(pons_job *job);

/** The report on rank 0, from OUT and the job's sums. Collective. */
pons_status pons_job_report(pons_job *job, json_t **report);

/** Free everything. When nothing was committed neither OUT nor a state directory is left; else both
 * are, for --resume. Collective. */
void pons_job_close(pons_job *job);

/** Embedding rows / rotated table rows / rotated head rows as the output will hold them. pons_pack_rows. Local. */
pons_status pons_job_embed(void *job, const int32_t *ids, int64_t n, float *out);
pons_status pons_job_embedding_rows(void *job, int64_t row, int64_t n, float *out);
pons_status pons_job_head_rows(void *job, int64_t row, int64_t n, float *out);

/** Final norm gain as the output will hold it: ones when rotated. Local. */
pons_status pons_job_final_norm(pons_job *job, float *gain);

/** The effective recipe as YAML, to be free()d; NULL when memory is out. Local. */
char *pons_job_recipe_text(const pons_job *job);

#endif
