/*
 * Committed blocks are checked and taken over, the hidden states come from the latest resume point or from
 * the embedding and then pass through the committed blocks, as they did before. The bits are those of a
 * run that was never interrupted: what is read back from its file is what the block had, and a window meets
 * the same operations whoever holds it.
 */
#include "pipeline/resume.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "pack/block_file.h"
#include "pack/run_model.h"
#include "pipeline/hidden.h"
#include "pipeline/replay.h"

/* Sums and manifest entries of the blocks [0, layers) of the journal. */
static pons_status recall(const pons_rundir *run, pons_account *account, int64_t layers)
{
    pons_status st = PONS_OK;
    for (int64_t layer = 0; layer < layers; layer++) {
        const json_t *block = pons_journal_find(run->journal, "block", "block", layer), *line;
        const json_t *lines = json_object_get(block, "linears");
        size_t i;
        json_array_foreach(lines, i, line) PONS_TRY(st, pons_account_add_linear(account, line));
    }
done:
    return st;
}

/* Whether the file of a block is whole and the one that the journal speaks of. */
static pons_status check_block(const pons_context *context, const char *run, int64_t layer,
                               const char *checksum)
{
    pons_status st = PONS_OK;
    pons_block_file *file = NULL;
    char *path = pons_block_file_path(run, layer);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_block_file_open(path, context->config, layer, &file));
    if (strcmp(pons_block_file_checksum(file), checksum))
        PONS_TRY(st, pons_fail(PONS_ERR_INPUT, "%s: checksum: found %s, allowed: %s, as journaled",
                               path, pons_block_file_checksum(file), checksum));
    PONS_TRY(st, pons_block_file_check(file));
done:
    pons_block_file_close(&file);
    pons_mem_free(path);
    return st;
}

/* Blocks from the first on whose files are what the journal says they are. */
static void count_blocks(const pons_context *context, pons_rundir *run)
{
    for (int64_t layer = run->done; layer < context->config->layers; layer++) {
        const json_t *line = pons_journal_find(run->journal, "block", "block", layer);
        const char *checksum = json_string_value(json_object_get(line, "checksum"));
        if (!checksum) return;
        if (check_block(context, run->path, layer, checksum) != PONS_OK) {
            pons_log(PONS_LOG_WARN, "resume: %s; compressing again from block %lld on",
                     pons_error_message(), (long long)layer);
            return;
        }
        run->done = run->next = layer + 1;
    }
}

static bool is_committed(const char *name, const void *user)
{
    const pons_rundir *run = user;
    for (int64_t layer = 0; layer < run->done; layer++) {
        char *path = pons_block_file_path(run->path, layer);
        bool same = path && !strcmp(strrchr(path, '/') + 1, name);
        pons_mem_free(path);
        if (same) return true;
    }
    return false;
}

/* Remove what an earlier process left of blocks that do not count, and RUN/model, which is made anew. */
static pons_status sweep(const pons_rundir *run)
{
    pons_status st = PONS_OK;
    char *blocks = pons_mem_printf("%s/blocks", run->path);
    char *model = pons_mem_printf("%s/model", run->path);
    if (!blocks || !model) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_dir_make(blocks));
    PONS_TRY(st, pons_dir_clean(blocks, is_committed, run));
    PONS_TRY(st, pons_dir_remove(model));
done:
    pons_mem_free(model);
    pons_mem_free(blocks);
    return st;
}

pons_status pons_resume_written(const pons_context *context, pons_rundir *run,
                                pons_account *account)
{
    pons_status st = recall(run, account, context->config->layers);
    if (st == PONS_OK) pons_log(PONS_LOG_INFO, "resume: %s is complete", context->options->out);
    return st;
}

pons_status pons_resume_complete(const pons_context *context, pons_rundir *run,
                                 pons_account *account)
{
    pons_status st = PONS_OK;
    int64_t layers = context->config->layers;
    if (!run->resumed || !pons_run_model_exists(run->path) ||
        !pons_journal_find(run->journal, "model", NULL, 0))
        return PONS_OK;
    count_blocks(context, run);
    run->complete = run->done == layers;
    if (!run->complete) return PONS_OK;
    PONS_TRY(st, recall(run, account, layers));
    pons_log(PONS_LOG_INFO, "resume: all %lld blocks are done, writing %s", (long long)layers,
             context->options->out);
done:
    return st;
}

/* Rank 0: the latest resume point that is there and at most `last`. @param[out] files in it */
static void find_hidden(pons_rundir *run, int64_t last, int64_t *files)
{
    for (int64_t after = last; after > 0; after--) {
        const json_t *line = pons_journal_find(run->journal, "hidden", "after", after);
        if (!line) continue;
        char *path = pons_mem_printf("%s/hidden/after-%03lld", run->path, (long long)after);
        bool there = path && pons_dir_exists(path);
        pons_mem_free(path);
        if (!there) continue;
        run->saved = after;
        *files = json_integer_value(json_object_get(line, "files"));
        return;
    }
}

/* Collective: hidden states of all streams as they were after `end` blocks. */
static pons_status restore_streams(const pons_context *context, const pons_team *team,
                                   const pons_rundir *run, pons_account *account,
                                   pons_streams *streams, int64_t end, int64_t files)
{
    pons_status st = PONS_OK;
    pons_progress progress = {0};
    pons_stream *list[PONS_STREAMS];
    if (pons_streams_list(streams, list) == 0) return PONS_OK;
    if (run->saved) PONS_TRY(st, pons_hidden_restore(team, run, streams, files));
    pons_progress_begin(&progress, "resume: blocks", end - run->saved);
    for (int64_t layer = run->saved; layer < end; layer++) {
        PONS_TRY(st, pons_replay_block(context, team, run->path, account, streams, layer, true));
        pons_progress_update(&progress, layer + 1 - run->saved);
    }
    pons_progress_end(&progress);
done:
    pons_progress_drop(&progress);
    return st;
}

/* Rank 0: the first line of a run. */
static pons_status journal_begin(const pons_context *context, int ranks, pons_rundir *run)
{
    return pons_journal_append(run->journal,
                               json_pack("{s:s, s:s, s:i, s:i, s:b, s:o}", "event", "begin", "pons",
                                         PONS_VERSION, "layout", PONS_RUN_LAYOUT, "ranks", ranks,
                                         "replace", context->options->force, "fingerprint",
                                         pons_fingerprint_to_json(&context->fingerprint)));
}

/* First block of the wave to go on with. */
static int64_t first_block(const pons_context *context, const pons_teams *teams,
                           const pons_rundir *run)
{
    return pons_teams_wave_begin(teams, context->recipe.wave, context->config->layers, run->done);
}

/* Rank 0. */
static pons_status find_state(const pons_context *context, int ranks, const pons_teams *teams,
                              pons_rundir *run, pons_account *account, int64_t *files)
{
    pons_status st = PONS_OK;
    int64_t layers = context->config->layers;
    if (!run->resumed) return journal_begin(context, ranks, run);
    count_blocks(context, run);
    PONS_TRY(st, sweep(run));
    PONS_TRY(st, recall(run, account, run->done));
    find_hidden(run, first_block(context, teams, run), files);
    PONS_TRY(st, pons_journal_append(run->journal,
                                     json_pack("{s:s, s:i, s:I}", "event", "resume", "ranks", ranks,
                                               "blocks", (json_int_t)run->done)));
    pons_log(PONS_LOG_INFO, "resume: blocks done = %lld of %lld, hidden states saved after %lld",
             (long long)run->done, (long long)layers, (long long)run->saved);
done:
    return st;
}

pons_status pons_resume(const pons_context *context, const pons_team *team, const pons_teams *teams,
                        pons_rundir *run, pons_account *account, pons_streams *streams)
{
    pons_status st = PONS_OK;
    int64_t files = 0;
    PONS_TRY_ALL(st, team->comm,
                 team->rank == 0 ? find_state(context, team->size, teams, run, account, &files)
                                 : PONS_OK);
    if (!run->resumed) return PONS_OK;
    pons_comm_bcast(team->comm, &run->done, sizeof run->done, 0);
    run->next = run->done;
    pons_comm_bcast(team->comm, &run->saved, sizeof run->saved, 0);
    pons_comm_bcast(team->comm, &files, sizeof files, 0);
    PONS_TRY(st, restore_streams(context, team, run, account, streams,
                                 first_block(context, teams, run), files));
done:
    return st;
}
