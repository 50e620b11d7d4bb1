/* Owns the life of an output directory: staged, filled by the ranks, given its manifest, renamed. Does not
 * know what a form writes (format.h). */
#include "pack/export.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"

typedef struct work {
    pons_comm *comm;
    const pons_export_options *options;
    int rank;
    char *directory;          /* being filled */
    pons_pack_source *source; /* of this rank */
    pons_format_job job;
    void *state;
    pons_format_file *blocks; /* [layers] */
    int64_t layers;
} work;

/* ---- Staging. */

static pons_status refuse(const char *out, const char *suffix)
{
    pons_status st = PONS_OK;
    char *path = pons_dir_beside(out, suffix);
    if (!path) return PONS_ERR_NOMEM;
    if (pons_dir_exists(path))
        st = pons_fail(PONS_ERR_EXISTS, "%s exists: a run of pons compress writes this output",
                       path);
    pons_mem_free(path);
    return st;
}

/* --force replaces what Pons made, not whatever directory the path happens to name. */
static pons_status check_replaced(const char *out)
{
    char *manifest = pons_mem_printf("%s/pons.json", out);
    if (!manifest) return PONS_ERR_NOMEM;
    bool ours = pons_file_exists(manifest) || !pons_dir_exists(out) || rmdir(out) == 0;
    pons_mem_free(manifest);
    return ours ? PONS_OK
                : pons_fail(PONS_ERR_EXISTS,
                            "--out %s: --force replaces only a directory with pons.json in it, and "
                            "this one has none",
                            out);
}

/* Rank 0. */
static pons_status stage(work *w)
{
    pons_status st = PONS_OK;
    const pons_export_options *o = w->options;
    bool overlap = false;
    if (o->staging == PONS_EXPORT_STAGED) {
        w->directory = pons_dir_beside(o->out, ".part");
        if (!w->directory) return PONS_ERR_NOMEM;
        PONS_TRY(st, pons_dir_remove(w->directory));
        return pons_dir_make(w->directory);
    }
    PONS_TRY(st, pons_dir_overlap(o->source, o->out, &overlap));
    if (overlap)
        return pons_fail(PONS_ERR_USAGE,
                         "%s and --out %s must be apart: not the same, nor one inside the other",
                         o->source, o->out);
    PONS_TRY(st, refuse(o->out, ".part"));
    if (o->staging == PONS_EXPORT_REPLACE) PONS_TRY(st, check_replaced(o->out));
    PONS_TRY(st,
             pons_dir_stage(o->out, ".export", o->staging == PONS_EXPORT_REPLACE, &w->directory));
done:
    return st;
}

/* Best effort, and silent: the sentence of the failure that led here must survive. */
static void unstage(work *w)
{
    char sentence[PONS_ERROR_MESSAGE_BYTES];
    if (w->rank != 0 || !w->directory) return;
    snprintf(sentence, sizeof sentence, "%s", pons_error_message());
    pons_status st = pons_dir_remove(w->directory);
    if (st == PONS_OK && w->options->staging == PONS_EXPORT_STAGED)
        st = pons_dir_make(w->directory);
    (void)pons_fail(PONS_ERR_IO, "%s", sentence);
}

/* Collective: the name of the directory on every rank. */
static pons_status share_directory(work *w)
{
    pons_status st = PONS_OK;
    size_t bytes = w->rank == 0 ? strlen(w->directory) + 1 : 0;
    pons_comm_bcast(w->comm, &bytes, sizeof bytes, 0);
    if (w->rank != 0) w->directory = pons_mem_alloc((int64_t)bytes, 1);
    PONS_TRY_ALL(st, w->comm, w->directory ? PONS_OK : PONS_ERR_NOMEM);
    pons_comm_bcast(w->comm, w->directory, bytes, 0);
done:
    return st;
}

/* ---- Filling. */

/* Local. */
static pons_status open_source(work *w)
{
    pons_status st = PONS_OK;
    const pons_export_options *o = w->options;
    PONS_TRY(st, pons_pack_source_open(o->source, &w->source));
    const pons_model_config *c = pons_pack_source_config(w->source);
    w->job.source = w->source;
    w->job.dtype = o->dtype ? *o->dtype : c->dtype;
    w->layers = c->layers;
    PONS_CALLOC(st, w->blocks, w->layers);
    PONS_TRY(st, pons_pack_source_open_block(w->source, 0));
    if (o->format->check) PONS_TRY(st, o->format->check(&w->job));
done:
    return st;
}

static int owner_of(const work *w, int64_t layer)
{
    return w->options->format->one_writer ? 0 : (int)(layer % pons_comm_size(w->comm));
}

/* Local: the own blocks. */
static pons_status write_blocks(work *w)
{
    pons_status st = PONS_OK;
    const pons_format *format = w->options->format;
    pons_progress progress = {0};
    w->job.directory = w->directory;
    PONS_TRY(st, format->begin(&w->job, &w->state));
    pons_progress_begin(&progress, "export: blocks", w->layers);
    for (int64_t layer = 0; layer < w->layers; layer++) {
        if (owner_of(w, layer) == w->rank) {
            PONS_TRY(st, pons_pack_source_open_block(w->source, layer));
            PONS_TRY(st, format->block(w->state, layer, &w->blocks[layer]));
        }
        pons_progress_update(&progress, layer + 1);
    }
    pons_progress_end(&progress);
done:
    pons_progress_drop(&progress);
    return st;
}

/* The manifest of the source, with the form when it is another one, and SHA-256 of each file. */
static pons_status write_manifest(const work *w, json_t *files)
{
    pons_status st = PONS_OK;
    const char *format = w->options->format->name;
    char *path = pons_mem_printf("%s/pons.json", w->directory);
    json_t *manifest = json_copy((json_t *)(uintptr_t)pons_pack_source_manifest(w->source));
    bool same = !strcmp(format, pons_pack_source_format(w->source)) &&
                w->job.dtype == pons_pack_source_config(w->source)->dtype;
    bool bad = !path || !manifest;
    if (!bad && !same)
        bad = json_object_set_new(
            manifest, "export",
            json_pack("{s:s, s:s}", "format", format, "dtype", pons_dtype_name(w->job.dtype)));
    if (bad || json_object_set(manifest, "files", files))
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
    if (st == PONS_OK) st = pons_json_write(path, manifest);
    json_decref(manifest);
    pons_mem_free(path);
    return st;
}

static pons_status count_bytes(const work *w, const json_t *files, pons_export_result *result)
{
    const char *name;
    json_t *value;
    *result = (pons_export_result){.dtype = w->job.dtype};
    json_object_foreach((json_t *)(uintptr_t)files, name, value)
    {
        struct stat info;
        char *path = pons_mem_printf("%s/%s", w->directory, name);
        if (!path) return PONS_ERR_NOMEM;
        int failed = stat(path, &info);
        pons_status st =
            failed ? pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", path) : PONS_OK;
        pons_mem_free(path);
        if (st != PONS_OK) return st;
        result->files++;
        result->bytes += info.st_size;
    }
    return PONS_OK;
}

/* Rank 0. */
static pons_status commit(work *w, pons_export_result *result)
{
    pons_status st = PONS_OK;
    json_t *files = json_object();
    if (!files) PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for the list of files"));
    PONS_TRY(st, w->options->format->finish(w->state, w->blocks, files));
    PONS_TRY(st, write_manifest(w, files));
    PONS_TRY(st, count_bytes(w, files, result));
    pons_fault_die(PONS_FAULT_EXPORT_DIE);
    if (pons_fault(PONS_FAULT_OUT_COMMIT))
        PONS_TRY(st, pons_fail_errno(PONS_ERR_IO, EIO, "cannot rename %s", w->directory));
    PONS_TRY(st, pons_dir_commit(w->directory, w->options->out));
    pons_fault_die(PONS_FAULT_OUT_DIE);
done:
    json_decref(files);
    return st;
}

pons_status pons_export(pons_comm *comm, const pons_export_options *options,
                        pons_export_result *result)
{
    pons_status st = PONS_OK;
    work w = {.comm = comm, .options = options, .rank = pons_comm_rank(comm)};
    PONS_TRY_ALL(st, comm, open_source(&w));
    PONS_TRY_ALL(st, comm, w.rank == 0 ? stage(&w) : PONS_OK);
    PONS_TRY(st, share_directory(&w));
    PONS_TRY_ALL(st, comm, write_blocks(&w));
    for (int64_t layer = 0; layer < w.layers; layer++)
        pons_comm_bcast(comm, &w.blocks[layer], sizeof *w.blocks, owner_of(&w, layer));
    PONS_TRY_ALL(st, comm, w.rank == 0 ? commit(&w, result) : PONS_OK);
done:
    if (st != PONS_OK) unstage(&w);
    options->format->end(&w.state);
    pons_pack_source_close(&w.source);
    pons_mem_free(w.blocks);
    pons_mem_free(w.directory);
    return st;
}
