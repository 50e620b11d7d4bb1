/* Tokens to hidden states: rank 0 tokenizes, draws windows, embeds them and sends each to its rank. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "calib/windows.h"
#include "pipeline/job.h"
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

/* Rank 0: the ids of all calibration windows, [windows, length]. */
static pons_status draw_windows(pons_job *job, int32_t **out)
{
    pons_status st = PONS_OK;
    int64_t N = job->recipe.calibration.windows, S = job->recipe.calibration.length, L = 0;
    int32_t *ids = NULL, *drawn = NULL;
    int64_t *start = NULL;
    PONS_TRY(st, pons_text_load(job->options->calibration, job->options->model, job->config->vocab,
                                true, job->recipe.calibration.join, &ids, &L));
    PONS_ALLOC(st, start, N);
    PONS_ALLOC(st, drawn, N * S);
    PONS_TRY(st, pons_windows_draw(job->options->calibration, L, S, N, job->recipe.seed, start));
    for (int64_t w = 0; w < N; w++)
        memcpy(drawn + w * S, ids + start[w], (size_t)S * sizeof *ids);
    pons_sha256 digest;
    pons_sha256_begin(&digest);
    pons_sha256_update(&digest, drawn, (size_t)(N * S) * sizeof *drawn);
    pons_sha256_end(&digest, job->calibration_digest);
    *out = drawn;
    drawn = NULL;
done:
    pons_mem_free(ids);
    pons_mem_free(start);
    pons_mem_free(drawn);
    return st;
}

/* Collective: window w goes to the rank that owns it; rank 0 never holds more than one that is not its own. */
static pons_status deal_windows(pons_job *job, const int32_t *ids)
{
    enum { TAG = 1 };
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t N = job->recipe.calibration.windows, S = job->recipe.calibration.length;
    int64_t size = S * job->config->hidden;
    float *buffer = NULL;
    job->window_begin = pons_job_share_begin(job, N, job->rank);
    job->window_end = pons_job_share_begin(job, N, job->rank + 1);
    int64_t mine = job->window_end - job->window_begin;
    job->h = pons_mem_alloc(mine * size, sizeof *job->h);
    job->x = pons_mem_alloc(mine * S * pons_block_width(job->config), sizeof *job->x);
    if (job->rank == 0) buffer = pons_mem_alloc(size, sizeof *buffer);
    if (!job->h || !job->x || (job->rank == 0 && !buffer)) local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, job->comm, local);
    for (int owner = 0; owner < job->size; owner++) {
        int64_t first = pons_job_share_begin(job, N, owner),
                last = pons_job_share_begin(job, N, owner + 1);
        for (int64_t w = first; w < last; w++) {
            float *to = job->rank == owner ? job->h + (w - first) * size : buffer;
            /* A failed embedding is still sent: the receiver waits for it, and the status is agreed on below. */
            if (job->rank == 0 && local == PONS_OK) local = pons_job_embed(job, ids + w * S, S, to);
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

/* Rank 0: ids of the evaluation text, and how many windows of it are used (0 in the recipe: as many as fit). */
static pons_status load_evaluation(const pons_job *job, int32_t **ids, int64_t *windows)
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
    return PONS_OK;
}

static pons_status open_streams(pons_job *job)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t windows = 0, length = job->recipe.evaluate.length;
    int32_t *ids = NULL;
    if (job->rank == 0) local = load_evaluation(job, &ids, &windows);
    PONS_TRY_ALL(st, job->comm, local);
    pons_comm_bcast(job->comm, &windows, sizeof windows, 0);
    PONS_TRY(st, pons_eval_stream_create(job->comm, job->config, &job->calibration, job->bf16,
                                         pons_job_idle_ranks(job), ids, windows, length,
                                         pons_job_embed, job, &job->weights_only));
    if (job->runtime.activations.bits < 16 || job->runtime.kv.bits < 16)
        PONS_TRY(st, pons_eval_stream_create(job->comm, job->config, &job->runtime, job->bf16,
                                             pons_job_idle_ranks(job), ids, windows, length,
                                             pons_job_embed, job, &job->full));
done:
    pons_mem_free(ids);
    return st;
}

/*
 * What the Hessians depend on: the tensors (name, type, shape and first bytes of each), the calibration ids and
 * the effective recipe. Reading a model of hundreds of gigabytes to hash it would cost more than the job.
 */
static pons_status take_fingerprint(pons_job *job)
{
    enum { SAMPLE = 4096 };
    const pons_store *store = pons_model_store(job->model);
    pons_sha256 s;
    pons_sha256_begin(&s);
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        const pons_tensor_view *t = pons_store_at(store, i);
        size_t bytes = pons_dtype_bytes(t->dtype, pons_tensor_elements(t));
        pons_sha256_update(&s, t->name, strlen(t->name));
        pons_sha256_update(&s, pons_dtype_name(t->dtype), strlen(pons_dtype_name(t->dtype)));
        pons_sha256_update(&s, t->shape, (size_t)t->ndim * sizeof *t->shape);
        pons_sha256_update(&s, t->data, bytes < SAMPLE ? bytes : SAMPLE);
    }
    pons_sha256_update(&s, job->calibration_digest, strlen(job->calibration_digest));
    char *recipe = pons_job_recipe_text(job);
    if (!recipe) return pons_fail(PONS_ERR_NOMEM, "out of memory for the effective recipe");
    pons_sha256_update(&s, recipe, strlen(recipe));
    free(recipe);
    pons_sha256_end(&s, job->fingerprint);
    return PONS_OK;
}

pons_status pons_job_load_windows(pons_job *job)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int32_t *ids = NULL;
    if (pons_method_needs_hessian(job->recipe.method)) {
        if (job->rank == 0) local = draw_windows(job, &ids);
        PONS_TRY_ALL(st, job->comm, local);
        if (job->rank == 0) local = take_fingerprint(job);
        PONS_TRY_ALL(st, job->comm, local);
        pons_comm_bcast(job->comm, job->fingerprint, sizeof job->fingerprint, 0);
        PONS_TRY(st, deal_windows(job, ids));
        if (job->rank == 0)
            pons_log(PONS_LOG_INFO,
                     "calibrate: windows = %lld, length = %lld, ids sha256 = %.16s...",
                     (long long)job->recipe.calibration.windows,
                     (long long)job->recipe.calibration.length, job->calibration_digest);
    }
    if (job->recipe.evaluate.text[0]) PONS_TRY(st, open_streams(job));
done:
    pons_mem_free(ids);
    return st;
}
