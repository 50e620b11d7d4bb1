/* RUN and OUT.part: who owns them, and what an earlier process left. Does not read the blocks in them
 * (resume.c). */
#include "pipeline/rundir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "pack/run_model.h"

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
    if (ours || !pons_dir_exists(path) || pons_dir_is_empty(path)) return PONS_OK;
    return pons_fail(
        PONS_ERR_EXISTS,
        "%s %s: --force replaces only a directory with %s in it, and this one has none", option,
        path, marker);
}

static pons_status write_effective_recipe(const pons_context *context, const pons_rundir *run)
{
    pons_status st = PONS_ERR_NOMEM;
    char *path = pons_mem_printf("%s/recipe.yaml", run->path),
         *text = pons_context_recipe_text(context);
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
static pons_status take_run(const pons_context *context, pons_rundir *run, bool *found)
{
    pons_status st = PONS_OK;
    const pons_compress_options *o = context->options;
    *found = pons_dir_exists(run->path);
    if (*found && o->force) PONS_TRY(st, check_ours("--run", run->path, "recipe.yaml"));
    if (!*found || o->force || o->resume) {
        bool made = !pons_dir_exists(run->path);
        PONS_TRY(st, pons_dir_make(run->path));
        st = pons_lock_take(run->path, &run->lock);
        if (st != PONS_OK) goto done;
        run->made = made || o->force;
    }
    if (*found && o->force) PONS_TRY(st, pons_dir_clean(run->path, is_lock, NULL));
    PONS_TRY(st, pons_journal_open(run->path, &run->journal));
    if (*found && !o->force && !o->resume)
        st = pons_fail(
            PONS_ERR_EXISTS,
            "%s: state directory of %s; give --resume to go on, --force to replace it, or "
            "--run DIR",
            run->path,
            pons_journal_find(run->journal, "finished", NULL, 0) ? "an earlier run"
                                                                 : "a run that did not finish");
done:
    return st;
}

/* A run keeps its recipe to the end. */
static pons_status check_same_recipe(const pons_context *context, const pons_rundir *run)
{
    pons_recipe begun;
    pons_recipe_difference d;
    char *path = pons_mem_printf("%s/recipe.yaml", run->path);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_recipe_load(path, NULL, 0, &begun);
    if (st == PONS_OK && pons_recipe_differ(&begun, &context->recipe, &d))
        st = pons_fail(PONS_ERR_CONFIG,
                       "%s: %s: begun with %s, now %s; a resumed run keeps its recipe", path, d.key,
                       *d.a ? d.a : "none", *d.b ? d.b : "none");
    pons_mem_free(path);
    return st;
}

/* Whether OUT is what this run has made: its manifest is that of RUN/model. */
static pons_status find_written(const pons_context *context, pons_rundir *run)
{
    pons_status st = PONS_OK;
    const json_t *line = pons_journal_find(run->journal, "model", NULL, 0);
    const char *expected = json_string_value(json_object_get(line, "sha256"));
    char hex[65], *path = pons_mem_printf("%s/pons.json", context->options->out);
    json_t *manifest = NULL;
    if (!path) return PONS_ERR_NOMEM;
    if (!expected || !pons_file_exists(path)) goto done;
    PONS_TRY(st, pons_json_read(path, &manifest));
    PONS_TRY(st, pons_manifest_digest(manifest, hex));
    run->written = !strcmp(hex, expected);
done:
    json_decref(manifest);
    pons_mem_free(path);
    return st;
}

/* RUN of an earlier process: its blocks wait for the next one, for OUT, or for the report. */
static pons_status continue_run(const pons_context *context, pons_rundir *run, const json_t *begin)
{
    pons_status st = PONS_OK;
    const char *out = context->options->out;
    char *part = pons_dir_beside(out, ".part");
    int64_t layout = json_integer_value(json_object_get(begin, "layout"));
    if (!part) return PONS_ERR_NOMEM;
    if (layout != PONS_RUN_LAYOUT)
        PONS_TRY(st, pons_fail(PONS_ERR_INPUT,
                               "%s: found a run of layout %lld, which another version of Pons has "
                               "begun; allowed: layout %d; --force begins anew",
                               run->path, (long long)layout, PONS_RUN_LAYOUT));
    PONS_TRY(st, check_same_recipe(context, run));
    PONS_TRY(st, find_written(context, run));
    if (run->written) goto done;
    bool replace = json_is_true(json_object_get(begin, "replace")) && pons_dir_exists(part);
    if (pons_dir_exists(out) && !replace) {
        st = pons_fail(PONS_ERR_EXISTS, "%s has appeared since %s was begun", out, run->path);
        goto done;
    }
    PONS_TRY(st, pons_dir_make(part));
done:
    pons_mem_free(part);
    return st;
}

static pons_status make_in_run(const pons_rundir *run, const char *name)
{
    char *path = pons_mem_printf("%s/%s", run->path, name);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_dir_make(path);
    pons_mem_free(path);
    return st;
}

static pons_status begin_run(const pons_context *context, pons_rundir *run)
{
    pons_status st = PONS_OK;
    const pons_compress_options *o = context->options;
    PONS_TRY(st, pons_dir_stage(o->out, ".part", o->force, &run->staged));
    PONS_TRY(st, write_effective_recipe(context, run));
    PONS_TRY(st, make_in_run(run, "blocks"));
    if (context->recipe.keep_hessians) PONS_TRY(st, make_in_run(run, "hessians"));
done:
    return st;
}

/* Rank 0. OUT is staged and RUN made before any work starts, so that a refusal costs nothing. */
static pons_status make_directories(const pons_context *context, pons_rundir *run)
{
    pons_status st = PONS_OK;
    const pons_compress_options *o = context->options;
    bool found = false;
    PONS_TRY(st, check_apart("--out", o->out, "--run", run->path));
    PONS_TRY(st, check_apart("--out", o->out, "--model", o->model));
    PONS_TRY(st, check_apart("--run", run->path, "--model", o->model));
    if (o->hessians) PONS_TRY(st, check_apart("--run", run->path, "--hessians", o->hessians));
    if (o->hessians) PONS_TRY(st, check_apart("--out", o->out, "--hessians", o->hessians));
    PONS_TRY(st, check_parent("--out", o->out));
    PONS_TRY(st, check_parent("--run", run->path));
    if (o->force) PONS_TRY(st, check_ours("--out", o->out, "pons.json"));
    PONS_TRY(st, take_run(context, run, &found));
    const json_t *begin = pons_journal_find(run->journal, "begin", NULL, 0);
    run->resumed = begin != NULL;
    if (begin) PONS_TRY(st, continue_run(context, run, begin));
    if (begin) goto done;
    if (o->resume)
        pons_log(PONS_LOG_INFO, "resume: %s holds no begun run, beginning one", run->path);
    if (!o->force && !found) PONS_TRY(st, check_staging(o->out));
    PONS_TRY(st, begin_run(context, run));
done:
    return st;
}

pons_status pons_rundir_open(pons_comm *comm, const pons_context *context, pons_rundir *run)
{
    pons_status st = PONS_OK;
    const pons_compress_options *o = context->options;
    int rank = pons_comm_rank(comm);
    run->path = o->run ? pons_mem_strdup(o->run) : pons_dir_beside(o->out, ".run");
    PONS_TRY_ALL(st, comm, run->path ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY_ALL(st, comm, rank == 0 ? make_directories(context, run) : PONS_OK);
    pons_comm_bcast(comm, &run->resumed, sizeof run->resumed, 0);
    pons_comm_bcast(comm, &run->written, sizeof run->written, 0);
done:
    return st;
}

void pons_rundir_close(pons_rundir *run)
{
    bool keep = run->resumed || run->written || run->done > 0;
    char sentence[PONS_ERROR_MESSAGE_BYTES]; /* of the failure that led here */
    snprintf(sentence, sizeof sentence, "%s", pons_error_message());
    if (!keep && run->staged && pons_dir_remove(run->staged) != PONS_OK)
        (void)pons_fail(PONS_ERR_IO, "%s", sentence);
    if (!keep && run->made) pons_dir_remove(run->path);
    pons_mem_free(run->staged);
    pons_journal_close(&run->journal);
    pons_lock_release(&run->lock);
    pons_mem_free(run->path);
}
