/*
 * The last step of a block: shard, journal line, sums. Rank 0 does it on a thread while all ranks go on
 * with the next block; order on disk is what it would be without the thread, since one block at a time is
 * on its way and its line follows its shard.
 */
#include "pipeline/commit.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "pipeline/counts.h"

/* A block on its way to disk. */
struct pons_commit {
    pons_job *job; /* the thread writes with its writer and journal, and reads its recipe */
    int64_t layer;
    pons_linear_work works[PONS_LINEARS];
    float *norms; /* [2 hidden] */
    double seconds;
    json_t *lines; /* of the linears, for the journal */
    pons_task *task;
};

static void destroy(struct pons_commit **commit)
{
    if (!*commit) return;
    json_decref((*commit)->lines);
    pons_linear_works_destroy((*commit)->works);
    pons_mem_free((*commit)->norms);
    pons_mem_free(*commit);
    *commit = NULL;
}

/* What the journal keeps of a linear: all that the manifest and the report need. */
static json_t *describe_linear(const pons_job *job, int64_t layer, const pons_linear_work *w)
{
    double error = 0, energy = 0;
    int64_t zeros = 0;
    char name[128];
    for (int64_t r = 0; r < w->rows; r++) {
        error += w->all.error[r];
        energy += w->all.energy[r];
        zeros += w->all.zeros[r];
    }
    snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)layer,
             pons_linear_name(w->linear));
    return json_pack("{s:s, s:I, s:I, s:i, s:I, s:f, s:f, s:o*, s:o*, s:o*}", "name", name, "rows",
                     (json_int_t)w->rows, "cols", (json_int_t)w->cols, "bits", w->bits, "zeros",
                     (json_int_t)zeros, "error", error, "energy", energy, "target_share",
                     job->targets ? json_real(w->target_share) : NULL, "holdout_ratio",
                     job->recipe.calibration.holdout > 0 ? json_real(w->holdout_ratio) : NULL,
                     "iterations", pons_counts_to_json(&w->metrics));
}

/* On the thread. */
static pons_status write_block(void *user)
{
    struct pons_commit *c = user;
    pons_status st = PONS_OK;
    pons_job *job = c->job;
    pons_pack_linear linears[PONS_LINEARS];
    for (int l = 0; l < PONS_LINEARS; l++) {
        const pons_linear_work *w = &c->works[l];
        linears[l] = (pons_pack_linear){
            .linear = w->linear,
            .bits = job->recipe.output.format == PONS_OUTPUT_DENSE ? 16 : w->bits,
            .symmetric = job->recipe.weights.symmetric,
            .group_size = job->recipe.weights.group_size,
            .codes = w->all.codes,
            .scale = w->all.scale,
            .zero = w->all.zero,
            .value = w->all.value,
            .bias = w->has_bias ? w->bias : NULL};
        if (json_array_append_new(c->lines, describe_linear(job, c->layer, w)))
            PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for a journal line"));
    }
    PONS_TRY(st, pons_pack_writer_block(job->writer, c->layer, linears, c->norms,
                                        c->norms + job->config->hidden));
    PONS_TRY(st, pons_journal_append(job->journal,
                                     json_pack("{s:s, s:I, s:s, s:f, s:O}", "event", "block",
                                               "block", (json_int_t)c->layer, "sha256",
                                               pons_pack_writer_sha256(job->writer, c->layer),
                                               "seconds", c->seconds, "linears", c->lines)));
done:
    return st;
}

static int64_t integer_of(const json_t *line, const char *key)
{
    return json_integer_value(json_object_get(line, key));
}

/* The manifest's: without the histogram, which the journal has. */
static json_t *iterations_of(const json_t *line)
{
    json_t *copy = json_copy(json_object_get(line, "iterations"));
    json_object_del(copy, "rows_by_iterations");
    return copy;
}

pons_status pons_job_count_linear(pons_job *job, const json_t *line)
{
    double error = json_number_value(json_object_get(line, "error"));
    double energy = json_number_value(json_object_get(line, "energy"));
    int64_t rows = integer_of(line, "rows"), cols = integer_of(line, "cols");
    json_t *entry =
        json_pack("{s:O?, s:I, s:I, s:O?, s:O?, s:o, s:O*, s:O*, s:o*}", "name",
                  json_object_get(line, "name"), "rows", (json_int_t)rows, "cols", (json_int_t)cols,
                  "bits", json_object_get(line, "bits"), "zeros", json_object_get(line, "zeros"),
                  "relative_error", energy > 0 ? json_real(error / energy) : json_null(),
                  "target_share", json_object_get(line, "target_share"), "holdout_ratio",
                  json_object_get(line, "holdout_ratio"), "iterations", iterations_of(line));
    if (json_array_append_new(job->linears, entry) != 0)
        return pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
    pons_row_metrics counts = pons_counts_from_json(json_object_get(line, "iterations"));
    pons_counts_add(&job->metrics, &counts);
    job->error += error;
    job->energy += energy;
    job->rows += rows;
    job->weights += rows * cols;
    job->zeros += integer_of(line, "zeros");
    job->linear_count++;
    return PONS_OK;
}

/* Rank 0. */
static pons_status start(pons_job *job, int64_t layer, pons_linear_work works[PONS_LINEARS],
                         float **norms, double seconds)
{
    pons_status st = PONS_OK;
    struct pons_commit *c;
    PONS_CALLOC(st, c, 1);
    c->lines = json_array();
    if (!c->lines) PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for a journal line"));
    c->job = job;
    c->layer = layer;
    c->seconds = seconds;
    memcpy(c->works, works, sizeof c->works);
    memset(works, 0, sizeof c->works);
    c->norms = *norms;
    *norms = NULL;
    PONS_TRY(st, pons_task_start(write_block, c, &c->task));
    job->commit = c;
    c = NULL;
done:
    destroy(&c);
    return st;
}

/* Rank 0: the end of the thread. */
static pons_status finish(pons_job *job)
{
    pons_status st = PONS_OK;
    struct pons_commit *c = job->commit;
    double begin = pons_clock();
    pons_task_span span;
    json_t *line;
    size_t i;
    st = pons_task_finish(&c->task, &span);
    pons_trace_behind(job->trace, PONS_PHASE_PACK, c->layer, span);
    job->seconds.pack += pons_trace_phase(job->trace, PONS_PHASE_PACK, begin);
    if (st != PONS_OK) goto done;
    json_array_foreach(c->lines, i, line) PONS_TRY(st, pons_job_count_linear(job, line));
done:
    destroy(&job->commit);
    return st;
}

pons_status pons_job_hand_over(pons_job *job, int64_t layer, pons_linear_work works[PONS_LINEARS],
                               float **norms, double seconds)
{
    pons_status st;
    PONS_TRY(st, pons_job_settle(job));
    PONS_TRY_ALL(st, job->comm,
                 job->rank == 0 ? start(job, layer, works, norms, seconds) : PONS_OK);
    job->next = layer + 1;
done:
    return st;
}

pons_status pons_job_settle(pons_job *job)
{
    pons_status st = PONS_OK;
    if (job->next == job->done) return PONS_OK;
    PONS_TRY_ALL(st, job->comm, job->rank == 0 ? finish(job) : PONS_OK);
    job->done = job->next;
done:
    job->next = job->done;
    return st;
}

void pons_job_let_settle(pons_job *job)
{
    char sentence[PONS_ERROR_MESSAGE_BYTES];
    if (job->next == job->done) return;
    snprintf(sentence, sizeof sentence, "%s", pons_error_message());
    if (pons_comm_all(job->comm, job->rank != 0 || finish(job) == PONS_OK)) job->done = job->next;
    job->next = job->done;
    (void)pons_fail(PONS_ERR_IO, "%s", sentence);
}
