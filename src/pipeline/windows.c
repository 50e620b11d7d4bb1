/* Rank 0 tokenizes, draws windows, has them embedded and dealt. Does not run a block. */
#include "pipeline/windows.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "calib/windows.h"
#include "io/file.h"
#include "kern/gemm.h"
#include "kern/product.h"
#include "pipeline/deal.h"
#include "pipeline/hessians.h"
#include "pipeline/learn.h"
#include "text/tokenizer.h"

static void hash_ids(const int32_t *ids, int64_t n, char hex[65])
{
    pons_sha256 digest;
    pons_sha256_begin(&digest);
    pons_sha256_update(&digest, ids, (size_t)n * sizeof *ids);
    pons_sha256_end(&digest, hex);
}

/* Rank 0: the ids of all calibration windows, held-out ones last. */
static pons_status draw_windows(pons_context *context, int32_t **out)
{
    pons_status st = PONS_OK;
    int64_t N = context->recipe.calibration.windows + context->recipe.calibration.holdout,
            S = context->recipe.calibration.length, L = 0;
    int32_t *ids = NULL, *drawn = NULL;
    int64_t *start = NULL;
    PONS_TRY(st, pons_text_load(context->options->calibration, context->options->model,
                                context->config->vocab, true, context->recipe.calibration.join,
                                &ids, &L));
    PONS_ALLOC(st, start, N);
    PONS_ALLOC(st, drawn, N * S);
    PONS_TRY(
        st, pons_windows_draw(context->options->calibration, L, S, N, context->recipe.seed, start));
    for (int64_t w = 0; w < N; w++)
        memcpy(drawn + w * S, ids + start[w], (size_t)S * sizeof *ids);
    hash_ids(drawn, N * S, context->fingerprint.part[PONS_FINGERPRINT_CALIBRATION]);
    *out = drawn;
    drawn = NULL;
done:
    pons_mem_free(ids);
    pons_mem_free(start);
    pons_mem_free(drawn);
    return st;
}

/* Collective: the windows of the main job, each on the rank that holds it. */
static pons_status hold_windows(const pons_context *context, const pons_team *team, bool waves,
                                const int32_t *ids, pons_streams *streams)
{
    pons_status st = PONS_OK;
    pons_stream *s = &streams->compressed;
    PONS_TRY(st, pons_streams_open(context, team, !waves, streams));
    PONS_TRY(st, pons_deal_windows(team, ids, context->recipe.calibration.holdout,
                                   pons_context_embed, (void *)(uintptr_t)context, s));
    if (streams->dense.h)
        memcpy(streams->dense.h, s->h,
               (size_t)(pons_stream_count(s) * s->length * s->hidden) * sizeof *s->h);
    if (team->rank == 0)
        pons_log(PONS_LOG_INFO, "calibrate: windows = %lld, length = %lld, ids sha256 = %.16s...",
                 (long long)s->windows, (long long)s->length,
                 context->fingerprint.part[PONS_FINGERPRINT_CALIBRATION]);
done:
    return st;
}

/* Rank 0: ids of the evaluation text, and how many windows of it are used (0 in the recipe: as many as fit). */
static pons_status load_evaluation(pons_context *context, int32_t **ids, int64_t *windows)
{
    const char *text = context->recipe.evaluate.text;
    int64_t count = 0, length = context->recipe.evaluate.length;
    /* pons eval ppl reads the text the same way. */
    pons_status st = pons_text_load(text, context->options->model, context->config->vocab,
                                    context->recipe.evaluate.special, context->recipe.evaluate.join,
                                    ids, &count);
    if (st != PONS_OK) return st;
    int64_t wanted = context->recipe.evaluate.windows, fit = count / length;
    if (fit < (wanted ? wanted : 1))
        return pons_fail(
            PONS_ERR_INPUT,
            "%s: %lld tokens hold %lld windows of %lld, evaluate.windows asks for %lld", text,
            (long long)count, (long long)fit, (long long)length, (long long)(wanted ? wanted : 1));
    *windows = wanted ? wanted : fit;
    hash_ids(*ids, *windows * length, context->fingerprint.part[PONS_FINGERPRINT_EVALUATION]);
    return PONS_OK;
}

/* Collective. */
static pons_status open_evaluation(const pons_context *context, const pons_team *team,
                                   const int32_t *ids, int64_t windows, pons_streams *streams)
{
    pons_status st = PONS_OK;
    const pons_runtime *full = &context->runtime;
    int64_t length = context->recipe.evaluate.length;
    void *user = (void *)(uintptr_t)context;
    PONS_TRY(st, pons_eval_stream_create(team->comm, context->config, &context->dense,
                                         context->bf16, team->idle, ids, windows, length,
                                         pons_context_embed, user, &streams->weights_only));
    pons_eval_stream_windows(streams->weights_only)->name = "weights_only";
    if (full->activations.bits == 16 && full->kv.bits == 16 && full->values.bits == 16)
        return PONS_OK;
    PONS_TRY(st, pons_eval_stream_create(team->comm, context->config, full, context->bf16,
                                         team->idle, ids, windows, length, pons_context_embed, user,
                                         &streams->full));
    pons_eval_stream_windows(streams->full)->name = "full";
done:
    return st;
}

/* Rank 0: what the run depends on besides its recipe, compared with what it was begun with. */
static pons_status take_fingerprint(pons_context *context, const pons_rundir *run)
{
    pons_status st = PONS_OK;
    char *part = context->fingerprint.part[PONS_FINGERPRINT_PROGRAM];
    size_t bytes = sizeof context->fingerprint.part[PONS_FINGERPRINT_PROGRAM];
    snprintf(part, bytes, "%s", pons_fingerprint_program());
    part = context->fingerprint.part[PONS_FINGERPRINT_PRODUCTS];
    bool terms = pons_product_exact(context->solver_bf16) == PONS_PRODUCT_TRIPLE; /* of all ranks */
    snprintf(part, bytes, "forward %s, solver %s%s, %s", context->bf16 ? "bf16" : "fp32",
             context->solver_bf16 ? "bf16" : "fp32", terms ? " of bf16 terms" : "",
             pons_kern_arithmetic());
    PONS_TRY(st, pons_fingerprint_model(context->model,
                                        context->fingerprint.part[PONS_FINGERPRINT_MODEL]));
    if (context->recipe.rotation.file[0])
        PONS_TRY(st, pons_file_digest(context->recipe.rotation.file,
                                      context->fingerprint.part[PONS_FINGERPRINT_ROTATION]));
    PONS_TRY(st, pons_hessians_fingerprint(context));
    if (context->options->hessians) PONS_TRY(st, pons_hessians_check_files(context));
    if (run->resumed)
        PONS_TRY(st, pons_fingerprint_check(
                         &context->fingerprint,
                         json_object_get(pons_journal_find(run->journal, "begin", NULL, 0),
                                         "fingerprint"),
                         run->path));
done:
    return st;
}

pons_status pons_windows_load(pons_context *context, const pons_team *team, const pons_teams *teams,
                              pons_rundir *run, pons_account *account, pons_streams *streams)
{
    pons_status st = PONS_OK, local = PONS_OK;
    const pons_recipe *r = &context->recipe;
    bool calibrates = pons_method_needs_hessian(r->method), evaluates = r->evaluate.text[0] != 0;
    int64_t windows = 0;
    int32_t *ids = NULL, *text = NULL;
    if (team->rank == 0) {
        if (calibrates || r->rotation.learn) local = draw_windows(context, &ids);
        if (local == PONS_OK && evaluates) local = load_evaluation(context, &text, &windows);
        if (local == PONS_OK) local = take_fingerprint(context, run);
    }
    PONS_TRY_ALL(st, team->comm, local);
    pons_comm_bcast(team->comm, &context->fingerprint, sizeof context->fingerprint, 0);
    pons_comm_bcast(team->comm, context->hessian_fingerprint, sizeof context->hessian_fingerprint,
                    0);
    if (r->rotation.learn) PONS_TRY(st, pons_learn_rotation(context, team, run, account, ids));
    if (calibrates && !context->options->hessians)
        PONS_TRY(st, hold_windows(context, team, teams->own.comm != NULL, ids, streams));
    pons_comm_bcast(team->comm, &windows, sizeof windows, 0);
    if (evaluates) PONS_TRY(st, open_evaluation(context, team, text, windows, streams));
done:
    pons_mem_free(text);
    pons_mem_free(ids);
    return st;
}
