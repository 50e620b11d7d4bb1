/*
 * Hidden states at a resume point: RUN/hidden/after-NNN/rank-RRRRR.safetensors, written by each rank for
 * its own windows, so that no write waits for another rank. A window is one tensor, "calibration.17"
 * [tokens x hidden], beside its checksum; any number of ranks reads them back. Owns neither the streams
 * nor the decision where to resume.
 */
#include "pipeline/hidden.h"

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

enum { NAME = 64 };

static char *directory_of(const pons_rundir *run, int64_t after, const char *suffix)
{
    return pons_mem_printf("%s/hidden/after-%03lld%s", run->path, (long long)after, suffix);
}

static void tensor_name(const pons_stream *s, int64_t local, bool sum, char name[NAME])
{
    snprintf(name, NAME, "%s.%lld%s", s->name, (long long)pons_stream_number(s, local),
             sum ? ".sum" : "");
}

static int64_t floats_of(const pons_stream *s) { return s->length * s->hidden; }

static size_t bytes_of(const pons_stream *s) { return (size_t)floats_of(s) * sizeof(float); }

/* ---- Save. */

/* Declare, or write, the checksums of all windows (8-byte elements go first), or the windows. */
static pons_status each_window(pons_st_writer *w, const pons_stream *s, bool sums, bool write)
{
    pons_status st = PONS_OK;
    const int64_t one = 1, floats = floats_of(s);
    char name[NAME];
    for (int64_t local = 0; local < pons_stream_count(s); local++) {
        const float *h = pons_stream_h(s, local);
        uint64_t sum = write && sums ? pons_checksum(0, h, bytes_of(s)) : 0;
        tensor_name(s, local, sums, name);
        if (!write)
            PONS_TRY(st, pons_st_writer_declare(w, name, sums ? PONS_DTYPE_U64 : PONS_DTYPE_F32, 1,
                                                sums ? &one : &floats));
        else if (sums)
            PONS_TRY(st, pons_st_writer_write(w, &sum, sizeof sum));
        else
            PONS_TRY(st, pons_st_writer_write(w, h, bytes_of(s)));
    }
done:
    return st;
}

/* This rank's file. Local. */
static pons_status save_own(int rank, pons_streams *streams, const char *directory)
{
    pons_status st = PONS_OK;
    pons_stream *list[PONS_STREAMS];
    int count = pons_streams_list(streams, list);
    pons_st_writer *w = NULL;
    char *path = pons_mem_printf("%s/rank-%05d.safetensors", directory, rank);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_st_writer_create(path, &w));
    for (int pass = 0; pass < 4; pass++)
        for (int i = 0; i < count; i++)
            PONS_TRY(st, each_window(w, list[i], pass % 2 == 0, pass >= 2));
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
static pons_status publish(const pons_rundir *run, int files, const char *part)
{
    pons_status st = PONS_OK;
    char *path = directory_of(run, run->next, ""), *older = directory_of(run, run->saved, "");
    if (!path || !older) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_dir_remove(path));
    PONS_TRY(st, pons_dir_commit(part, path));
    PONS_TRY(st, pons_journal_append(run->journal,
                                     json_pack("{s:s, s:I, s:i}", "event", "hidden", "after",
                                               (json_int_t)run->next, "files", files)));
    if (run->saved && run->saved != run->next) PONS_TRY(st, pons_dir_remove(older));
done:
    pons_mem_free(older);
    pons_mem_free(path);
    return st;
}

static bool is_time(const pons_recipe *recipe, int64_t layers, int64_t before,
                    const pons_rundir *run, pons_streams *streams)
{
    pons_stream *list[PONS_STREAMS];
    int64_t every = recipe->checkpoint.blocks;
    return every && run->next / every > before / every && run->next < layers &&
           pons_streams_list(streams, list) > 0;
}

pons_status pons_hidden_save(const pons_recipe *recipe, int64_t layers, int64_t before,
                             const pons_team *team, pons_rundir *run, pons_account *account,
                             pons_streams *streams)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double start = pons_clock();
    if (!is_time(recipe, layers, before, run, streams)) return PONS_OK;
    char *part = directory_of(run, run->next, ".part");
    if (!part) local = PONS_ERR_NOMEM;
    if (local == PONS_OK && team->rank == 0) local = pons_dir_remove(part);
    if (local == PONS_OK && team->rank == 0) local = pons_dir_make(part);
    PONS_TRY_ALL(st, team->comm, local);
    PONS_TRY_ALL(st, team->comm, save_own(team->rank, streams, part));
    PONS_TRY(st, pons_commit_settle(team, run, account)); /* no resume point is past the last block
                                                             that counts */
    PONS_TRY_ALL(st, team->comm, team->rank == 0 ? publish(run, team->size, part) : PONS_OK);
    run->saved = run->next;
done:
    pons_mem_free(part);
    account->seconds.checkpoint += pons_trace_phase(account->trace, PONS_PHASE_CHECKPOINT, start);
    return st;
}

/* ---- Restore. */

/* One window from a file that may have it. */
static pons_status restore_window(const pons_store *file, const pons_stream *s, int64_t local,
                                  int64_t *restored)
{
    pons_status st = PONS_OK;
    char name[NAME], sum_name[NAME];
    uint64_t expected;
    tensor_name(s, local, false, name);
    tensor_name(s, local, true, sum_name);
    const pons_tensor_view *t = pons_store_find(file, name), *sum = pons_store_find(file, sum_name);
    if (!t || !sum || t->dtype != PONS_DTYPE_F32 || pons_tensor_elements(t) != floats_of(s) ||
        sum->dtype != PONS_DTYPE_U64 || pons_tensor_elements(sum) != 1)
        return PONS_OK;
    float *h = pons_stream_h(s, local);
    PONS_TRY(st, pons_store_read(file, t, 0, bytes_of(s), h));
    PONS_TRY(st, pons_store_read(file, sum, 0, sizeof expected, &expected));
    if (pons_checksum(0, h, bytes_of(s)) != expected)
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: %s is damaged (checksum); without its directory it is computed again",
                       pons_store_path(file), name);
    ++*restored;
done:
    return st;
}

/* What one file has of this rank's windows. */
static pons_status restore_from(const char *path, pons_stream *const *list, int n,
                                int64_t *restored)
{
    pons_store *file = NULL;
    pons_status st = pons_store_open(path, &file);
    for (int i = 0; i < n && st == PONS_OK; i++)
        for (int64_t w = 0; w < pons_stream_count(list[i]) && st == PONS_OK; w++)
            st = restore_window(file, list[i], w, restored);
    pons_store_close(&file);
    return st;
}

/* Local. One file is open at a time, the one of this rank's place first: as many ranks as wrote them open one each. */
static pons_status restore_own(const pons_team *team, const pons_rundir *run, pons_streams *streams,
                               int64_t count)
{
    pons_status st = PONS_OK;
    pons_stream *list[PONS_STREAMS];
    int n = pons_streams_list(streams, list);
    int64_t wanted = 0, restored = 0;
    char *path = NULL, *directory = directory_of(run, run->saved, "");
    if (!directory) return PONS_ERR_NOMEM;
    for (int i = 0; i < n; i++)
        wanted += pons_stream_count(list[i]);
    for (int64_t f = 0; f < count && restored < wanted; f++) {
        int64_t number = (count * team->rank / team->size + f) % count;
        path = pons_mem_printf("%s/rank-%05lld.safetensors", directory, (long long)number);
        PONS_TRY(st, path ? restore_from(path, list, n, &restored) : PONS_ERR_NOMEM);
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

pons_status pons_hidden_restore(const pons_team *team, const pons_rundir *run,
                                pons_streams *streams, int64_t files)
{
    pons_status st = PONS_OK;
    PONS_TRY_ALL(st, team->comm, restore_own(team, run, streams, files));
done:
    return st;
}
