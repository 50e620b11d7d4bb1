/* The end of a job: evaluation results, RUN/model, OUT. The report on it is report.c's. */
#include "pipeline/finish.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "model/transforms.h"
#include "pack/export.h"
#include "pack/run_model.h"
#include "pipeline/commit.h"

/* Collective: perplexity of the streams, when there are any. */
static pons_status evaluate(const pons_context *context, const pons_team *team,
                            pons_account *account, pons_streams *streams, const float *final_norm,
                            json_t **out)
{
    pons_status st = PONS_OK;
    pons_perplexity weights_only, full;
    void *user = (void *)(uintptr_t)context;
    double start = pons_clock();
    *out = NULL;
    if (!streams->weights_only) return PONS_OK;
    PONS_TRY(st, pons_eval_stream_finish(streams->weights_only, team->comm, final_norm,
                                         pons_context_head_rows, user, &weights_only));
    if (streams->full)
        PONS_TRY(st, pons_eval_stream_finish(streams->full, team->comm, final_norm,
                                             pons_context_head_rows, user, &full));
    if (team->rank == 0)
        *out =
            json_pack("{s:I, s:I, s:f, s:o}", "windows", (json_int_t)weights_only.windows, "tokens",
                      (json_int_t)weights_only.tokens, "weights_only", weights_only.perplexity,
                      "full", streams->full ? json_real(full.perplexity) : json_null());
done:
    account->seconds.evaluate += pons_trace_phase(account->trace, PONS_PHASE_EVALUATE, start);
    return st;
}

static json_t *ratio(double part, double whole)
{
    return whole > 0 ? json_real(part / whole) : json_null();
}

/* What pons.json says of a file of rotations; NULL without one. */
static pons_status describe_rotation(const pons_context *context, json_t **out)
{
    pons_status st = PONS_OK;
    char digest[65];
    const char *file = context->recipe.rotation.file;
    *out = NULL;
    if (!file[0]) return PONS_OK;
    PONS_TRY(st, pons_file_digest(file, digest));
    *out = json_pack("{s:o, s:s, s:f}", "file", pons_json_name(file), "sha256", digest, "deviation",
                     pons_rotation_deviation(context->rotation));
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
static pons_status make_manifest(const pons_context *context, const pons_rundir *run,
                                 const pons_account *account, json_t *perplexity, json_t **out)
{
    pons_status st = PONS_OK;
    json_t *runtime = NULL, *rotation = NULL;
    char *recipe = NULL;
    PONS_TRY(st, read_recipe(run->path, &recipe));
    PONS_TRY(st, pons_runtime_to_json(&context->runtime, &runtime));
    PONS_TRY(st, describe_rotation(context, &rotation));
    bool calibrated = pons_method_needs_hessian(context->recipe.method);
    *out = json_pack(
        "{s:i, s:s, s:s, s:s, s:o, s:O*, s:s, s:o, s:O, s:o, s:O*}", "format", 1, "pons",
        PONS_VERSION, "method", pons_method_name(context->recipe.method), "compat",
        context->recipe.compat == PONS_COMPAT_FAITHFUL ? "faithful" : "corrected", "runtime",
        json_incref(runtime), "rotation", rotation, "recipe", recipe, "calibration",
        calibrated ? json_pack("{s:I, s:I, s:s}", "windows",
                               (json_int_t)context->recipe.calibration.windows, "length",
                               (json_int_t)context->recipe.calibration.length, "ids_sha256",
                               context->fingerprint.part[PONS_FINGERPRINT_CALIBRATION])
                   : json_null(),
        "linears", account->linears, "totals",
        json_pack("{s:I, s:I, s:I, s:o, s:o}", "linears", (json_int_t)account->linear_count,
                  "weights", (json_int_t)account->weights, "zeros", (json_int_t)account->zeros,
                  "sparsity", ratio((double)account->zeros, (double)account->weights),
                  "relative_error", ratio(account->error, account->energy)),
        "perplexity", perplexity);
    if (!*out) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
done:
    json_decref(rotation);
    json_decref(runtime);
    pons_mem_free(recipe);
    return st;
}

/* Learned transforms of all blocks. */
static pons_status list_transforms(const pons_context *context, float **out)
{
    pons_status st = PONS_OK;
    int64_t n = pons_transforms_floats(context->config);
    PONS_ALLOC(st, *out, context->config->layers * n);
    for (int64_t layer = 0; layer < context->config->layers; layer++)
        pons_rotation_transforms(context->rotation, layer, *out + layer * n);
done:
    return st;
}

static const pons_format *format_of(const pons_context *context)
{
    return context->recipe.output.format == PONS_OUTPUT_DENSE ? &pons_format_dense
                                                              : &pons_format_compressed_tensors;
}

/* Rank 0: RUN/model, and the line that says so. */
static pons_status write_model(const pons_context *context, pons_rundir *run,
                               const pons_account *account, const float *final_norm,
                               json_t *perplexity)
{
    pons_status st = PONS_OK;
    json_t *manifest = NULL;
    float *transforms = NULL;
    char hex[65];
    bool head = pons_rotation_folds(context->rotation) || !context->config->tied;
    const pons_ends_source ends = {.embedding = pons_context_embedding_rows,
                                   .head = head ? pons_context_head_rows : NULL,
                                   .user = (void *)(uintptr_t)context,
                                   .final_norm = final_norm};
    if (context->runtime.transforms) PONS_TRY(st, list_transforms(context, &transforms));
    PONS_TRY(st, make_manifest(context, run, account, perplexity, &manifest));
    const pons_run_model model = {.source = context->model,
                                  .dtype = context->recipe.output.dtype,
                                  .format = format_of(context)->name,
                                  .ends = &ends,
                                  .transforms = transforms,
                                  .manifest = manifest};
    PONS_TRY(st, pons_run_model_write(run->path, &model));
    PONS_TRY(st, pons_manifest_digest(manifest, hex));
    PONS_TRY(st, pons_journal_append(run->journal,
                                     json_pack("{s:s, s:s}", "event", "model", "sha256", hex)));
    pons_fault_die(PONS_FAULT_MODEL_DIE);
done:
    pons_mem_free(transforms);
    json_decref(manifest);
    return st;
}

/* Collective: RUN/model. */
static pons_status complete(const pons_context *context, const pons_team *team, pons_rundir *run,
                            pons_account *account, pons_streams *streams)
{
    pons_status st = PONS_OK, local = PONS_OK;
    json_t *perplexity = NULL;
    float *final_norm = pons_mem_alloc(context->config->hidden, sizeof *final_norm);
    if (!final_norm) local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_context_final_norm(context, final_norm);
    PONS_TRY_ALL(st, team->comm, local);
    PONS_TRY(st, evaluate(context, team, account, streams, final_norm, &perplexity));
    PONS_TRY(st, pons_commit_settle(team, run, account));
    double start = pons_clock();
    if (team->rank == 0) local = write_model(context, run, account, final_norm, perplexity);
    account->seconds.pack += pons_trace_phase(account->trace, PONS_PHASE_PACK, start);
    PONS_TRY_ALL(st, team->comm, local);
    run->complete = true;
done:
    json_decref(perplexity);
    pons_mem_free(final_norm);
    return st;
}

pons_status pons_finish(const pons_context *context, const pons_team *team, pons_rundir *run,
                        pons_account *account, pons_streams *streams)
{
    pons_status st = PONS_OK;
    pons_export_result result;
    const pons_export_options output = {.source = run->path,
                                        .out = context->options->out,
                                        .format = format_of(context),
                                        .staging = PONS_EXPORT_STAGED};
    if (!run->complete) PONS_TRY(st, complete(context, team, run, account, streams));
    double start = pons_clock();
    PONS_TRY(st, pons_export(team->comm, &output, &result));
    account->seconds.pack += pons_trace_phase(account->trace, PONS_PHASE_PACK, start);
    run->written = true;
done:
    return st;
}
