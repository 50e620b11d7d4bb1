/* Opening and closing a job: recipe, model, rotation, directories and who owns them. Does not touch
 * calibration text, nor the blocks of an earlier process (resume.c). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "io/file.h"
#include "kern/gemm.h"
#include "par/shared.h"
#include "pipeline/target.h"
#include "quant/activation.h"

static pons_status check_options(const pons_job *job)
{
    const pons_compress_options *o = job->options;
    if (!o->model) return pons_fail(PONS_ERR_USAGE, "compress: --model is required");
    if (!o->out) return pons_fail(PONS_ERR_USAGE, "compress: --out is required");
    if (job->recipe.rotation.learn && !o->calibration)
        return pons_fail(PONS_ERR_USAGE,
                         "compress: rotation.learn needs calibration text: --calib FILE");
    if (pons_method_needs_hessian(job->recipe.method) && !o->calibration)
        return pons_fail(PONS_ERR_USAGE, "compress: method %s needs calibration text: --calib FILE",
                         pons_method_name(job->recipe.method));
    return PONS_OK;
}

/* Collective: one precision for all ranks, also when their processors differ. */
static pons_status choose_precision(pons_job *job)
{
    bool have = pons_kern_shares_bf16(job->comm);
    if (job->recipe.compute == PONS_COMPUTE_BF16 && !have)
        return pons_fail(
            PONS_ERR_UNSUPPORTED,
            "compute: bf16 needs a processor with AMX, or AVX-512 and a build with oneDNN, "
            "the same on every rank; use compute: fp32 or auto");
    if (job->recipe.obr.precision == PONS_COMPUTE_BF16 && !have)
        return pons_fail(
            PONS_ERR_UNSUPPORTED,
            "obr.precision: bf16 needs a processor with AMX, or AVX-512 and a build with oneDNN, "
            "the same on every rank; use obr.precision: fp32 or auto");
    job->bf16 = have && job->recipe.compute != PONS_COMPUTE_FP32;
    job->solver_bf16 = have && job->recipe.obr.precision != PONS_COMPUTE_FP32;
    return PONS_OK;
}

/* Collective: what a node shares lies where the recipe says. */
static pons_status choose_scratch(pons_job *job)
{
    const char *directory = job->recipe.layout.scratch, *file = job->options->recipe;
    char name[PONS_ERROR_MESSAGE_BYTES / 2];
    if (!*directory) return PONS_OK;
    snprintf(name, sizeof name, "%s: layout.scratch", file ? file : "recipe");
    return pons_shared_use_scratch(job->comm, directory, name);
}

/* OUT and RUN are removed when a run fails or is repeated: neither may be, hold or lie in what must
 * stay. */
static pons_status check_apart(const char *option, const char *path, const char *other_option,
                               const char *other)
{
    bool overlap = false;
    pons_status st = pons_dir_overlap(path, other, &overlap);
    if (st != PONS_OK || !overlap) return st;
    return pons_fail(PONS_ERR_USAGE,
                     "%s %s and %s %s must be apart: not the same, nor one inside the other",
                     option, path, other_option, other);
}

/* What lies where OUT is to be filled belongs to a killed run, to one that is still going, or to
 * somebody else: only --force says which. */
static pons_status check_staging(const char *out)
{
    char *part = pons_dir_beside(out, ".part");
    if (!part) return PONS_ERR_NOMEM;
    pons_status st = PONS_OK;
    if (pons_dir_exists(part))
        st = pons_fail(PONS_ERR_EXISTS,
                       "%s exists, left by a killed run or filled by another one; --force "
                       "replaces it",
                       part);
    pons_mem_free(part);
    return st;
}

/* --force replaces what an earlier run made, not whatever directory the path happens to name. */
static pons_status check_ours(const char *option, const char *path, const char *marker)
{
    char *file = pons_mem_printf("%s/%s", path, marker);
    bool ours = file && pons_file_exists(file);
    pons_mem_free(file);
    if (!file) return PONS_ERR_NOMEM;
    if (ours || !pons_dir_exists(path) || rmdir(path) == 0)
        return PONS_OK; /* an empty one is fine */
    return pons_fail(
        PONS_ERR_EXISTS,
        "%s %s: --force replaces only a directory with %s in it, and this one has none", option,
        path, marker);
}

/* Refuse what the recipe asks of widths this model does not have, before any work. */
static pons_status check_widths(const pons_job *job)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = job->config;
    const pons_recipe *r = &job->recipe;
    PONS_TRY(st, pons_activation_check(&r->activations, c->hidden, c->head_dim,
                                       c->heads * c->head_dim, c->intermediate));
    for (int g = 0; g < PONS_GROUPS; g++) {
        int64_t d = pons_group_dim(c, (pons_group)g);
        if (pons_method_quantizes(r->method) && r->weights.group_size && d % r->weights.group_size)
            return pons_fail(
                PONS_ERR_CONFIG,
                "weights.group_size: found %lld, allowed: a divisor of %lld, the input width of %s",
                (long long)r->weights.group_size, (long long)d, pons_group_name((pons_group)g));
        if (pons_method_prunes(r->method) && r->prune.m && d % r->prune.m)
            return pons_fail(PONS_ERR_CONFIG,
                             "prune.pattern: found %d:%d, allowed: groups that divide %lld, the "
                             "input width of %s",
                             r->prune.n, r->prune.m, (long long)d, pons_group_name((pons_group)g));
    }
done:
    return st;
}

char *pons_job_recipe_text(const pons_job *job)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    if (!stream) return NULL;
    pons_status st = pons_recipe_print(&job->recipe, stream);
    if (fclose(stream) != 0 || st != PONS_OK) {
        free(text);
        return NULL;
    }
    return text;
}

static pons_status write_effective_recipe(const pons_job *job)
{
    pons_status st = PONS_ERR_NOMEM;
    char *path = pons_mem_printf("%s/recipe.yaml", job->run), *text = pons_job_recipe_text(job);
    if (path && text) st = pons_file_write(path, text, strlen(text));
    free(text);
    pons_mem_free(path);
    return st;
}

/* A mistyped path is refused; it does not become a tree of new directories. */
static pons_status check_parent(const char *option, const char *path)
{
    pons_status st = PONS_OK;
    char *parent = pons_mem_strdup(path);
    if (!parent) return PONS_ERR_NOMEM;
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/')
        parent[--n] = 0;
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = 0;
    if (slash && !pons_dir_exists(parent))
        st = pons_fail(PONS_ERR_IO, "%s %s: no directory %s", option, path, parent);
    pons_mem_free(parent);
    return st;
}

static bool is_lock(const char *name, const void *user)
{
    (void)user;
    return !strcmp(name, "lock");
}

/* Whether RUN is there, and whose it is. Nothing in it is changed before its lock is ours. */
static pons_status take_run(pons_job *job, bool *found)
{
    pons_status st = PONS_OK;
    const pons_compress_options *o = job->options;
    *found = pons_dir_exists(job->run);
    if (*found && o->force) PONS_TRY(st, check_ours("--run", job->run, "recipe.yaml"));
    if (!*found || o->force || o->resume) {
        bool made = !pons_dir_exists(job->run);
        PONS_TRY(st, pons_dir_make(job->run));
        st = pons_lock_take(job->run, &job->lock);
        if (st != PONS_OK) goto done;
        job->run_made = made || o->force;
    }
    if (*found && o->force) PONS_TRY(st, pons_dir_clean(job->run, is_lock, NULL));
    PONS_TRY(st, pons_journal_open(job->run, &job->journal));
    if (*found && !o->force && !o->resume)
        st = pons_fail(
            PONS_ERR_EXISTS,
            "%s: state directory of %s; give --resume to go on, --force to replace it, or "
            "--run DIR",
            job->run,
            pons_journal_find(job->journal, "finished", NULL, 0) ? "an earlier run"
                                                                 : "a run that did not finish");
done:
    return st;
}

/* A run keeps its recipe to the end. */
static pons_status check_same_recipe(const pons_job *job)
{
    pons_recipe begun;
    pons_recipe_difference d;
    char *path = pons_mem_printf("%s/recipe.yaml", job->run);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_recipe_load(path, NULL, 0, &begun);
    if (st == PONS_OK && pons_recipe_differ(&begun, &job->recipe, &d))
        st = pons_fail(PONS_ERR_CONFIG,
                       "%s: %s: begun with %s, now %s; a resumed run keeps its recipe", path, d.key,
                       *d.a ? d.a : "none", *d.b ? d.b : "none");
    pons_mem_free(path);
    return st;
}

/* RUN of an earlier process: OUT.part waits for its next block, or OUT is complete. */
static pons_status continue_run(pons_job *job, const json_t *begin, bool untie)
{
    pons_status st = PONS_OK;
    const char *out = job->options->out;
    char *part = pons_dir_beside(out, ".part");
    if (!part) return PONS_ERR_NOMEM;
    PONS_TRY(st, check_same_recipe(job));
    job->written = !pons_dir_exists(part) && pons_dir_exists(out);
    if (job->written) goto done;
    if (pons_dir_exists(out) && !json_is_true(json_object_get(begin, "replace"))) {
        st = pons_fail(PONS_ERR_EXISTS, "%s has appeared since %s was begun", out, job->run);
        goto done;
    }
    PONS_TRY(st, pons_pack_writer_create(out, PONS_PACK_CONTINUE, job->model, &job->recipe, untie,
                                         &job->writer));
done:
    pons_mem_free(part);
    return st;
}

static pons_status begin_run(pons_job *job, bool untie)
{
    pons_status st = PONS_OK;
    const pons_compress_options *o = job->options;
    char *hessians = NULL;
    PONS_TRY(st, pons_pack_writer_create(o->out, o->force ? PONS_PACK_REPLACE : PONS_PACK_NEW,
                                         job->model, &job->recipe, untie, &job->writer));
    PONS_TRY(st, write_effective_recipe(job));
    if (job->recipe.keep_hessians) {
        hessians = pons_mem_printf("%s/hessians", job->run);
        PONS_TRY(st, hessians ? pons_dir_make(hessians) : PONS_ERR_NOMEM);
    }
done:
    pons_mem_free(hessians);
    return st;
}

/* Rank 0. OUT is staged and RUN made before any work starts, so that a refusal costs nothing. */
static pons_status make_directories(pons_job *job)
{
    pons_status st = PONS_OK;
    const pons_compress_options *o = job->options;
    bool untie = pons_rotation_folds(job->rotation) && job->config->tied, found = false;
    PONS_TRY(st, check_apart("--out", o->out, "--run", job->run));
    PONS_TRY(st, check_apart("--out", o->out, "--model", o->model));
    PONS_TRY(st, check_apart("--run", job->run, "--model", o->model));
    if (o->hessians) PONS_TRY(st, check_apart("--run", job->run, "--hessians", o->hessians));
    if (o->hessians) PONS_TRY(st, check_apart("--out", o->out, "--hessians", o->hessians));
    PONS_TRY(st, check_parent("--out", o->out));
    PONS_TRY(st, check_parent("--run", job->run));
    if (o->force) PONS_TRY(st, check_ours("--out", o->out, "pons.json"));
    PONS_TRY(st, take_run(job, &found));
    job->linears = json_array();
    if (!job->linears) PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest"));
    const json_t *begin = pons_journal_find(job->journal, "begin", NULL, 0);
    job->resumed = begin != NULL;
    if (begin) PONS_TRY(st, continue_run(job, begin, untie));
    if (begin) goto done;
    if (o->resume)
        pons_log(PONS_LOG_INFO, "resume: %s holds no begun run, beginning one", job->run);
    if (!o->force && !found) PONS_TRY(st, check_staging(o->out));
    PONS_TRY(st, begin_run(job, untie));
done:
    return st;
}

pons_status pons_job_open(pons_job *job)
{
    pons_status st = PONS_OK, local = PONS_OK;
    const pons_compress_options *o = job->options;
    if (job->rank == 0) local = pons_recipe_load(o->recipe, o->set, o->set_count, &job->recipe);
    PONS_TRY_ALL(st, job->comm, local);
    pons_comm_bcast(job->comm, &job->recipe, sizeof job->recipe, 0);
    pons_stop_set_grace(job->recipe.checkpoint.grace);
    PONS_TRY_ALL(st, job->comm, check_options(job));
    PONS_TRY(st, choose_precision(job));
    PONS_TRY(st, choose_scratch(job));

    PONS_TRY_ALL(st, job->comm, pons_model_open(o->model, &job->model));
    job->config = pons_model_get_config(job->model);
    local = pons_model_is_packed(job->model)
                ? pons_fail(PONS_ERR_UNSUPPORTED, "%s: model is already quantized", o->model)
                : PONS_OK;
    PONS_TRY_ALL(st, job->comm, local);
    PONS_TRY_ALL(st, job->comm, check_widths(job));
    PONS_TRY_ALL(st, job->comm, pons_rotation_create(&job->recipe, job->config, &job->rotation));
    job->runtime = pons_rotation_runtime(job->rotation);
    job->calibration = job->runtime;
    pons_runtime_drop_quantizers(&job->calibration);
    /* FlatQuant's clipping was learned with quantizers on */
    bool quantized =
        job->runtime.transforms || job->recipe.obr.target == PONS_TARGET_QUANTIZED_INPUTS;
    job->inputs = quantized ? job->runtime : job->calibration;

    if (o->hessians) PONS_TRY_ALL(st, job->comm, pons_job_check_reuse(job));
    if (job->recipe.wave > 1 && !o->hessians) PONS_TRY(st, pons_job_make_teams(job));
    job->run = o->run ? pons_mem_strdup(o->run) : pons_dir_beside(o->out, ".run");
    PONS_TRY_ALL(st, job->comm, job->run ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY_ALL(st, job->comm, job->rank == 0 ? make_directories(job) : PONS_OK);
    pons_comm_bcast(job->comm, &job->resumed, sizeof job->resumed, 0);
    pons_comm_bcast(job->comm, &job->written, sizeof job->written, 0);
    if (job->rank == 0)
        pons_log(PONS_LOG_INFO, "compress: method = %s, model = %s, ranks = %d, products = %s, %s",
                 pons_method_name(job->recipe.method), o->model, job->size,
                 job->bf16 ? "bf16" : "fp32", pons_kern_describe());
    if (job->rank == 0 && job->recipe.rotation.file[0])
        pons_log(PONS_LOG_INFO, "rotation: file = %s, deviation = %.2g", job->recipe.rotation.file,
                 pons_rotation_deviation(job->rotation));
done:
    return st;
}

void pons_job_close(pons_job *job)
{
    bool keep = job->resumed || job->written || job->done > 0;
    pons_eval_stream_destroy(&job->weights_only);
    pons_eval_stream_destroy(&job->full);
    if (keep)
        pons_pack_writer_leave(&job->writer);
    else
        pons_pack_writer_abandon(&job->writer);
    if (!keep && job->run_made) pons_dir_remove(job->run);
    pons_journal_close(&job->journal);
    pons_lock_release(&job->lock);
    json_decref(job->linears);
    pons_targets_destroy(&job->targets);
    pons_rotation_destroy(&job->rotation);
    pons_model_close(&job->model);
    pons_mem_free(job->choice);
    pons_mem_free(job->h);
    pons_mem_free(job->x);
    pons_mem_free(job->own_x);
    pons_mem_free(job->run);
    pons_comm_free(&job->team);
    pons_shared_use_scratch(job->comm, NULL, NULL);
}
