/*
 * Hidden states at a resume point: RUN/hidden/after-NNN/rank-RRRRR.safetensors, written by each rank for
 * its own windows, so that no write waits for another rank. A window is one tensor, "calibration.17"
 * [tokens x hidden], beside its checksum; any number of ranks reads them back. Owns neither the streams
 * nor the decision where to resume.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/safetensors_writer.h"
#include "pipeline/commit.h"
#include "pipeline/target.h"

enum { STREAMS = 6, NAME = 64 };

/* Windows of this rank on their way through the blocks. */
typedef struct stream {
    const char *name;
    int64_t begin, end; /* global indices of the windows */
    int64_t floats;     /* of one window */
    float *h;
} stream;

/* Own calibration windows, those that Hessians are made of and the held-out ones. */
static int add_calibration(const pons_job *job, const char *name, float *h, stream *streams)
{
    int64_t N = job->recipe.calibration.windows;
    int64_t floats = job->recipe.calibration.length * job->config->hidden;
    streams[0] = (stream){name, job->window_begin, job->window_end, floats, h};
    streams[1] = (stream){name, N + job->held_begin, N + job->held_end, floats,
                          h + pons_job_hessian_windows(job) * floats};
    return 2;
}

static int list_streams(pons_job *job, stream streams[STREAMS])
{
    int n = 0;
    if (job->h) n += add_calibration(job, "calibration", job->h, streams);
    if (job->targets)
        n += add_calibration(job, "dense", pons_targets_hidden(job->targets), streams + n);
    pons_eval_stream *evaluations[] = {job->weights_only, job->full};
    const char *names[] = {"weights_only", "full"};
    for (int i = 0; i < 2; i++) {
        stream *s = &streams[n];
        if (!evaluations[i]) continue;
        s->name = names[i];
        s->h = pons_eval_stream_hidden(evaluations[i], &s->begin, &s->end, &s->floats);
        n++;
    }
    return n;
}

static char *directory_of(const pons_job *job, int64_t after, const char *suffix)
{
    return pons_mem_printf("%s/hidden/after-%03lld%s", job->run, (long long)after, suffix);
}

static void tensor_name(const stream *s, int64_t window, bool sum, char name[NAME])
{
    snprintf(name, NAME, "%s.%lld%s", s->name, (long long)window, sum ? ".sum" : "");
}

static uint64_t sum_of(const stream *s, const float *h)
{
    return pons_checksum(0, h, (size_t)s->floats * sizeof *h);
}

/* ---- Save. */

/* Declare, or write, the checksums of all windows (8-byte elements go first), or the windows. */
static pons_status each_window(pons_st_writer *w, const stream *streams, int count, bool sums,
                               bool write)
{
    pons_status st = PONS_OK;
    const int64_t one = 1;
    char name[NAME];
    for (int i = 0; i < count; i++)
        for (int64_t window = streams[i].begin; window < streams[i].end; window++) {
            const stream *s = &streams[i];
            const float *h = s->h + (window - s->begin) * s->floats;
            uint64_t sum = write && sums ? sum_of(s, h) : 0;
            tensor_name(s, window, sums, name);
            if (!write)
                PONS_TRY(st, pons_st_writer_declare(w, name, sums ? PONS_DTYPE_U64 : PONS_DTYPE_F32,
                                                    1, sums ? &one : &s->floats));
            else if (sums)
                PONS_TRY(st, pons_st_writer_write(w, &sum, sizeof sum));
            else
                PONS_TRY(st, pons_st_writer_write(w, h, (size_t)s->floats * sizeof *h));
        }
done:
    return st;
}

/* This rank's file. Local. */
static pons_status save_own(pons_job *job, const char *directory)
{
    pons_status st = PONS_OK;
    stream streams[STREAMS];
    int count = list_streams(job, streams);
    pons_st_writer *w = NULL;
    char *path = pons_mem_printf("%s/rank-%05d.safetensors", directory, job->rank);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_st_writer_create(path, &w));
    for (int pass = 0; pass < 4; pass++)
        PONS_TRY(st, each_window(w, streams, count, pass % 2 == 0, pass >= 2));
    if (pons_fault(PONS_FAULT_HIDDEN_WRITE))
        PONS_TRY(st, pons_fail_errno(PONS_ERR_IO, ENOSPC, "cannot write %s", path));
    pons_fault_die(PONS_FAULT_HIDDEN_DIE);
    PONS_TRY(st, pons_st_writer_commit(&w));
done:
    pons_st_writer_abandon(&w);
    pons_mem_free(path);
    return st;
}

/* Rank 0: the files appear under their name, the journal says so, the older ones go. */
static pons_status publish(pons_job *job, const char *part)
{
    pons_status st = PONS_OK;
    char *path = directory_of(job, job->next, ""), *older = directory_of(job, job->saved, "");
    if (!path || !older) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_dir_remove(path));
    PONS_TRY(st, pons_dir_commit(part, path));
    PONS_TRY(st, pons_journal_append(job->journal,
                                     json_pack("{s:s, s:I, s:i}", "event", "hidden", "after",
                                               (json_int_t)job->next, "files", job->size)));
    if (job->saved && job->saved != job->next) PONS_TRY(st, pons_dir_remove(older));
done:
    pons_mem_free(older);
    pons_mem_free(path);
    return st;
}

static bool is_time(pons_job *job)
{
    stream streams[STREAMS];
    int64_t every = job->recipe.checkpoint.blocks;
    return every && job->next / every > (job->next - job->recipe.wave) / every &&
           job->next < job->config->layers && list_streams(job, streams) > 0;
}

pons_status pons_job_save_hidden(pons_job *job)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double start = pons_clock();
    if (!is_time(job)) return PONS_OK;
    char *part = directory_of(job, job->next, ".part");
    if (!part) local = PONS_ERR_NOMEM;
    if (local == PONS_OK && job->rank == 0) local = pons_dir_remove(part);
    if (local == PONS_OK && job->rank == 0) local = pons_dir_make(part);
    PONS_TRY_ALL(st, job->comm, local);
    PONS_TRY_ALL(st, job->comm, save_own(job, part));
    PONS_TRY(st, pons_job_settle(job)); /* no resume point is past the last block that counts */
    PONS_TRY_ALL(st, job->comm, job->rank == 0 ? publish(job, part) : PONS_OK);
    job->saved = job->next;
done:
    pons_mem_free(part);
    job->seconds.checkpoint += pons_trace_phase(job->trace, PONS_PHASE_CHECKPOINT, start);
    return st;
}

/* ---- Restore. */

/* One window from a file that may have it. */
static pons_status restore_window(const pons_store *file, const stream *s, int64_t window,
                                  int64_t *restored)
{
    pons_status st = PONS_OK;
    char name[NAME], sum_name[NAME];
    uint64_t expected;
    tensor_name(s, window, false, name);
    tensor_name(s, window, true, sum_name);
    const pons_tensor_view *t = pons_store_find(file, name), *sum = pons_store_find(file, sum_name);
    if (!t || !sum || t->dtype != PONS_DTYPE_F32 || pons_tensor_elements(t) != s->floats ||
        sum->dtype != PONS_DTYPE_U64 || pons_tensor_elements(sum) != 1)
        return PONS_OK;
    float *h = s->h + (window - s->begin) * s->floats;
    PONS_TRY(st, pons_store_read(file, t, 0, (size_t)s->floats * sizeof *h, h));
    PONS_TRY(st, pons_store_read(file, sum, 0, sizeof expected, &expected));
    if (sum_of(s, h) != expected)
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %s is damaged (checksum); without its directory it is computed again",
                       pons_store_path(file), name);
    ++*restored;
done:
    return st;
}

/* What one file has of this rank's windows. */
static pons_status restore_from(const char *path, const stream *streams, int n, int64_t *restored)
{
    pons_store *file = NULL;
    pons_status st = pons_store_open(path, &file);
    for (int i = 0; i < n && st == PONS_OK; i++)
        for (int64_t w = streams[i].begin; w < streams[i].end && st == PONS_OK; w++)
            st = restore_window(file, &streams[i], w, restored);
    pons_store_close(&file);
    return st;
}

/* Local. One file is open at a time, however many ranks wrote them. */
static pons_status restore_own(pons_job *job, int64_t count)
{
    pons_status st = PONS_OK;
    stream streams[STREAMS];
    int n = list_streams(job, streams);
    int64_t wanted = 0, restored = 0;
    char *path = NULL, *directory = directory_of(job, job->saved, "");
    if (!directory) return PONS_ERR_NOMEM;
    for (int i = 0; i < n; i++)
        wanted += streams[i].end - streams[i].begin;
    for (int64_t f = 0; f < count && restored < wanted; f++) {
        path = pons_mem_printf("%s/rank-%05lld.safetensors", directory, (long long)f);
        PONS_TRY(st, path ? restore_from(path, streams, n, &restored) : PONS_ERR_NOMEM);
        pons_mem_free(path);
        path = NULL;
    }
    if (restored < wanted)
        st = pons_fail(PONS_ERR_INPUT, "%s: %lld of this rank's %lld windows are not there",
                       directory, (long long)(wanted - restored), (long long)wanted);
done:
    pons_mem_free(path);
    pons_mem_free(directory);
    return st;
}

pons_status pons_job_restore_hidden(pons_job *job, int64_t files)
{
    pons_status st = PONS_OK;
    PONS_TRY_ALL(st, job->comm, restore_own(job, files));
done:
    return st;
}
