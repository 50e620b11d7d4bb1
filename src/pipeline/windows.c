/* Tokens to hidden states: rank 0 tokenizes, draws windows, embeds them and sends each to its rank. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "calib/windows.h"
#include "io/file.h"
#include "kern/gemm.h"
#include "kern/product.h"
#include "pipeline/target.h"
#include "text/tokenizer.h"

pons_status pons_job_embed(void *user, const int32_t *ids, int64_t n, float *out)
{
    pons_job *job = user;
    pons_status st = pons_model_read_embedding(job->model, ids, n, out);
    if (st != PONS_OK) return st;
    st = pons_rotation_embedding(job->rotation, out, n);
    pons_dtype_round(job->recipe.output.dtype, out, n * job->config->hidden);
    return st;
}

static void hash_ids(const int32_t *ids, int64_t n, char hex[65])
{
    pons_sha256 digest;
    pons_sha256_begin(&digest);
    pons_sha256_update(&digest, ids, (size_t)n * sizeof *ids);
    pons_sha256_end(&digest, hex);
}

/* Rank 0: the ids of all calibration windows, held-out ones last. */
static pons_status draw_windows(pons_job *job, int32_t **out)
{
    pons_status st = PONS_OK;
    int64_t N = pons_job_windows(job), S = job->recipe.calibration.length, L = 0;
    int32_t *ids = NULL, *drawn = NULL;
    int64_t *start = NULL;
    PONS_TRY(st, pons_text_load(job->options->calibration, job->options->model, job->config->vocab,
                                true, job->recipe.calibration.join, &ids, &L));
    PONS_ALLOC(st, start, N);
    PONS_ALLOC(st, drawn, N * S);
    PONS_TRY(st, pons_windows_draw(job->options->calibration, L, S, N, job->recipe.seed, start));
    for (int64_t w = 0; w < N; w++)
        memcpy(drawn + w * S, ids + start[w], (size_t)S * sizeof *ids);
    hash_ids(drawn, N * S, job->fingerprint.part[PONS_FINGERPRINT_CALIBRATION]);
    *out = drawn;
    drawn = NULL;
done:
    pons_mem_free(ids);
    pons_mem_free(start);
    pons_mem_free(drawn);
    return st;
}

/* Rank 0 never holds more than one window that is not its own. */
pons_status pons_job_deal_windows(pons_job *job, const int32_t *ids, int64_t windows,
                                  int64_t held_out, pons_embed embed, float *h)
{
    enum { TAG = 1 };
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t S = job->recipe.calibration.length, size = S * job->config->hidden;
    float *buffer = NULL;
    if (job->rank == 0) buffer = pons_mem_alloc(size, sizeof *buffer);
    if (job->rank == 0 && !buffer) local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, job->comm, local);
    for (int owner = 0; owner < job->size; owner++) {
        int64_t first = pons_job_window_begin(job, windows, owner);
        int64_t own = pons_job_window_begin(job, windows, owner + 1) - first;
        int64_t held = pons_job_held_begin(job, held_out, owner + 1);
        int64_t all = own + pons_job_held_begin(job, held_out, owner) - held;
        for (int64_t i = 0; i < all; i++) {
            int64_t w = i < own ? first + i : windows + held + i - own;
            float *to = job->rank == owner ? h + i * size : buffer;
            /* A failed embedding is still sent: the receiver waits for it, and the status is agreed on below. */
            if (job->rank == 0 && local == PONS_OK) local = embed(job, ids + w * S, S, to);
            if (owner == 0) continue;
            if (job->rank == 0)
                pons_comm_send(job->comm, buffer, (size_t)size * sizeof *buffer, owner, TAG);
            if (job->rank == owner)
                pons_comm_recv(job->comm, to, (size_t)size * sizeof *to, 0, TAG);
        }
    }
    PONS_TRY_ALL(st, job->comm, local);
done:
    pons_mem_free(buffer);
    return st;
}

/* Collective: the windows of the main job, each on the rank that owns it. */
static pons_status hold_windows(pons_job *job, const int32_t *ids)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t N = job->recipe.calibration.windows, S = job->recipe.calibration.length;
    int64_t held_out = job->recipe.calibration.holdout;
    job->window_begin = pons_job_window_begin(job, N, job->rank);
    job->window_end = pons_job_window_begin(job, N, job->rank + 1);
    job->held_begin = pons_job_held_begin(job, held_out, job->rank + 1);
    job->held_end = pons_job_held_begin(job, held_out, job->rank);
    int64_t mine = pons_job_own_windows(job);
    job->h = pons_mem_alloc(mine * S * job->config->hidden, sizeof *job->h);
    int64_t inputs = job->team ? 1 : mine; /* a wave keeps the inputs of one window */
    job->x = pons_mem_alloc(inputs * S * pons_block_width(job->config), sizeof *job->x);
    bool apart = !pons_block_shares_input(&job->inputs);
    if (apart) job->own_x = pons_mem_alloc(S * pons_block_width(job->config), sizeof *job->own_x);
    if (!job->h || !job->x || (apart && !job->own_x)) local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, job->comm, local);
    PONS_TRY(st, pons_job_deal_windows(job, ids, N, held_out, pons_job_embed, job->h));
done:
    return st;
}

/* Rank 0: ids of the evaluation text, and how many windows of it are used (0 in the recipe: as many as fit). */
static pons_status load_evaluation(pons_job *job, int32_t **ids, int64_t *windows)
{
    const char *text = job->recipe.evaluate.text;
    int64_t count = 0, length = job->recipe.evaluate.length;
    /* pons eval ppl reads the text the same way. */
    pons_status st =
        pons_text_load(text, job->options->model, job->config->vocab, job->recipe.evaluate.special,
                       job->recipe.evaluate.join, ids, &count);
    if (st != PONS_OK) return st;
    int64_t wanted = job->recipe.evaluate.windows, fit = count / length;
    if (fit < (wanted ? wanted : 1))
        return pons_fail(
            PONS_ERR_INPUT,
            "%s: %lld tokens hold %lld windows of %lld, evaluate.windows asks for %lld", text,
            (long long)count, (long long)fit, (long long)length, (long long)(wanted ? wanted : 1));
    *windows = wanted ? wanted : fit;
    hash_ids(*ids, *windows * length, job->fingerprint.part[PONS_FINGERPRINT_EVALUATION]);
    return PONS_OK;
}

/* Collective. */
static pons_status open_streams(pons_job *job, const int32_t *ids, int64_t windows)
{
    pons_status st = PONS_OK;
    int64_t length = job->recipe.evaluate.length;
    PONS_TRY(st, pons_eval_stream_create(job->comm, job->config, &job->calibration, job->bf16,
                                         pons_job_idle_ranks(job), ids, windows, length,
                                         pons_job_embed, job, &job->weights_only));
    if (job->runtime.activations.bits < 16 || job->runtime.kv.bits < 16 ||
        job->runtime.values.bits < 16)
        PONS_TRY(st, pons_eval_stream_create(job->comm, job->config, &job->runtime, job->bf16,
                                             pons_job_idle_ranks(job), ids, windows, length,
                                             pons_job_embed, job, &job->full));
done:
    return st;
}

/* Rank 0: what the run depends on besides its recipe, compared with what it was begun with. */
static pons_status take_fingerprint(pons_job *job)
{
    pons_status st = PONS_OK;
    char *part = job->fingerprint.part[PONS_FINGERPRINT_PROGRAM];
    size_t bytes = sizeof job->fingerprint.part[PONS_FINGERPRINT_PROGRAM];
    snprintf(part, bytes, "%s", PONS_VERSION);
    part = job->fingerprint.part[PONS_FINGERPRINT_PRODUCTS];
    bool terms = pons_product_exact(job->solver_bf16) == PONS_PRODUCT_TRIPLE; /* of all ranks */
    snprintf(part, bytes, "forward %s, solver %s%s, %s", job->bf16 ? "bf16" : "fp32",
             job->solver_bf16 ? "bf16" : "fp32", terms ? " of bf16 terms" : "",
             pons_kern_arithmetic());
    PONS_TRY(st, pons_fingerprint_model(job->model, job->fingerprint.part[PONS_FINGERPRINT_MODEL]));
    if (job->recipe.rotation.file[0])
        PONS_TRY(st, pons_file_digest(job->recipe.rotation.file,
                                      job->fingerprint.part[PONS_FINGERPRINT_ROTATION]));
    PONS_TRY(st, pons_job_fingerprint_hessians(job));
    if (job->options->hessians) PONS_TRY(st, pons_job_check_hessians(job));
    if (job->resumed)
        PONS_TRY(st, pons_fingerprint_check(
                         &job->fingerprint,
                         json_object_get(pons_journal_find(job->journal, "begin", NULL, 0),
                                         "fingerprint"),
                         job->run));
done:
    return st;
}

pons_status pons_job_load_windows(pons_job *job)
{
    pons_status st = PONS_OK, local = PONS_OK;
    bool calibrates = pons_method_needs_hessian(job->recipe.method),
         evaluates = job->recipe.evaluate.text[0] != 0;
    int64_t windows = 0;
    int32_t *ids = NULL, *text = NULL;
    if (job->rank == 0) {
        if (calibrates || job->recipe.rotation.learn) local = draw_windows(job, &ids);
        if (local == PONS_OK && evaluates) local = load_evaluation(job, &text, &windows);
        if (local == PONS_OK) local = take_fingerprint(job);
    }
    PONS_TRY_ALL(st, job->comm, local);
    pons_comm_bcast(job->comm, &job->fingerprint, sizeof job->fingerprint, 0);
    pons_comm_bcast(job->comm, job->hessian_fingerprint, sizeof job->hessian_fingerprint, 0);
    calibrates = calibrates && !job->options->hessians;
    if (job->recipe.rotation.learn) PONS_TRY(st, pons_job_learn_rotation(job, ids));
    if (calibrates) PONS_TRY(st, hold_windows(job, ids));
    if (job->recipe.obr.target != PONS_TARGET_DENSE)
        PONS_TRY_ALL(st, job->comm, pons_targets_create(job));
    if (calibrates && job->rank == 0)
        pons_log(PONS_LOG_INFO, "calibrate: windows = %lld, length = %lld, ids sha256 = %.16s...",
                 (long long)job->recipe.calibration.windows,
                 (long long)job->recipe.calibration.length,
                 job->fingerprint.part[PONS_FINGERPRINT_CALIBRATION]);
    pons_comm_bcast(job->comm, &windows, sizeof windows, 0);
    if (evaluates) PONS_TRY(st, open_streams(job, text, windows));
done:
    pons_mem_free(text);
    pons_mem_free(ids);
    return st;
}
