/* The end of a job: evaluation results, embedding and head, manifest, commit; the report on what OUT
 * then holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "model/transforms.h"
#include "pipeline/counts.h"
#include "pipeline/commit.h"

pons_status pons_job_embedding_rows(void *user, int64_t row, int64_t n, float *out)
{
    pons_job *job = user;
    pons_status st = pons_model_read_embedding_rows(job->model, row, n, out);
    if (st != PONS_OK) return st;
    st = pons_rotation_embedding(job->rotation, out, n);
    pons_dtype_round(job->recipe.output.dtype, out, n * job->config->hidden);
    return st;
}

pons_status pons_job_head_rows(void *user, int64_t row, int64_t n, float *out)
{
    pons_status st = PONS_OK;
    pons_job *job = user;
    float *gain = NULL;
    PONS_ALLOC(st, gain, job->config->hidden);
    PONS_TRY(st, pons_model_read_final_norm(job->model, gain));
    PONS_TRY(st, pons_model_read_head_rows(job->model, row, n, out));
    PONS_TRY(st, pons_rotation_head(job->rotation, gain, out, n));
    pons_dtype_round(job->recipe.output.dtype, out, n * job->config->hidden);
done:
    pons_mem_free(gain);
    return st;
}

pons_status pons_job_final_norm(pons_job *job, float *gain)
{
    pons_status st = pons_model_read_final_norm(job->model, gain);
    if (pons_rotation_folds(job->rotation))
        for (int64_t j = 0; j < job->config->hidden; j++)
            gain[j] = 1.0f;
    pons_dtype_round(job->recipe.output.dtype, gain, job->config->hidden);
    return st;
}

/* Collective: perplexity of the streams, when there are any. */
static pons_status evaluate(pons_job *job, const float *final_norm, json_t **out)
{
    pons_status st = PONS_OK;
    pons_perplexity weights_only, full;
    double start = pons_clock();
    *out = NULL;
    if (!job->weights_only) return PONS_OK;
    PONS_TRY(st, pons_eval_stream_finish(job->weights_only, job->comm, final_norm,
                                         pons_job_head_rows, job, &weights_only));
    if (job->full)
        PONS_TRY(st, pons_eval_stream_finish(job->full, job->comm, final_norm, pons_job_head_rows,
                                             job, &full));
    if (job->rank == 0)
        *out =
            json_pack("{s:I, s:I, s:f, s:o}", "windows", (json_int_t)weights_only.windows, "tokens",
                      (json_int_t)weights_only.tokens, "weights_only", weights_only.perplexity,
                      "full", job->full ? json_real(full.perplexity) : json_null());
done:
    job->seconds.evaluate += pons_trace_phase(job->trace, PONS_PHASE_EVALUATE, start);
    return st;
}

static json_t *ratio(double part, double whole)
{
    return whole > 0 ? json_real(part / whole) : json_null();
}

/* What pons.json says of a file of rotations; NULL without one. */
static pons_status describe_rotation(const pons_job *job, json_t **out)
{
    pons_status st = PONS_OK;
    char digest[65];
    const char *file = job->recipe.rotation.file;
    *out = NULL;
    if (!file[0]) return PONS_OK;
    PONS_TRY(st, pons_file_digest(file, digest));
    *out = json_pack("{s:o, s:s, s:f}", "file", pons_json_name(file), "sha256", digest, "deviation",
                     pons_rotation_deviation(job->rotation));
    if (!*out) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
done:
    return st;
}

/* The recipe that the run was begun with: the same text whoever finishes it. */
static pons_status read_recipe(const char *run, char **text)
{
    size_t bytes;
    char *path = pons_mem_printf("%s/recipe.yaml", run);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_file_read(path, text, &bytes);
    pons_mem_free(path);
    return st;
}

/* pons.json */
static pons_status make_manifest(pons_job *job, json_t *perplexity, json_t **out)
{
    pons_status st = PONS_OK;
    json_t *runtime = NULL, *rotation = NULL;
    char *recipe = NULL;
    PONS_TRY(st, read_recipe(job->run, &recipe));
    PONS_TRY(st, pons_runtime_to_json(&job->runtime, &runtime));
    PONS_TRY(st, describe_rotation(job, &rotation));
    bool calibrated = pons_method_needs_hessian(job->recipe.method);
    *out =
        json_pack("{s:i, s:s, s:s, s:s, s:o, s:O*, s:s, s:o, s:O, s:o, s:O*}", "format", 1, "pons",
                  PONS_VERSION, "method", pons_method_name(job->recipe.method), "compat",
                  job->recipe.compat == PONS_COMPAT_FAITHFUL ? "faithful" : "corrected", "runtime",
                  json_incref(runtime), "rotation", rotation, "recipe", recipe, "calibration",
                  calibrated ? json_pack("{s:I, s:I, s:s}", "windows",
                                         (json_int_t)job->recipe.calibration.windows, "length",
                                         (json_int_t)job->recipe.calibration.length, "ids_sha256",
                                         job->fingerprint.part[PONS_FINGERPRINT_CALIBRATION])
                             : json_null(),
                  "linears", job->linears, "totals",
                  json_pack("{s:I, s:I, s:I, s:o, s:o}", "linears", (json_int_t)job->linear_count,
                            "weights", (json_int_t)job->weights, "zeros", (json_int_t)job->zeros,
                            "sparsity", ratio((double)job->zeros, (double)job->weights),
                            "relative_error", ratio(job->error, job->energy)),
                  "perplexity", perplexity);
    if (!*out) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
done:
    json_decref(rotation);
    json_decref(runtime);
    pons_mem_free(recipe);
    return st;
}

/* Bytes of all tensors of a directory, and of those that make up linears. */
static pons_status count_bytes(const char *path, int64_t *all, int64_t *linears)
{
    pons_store *store = NULL;
    pons_status st = pons_store_open(path, &store);
    if (st != PONS_OK) return st;
    *all = *linears = 0;
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        const pons_tensor_view *t = pons_store_at(store, i);
        int64_t bytes = (int64_t)pons_dtype_bytes(t->dtype, pons_tensor_elements(t));
        *all += bytes;
        if (strstr(t->name, "_proj.weight")) *linears += bytes;
    }
    pons_store_close(&store);
    return PONS_OK;
}

/* What the manifest of OUT says, also when an earlier process wrote it: the perplexity, or NULL. */
static pons_status read_perplexity(const char *out, json_t **perplexity)
{
    json_t *manifest = NULL;
    char *path = pons_mem_printf("%s/pons.json", out);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_json_read(path, &manifest);
    *perplexity = json_incref(json_object_get(manifest, "perplexity"));
    json_decref(manifest);
    pons_mem_free(path);
    return st;
}

/* What the iterative solver did: counts of rows, by iterations up to the largest number needed; what masks,
 * solves and polishing cost in products of every row with a matrix of its linear's width. */
static json_t *solver_counts(const pons_row_metrics *m)
{
    json_t *counts = pons_counts_to_json(m);
    if (!counts) counts = json_object();
    json_object_set_new(counts, "products", ratio(m->flop, m->product_flop));
    return counts;
}

static pons_status make_report(pons_job *job, int64_t peak, json_t *balance, json_t **report)
{
    pons_status st = PONS_OK;
    const char *out = job->options->out;
    int64_t bytes = 0, linear_bytes = 0;
    char digest[65] = "";
    json_t *perplexity = NULL;
    PONS_TRY(st, read_perplexity(out, &perplexity));
    PONS_TRY(st, count_bytes(out, &bytes, &linear_bytes));
    if (job->recipe.output.format == PONS_OUTPUT_PACK_QUANTIZED)
        PONS_TRY(st, pons_pack_digest(out, digest));
    const pons_phase_seconds *s = &job->seconds;
    *report = json_pack(
        "{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:s, s:o, s:o, s:I, s:o, s:o, "
        "s:O*}",
        "method", pons_method_name(job->recipe.method), "compat",
        job->recipe.compat == PONS_COMPAT_FAITHFUL ? "faithful" : "corrected", "ranks", job->size,
        "linears", (json_int_t)job->linear_count, "rows", (json_int_t)job->rows, "weights",
        (json_int_t)job->weights, "zeros", (json_int_t)job->zeros, "sparsity",
        ratio((double)job->zeros, (double)job->weights), "bits",
        ratio(8.0 * (double)linear_bytes, (double)job->weights), "bytes", (json_int_t)bytes,
        "relative_error", ratio(job->error, job->energy), "digest", digest, "out",
        pons_json_name(out), "run", pons_json_name(job->run), "peak_rss_bytes", (json_int_t)peak,
        "seconds",
        json_pack(
            "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
            "s:f}",
            "total", pons_clock() - job->start, "learn", s->learn, "read", s->read, "forward",
            s->forward, "hessian", s->hessian, "keep", s->keep, "factor", s->factor, "mask",
            job->metrics.mask_seconds, "solve", job->metrics.solve_seconds, "clip",
            job->metrics.clip_seconds, "gptq", job->metrics.gptq_seconds, "polish",
            job->metrics.polish_seconds, "measure", job->metrics.measure_seconds, "gather",
            s->gather, "pack", s->pack, "evaluate", s->evaluate, "checkpoint", s->checkpoint),
        "solver", solver_counts(&job->metrics), "perplexity", perplexity);
    if (!*report || json_object_update(*report, balance))
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for the report");
done:
    json_decref(perplexity);
    return st;
}

/* Rank 0: what the forward pass needs besides the weights. */
static pons_status write_transforms(const pons_job *job)
{
    pons_status st = PONS_OK;
    int64_t n = pons_transforms_floats(job->config);
    float *blocks = NULL;
    PONS_ALLOC(st, blocks, job->config->layers * n);
    for (int64_t layer = 0; layer < job->config->layers; layer++)
        pons_rotation_transforms(job->rotation, layer, blocks + layer * n);
    st = pons_pack_writer_transforms(job->writer, blocks);
done:
    pons_mem_free(blocks);
    return st;
}

/* Rank 0 */
static pons_status write_output(pons_job *job, const float *final_norm, json_t *perplexity)
{
    pons_status st = PONS_OK;
    json_t *manifest = NULL;
    double start = pons_clock();
    bool head = pons_rotation_folds(job->rotation) || !job->config->tied;
    PONS_TRY(st, pons_pack_writer_ends(job->writer, pons_job_embedding_rows,
                                       head ? pons_job_head_rows : NULL, job, final_norm));
    if (job->runtime.transforms) PONS_TRY(st, write_transforms(job));
    PONS_TRY(st, make_manifest(job, perplexity, &manifest));
    PONS_TRY(st, pons_pack_writer_commit(&job->writer, manifest));
    job->written = true;
done:
    json_decref(manifest);
    job->seconds.pack += pons_trace_phase(job->trace, PONS_PHASE_PACK, start);
    return st;
}

/* A failure after OUT appeared: the sentence says that OUT is good. */
static pons_status only_the_report(pons_status code, json_t **report)
{
    json_decref(*report);
    *report = NULL;
    return pons_fail_within(code, "the output is complete, but not its report");
}

pons_status pons_job_finish(pons_job *job)
{
    pons_status st = PONS_OK, local = PONS_OK;
    json_t *perplexity = NULL;
    float *final_norm = pons_mem_alloc(job->config->hidden, sizeof *final_norm);
    if (!final_norm) local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_job_final_norm(job, final_norm);
    PONS_TRY_ALL(st, job->comm, local);
    PONS_TRY(st, evaluate(job, final_norm, &perplexity));
    PONS_TRY(st, pons_job_settle(job));
    if (job->rank == 0) local = write_output(job, final_norm, perplexity);
    PONS_TRY_ALL(st, job->comm, local);
done:
    json_decref(perplexity);
    pons_mem_free(final_norm);
    return st;
}

/* Rank 0: the report, also in RUN, the journal's last line, and no resume point any more. */
static pons_status close_run(pons_job *job, int64_t peak, json_t *balance, json_t **report)
{
    pons_status st = PONS_OK;
    char *hidden = pons_mem_printf("%s/hidden", job->run);
    char *copy = pons_mem_printf("%s/report.json", job->run);
    if (!hidden || !copy) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, make_report(job, peak, balance, report));
    PONS_TRY(st, pons_json_write(copy, *report));
    PONS_TRY(st,
             pons_journal_append(job->journal, json_pack("{s:s, s:o, s:f}", "event", "finished",
                                                         "out", pons_json_name(job->options->out),
                                                         "seconds", pons_clock() - job->start)));
    PONS_TRY(st, pons_dir_remove(hidden));
done:
    pons_mem_free(copy);
    pons_mem_free(hidden);
    return st;
}

/* Collective: RUN/trace.json, and on rank 0 what it says in short. */
static pons_status close_trace(pons_job *job, json_t **balance)
{
    pons_status st = PONS_OK;
    int team_size = job->team ? job->team_size : job->size;
    char *path = pons_mem_printf("%s/trace.json", job->run);
    PONS_TRY_ALL(st, job->comm, path ? PONS_OK : PONS_ERR_NOMEM);
    pons_trace_set_block(job->trace, -1);
    PONS_TRY(st, pons_trace_summarize(job->trace, job->comm, team_size, balance));
    PONS_TRY(st, pons_trace_write(job->trace, job->comm, team_size, path));
done:
    pons_mem_free(path);
    return st;
}

pons_status pons_job_report(pons_job *job, json_t **report)
{
    pons_status st = PONS_OK, local = PONS_OK;
    json_t *balance = NULL;
    double peak = pons_trace_peak(job->trace);
    pons_comm_max_f64(job->comm, &peak, 1);
    PONS_TRY(st, close_trace(job, &balance));
    if (job->rank == 0) local = close_run(job, (int64_t)peak, balance, report);
    PONS_TRY_ALL(st, job->comm, local);
done:
    if (st != PONS_OK) st = only_the_report(st, report);
    json_decref(balance);
    return st;
}
