/*
 * Going on where an earlier process stopped: committed blocks are checked and taken over, the hidden
 * states come from the latest resume point or from the embedding and then pass through the committed
 * blocks, as they did before. The bits are those of a run that was never interrupted: what is read back
 * from a shard is what the block had, and a window meets the same operations whoever holds it.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "eval/load_block.h"
#include "io/file.h"
#include "pipeline/target.h"

/* Rank 0: blocks from the first on whose shards are what the journal says they are. */
static pons_status adopt_blocks(pons_job *job)
{
    pons_status st = PONS_OK;
    for (int64_t layer = 0; layer < job->config->layers; layer++) {
        const json_t *line = pons_journal_find(job->journal, "block", "block", layer);
        const char *sha256 = json_string_value(json_object_get(line, "sha256"));
        if (!sha256) break;
        if (pons_pack_writer_adopt(job->writer, layer, sha256) != PONS_OK) {
            pons_log(PONS_LOG_WARN, "resume: %s; compressing again from block %lld on",
                     pons_error_message(), (long long)layer);
            break;
        }
        job->done = job->next = layer + 1;
    }
    PONS_TRY(st, pons_pack_writer_sweep(job->writer));
    PONS_TRY(st, pons_job_recall(job, job->done));
done:
    return st;
}

pons_status pons_job_recall(pons_job *job, int64_t layers)
{
    pons_status st = PONS_OK;
    for (int64_t layer = 0; layer < layers; layer++) {
        const json_t *block = pons_journal_find(job->journal, "block", "block", layer), *line;
        const json_t *lines = json_object_get(block, "linears");
        size_t i;
        json_array_foreach(lines, i, line) PONS_TRY(st, pons_job_count_linear(job, line));
    }
done:
    return st;
}

pons_status pons_job_check_written(const pons_job *job)
{
    pons_status st = PONS_OK;
    const char *out = job->options->out;
    json_t *manifest = NULL;
    char *path = pons_mem_printf("%s/pons.json", out);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_json_read(path, &manifest));
    for (int64_t layer = 0; layer < job->config->layers; layer++) {
        const json_t *line = pons_journal_find(job->journal, "block", "block", layer);
        char *shard = pons_pack_shard_path(out, job->config, layer);
        const char *name = shard ? strrchr(shard, '/') + 1 : "";
        json_t *file = json_object_get(json_object_get(manifest, "files"), name);
        bool same = file && json_equal(file, json_object_get(line, "sha256"));
        if (!same)
            st = pons_fail(PONS_ERR_INPUT, "%s: %s is not what %s/journal.jsonl says was written",
                           path, name, job->run);
        pons_mem_free(shard);
        if (st != PONS_OK) break;
    }
done:
    json_decref(manifest);
    pons_mem_free(path);
    return st;
}

/* Rank 0: the latest resume point that is there and not past the wave to go on with. */
static void find_hidden(pons_job *job, int64_t *files)
{
    for (int64_t after = pons_job_wave_begin(job, job->done); after > 0; after--) {
        const json_t *line = pons_journal_find(job->journal, "hidden", "after", after);
        if (!line) continue;
        char *path = pons_mem_printf("%s/hidden/after-%03lld", job->run, (long long)after);
        bool there = path && pons_dir_exists(path);
        pons_mem_free(path);
        if (!there) continue;
        job->saved = after;
        *files = json_integer_value(json_object_get(line, "files"));
        return;
    }
}

pons_status pons_job_replay_block(pons_job *job, int64_t layer, bool calibration)
{
    pons_status st = PONS_OK, local = PONS_OK;
    pons_model *shard = NULL;
    pons_block *block = NULL;
    char *path = pons_pack_shard_path(job->options->out, job->config, layer);
    if (!path) local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_model_open_block(path, job->config, layer, &shard);
    if (local == PONS_OK) local = pons_block_create(job->config, layer, job->bf16, &block);
    if (local == PONS_OK) local = pons_job_set_transforms(job, layer, block);
    PONS_TRY_ALL(st, job->comm, local);
    PONS_TRY(st, pons_eval_load_block(job->comm, shard, layer, block));
    PONS_TRY_ALL(st, job->comm,
                 calibration ? pons_job_push_streams(job, block)
                             : pons_job_push_evaluation(job, block));
    if (job->targets) PONS_TRY(st, pons_targets_replay(job, layer));
done:
    pons_block_destroy(&block);
    pons_model_close(&shard);
    pons_mem_free(path);
    return st;
}

/* Collective: hidden states of all streams as they were after job->done blocks, or before the wave that
 * the next one belongs to. */
static pons_status restore_streams(pons_job *job, int64_t files)
{
    pons_status st = PONS_OK;
    pons_progress progress = {0};
    if (!job->h && !job->weights_only) return PONS_OK;
    if (job->saved) PONS_TRY(st, pons_job_restore_hidden(job, files));
    int64_t end = pons_job_wave_begin(job, job->done);
    pons_progress_begin(&progress, "resume: blocks", end - job->saved);
    for (int64_t layer = job->saved; layer < end; layer++) {
        PONS_TRY(st, pons_job_replay_block(job, layer, true));
        pons_progress_update(&progress, layer + 1 - job->saved);
    }
    pons_progress_end(&progress);
done:
    pons_progress_drop(&progress);
    return st;
}

/* Rank 0: the first line of a run. */
static pons_status journal_begin(pons_job *job)
{
    return pons_journal_append(
        job->journal, json_pack("{s:s, s:s, s:i, s:b, s:o}", "event", "begin", "pons", PONS_VERSION,
                                "ranks", job->size, "replace", job->options->force, "fingerprint",
                                pons_fingerprint_to_json(&job->fingerprint)));
}

/* Rank 0. */
static pons_status find_state(pons_job *job, int64_t *files)
{
    pons_status st = PONS_OK;
    if (!job->resumed) return journal_begin(job);
    PONS_TRY(st, adopt_blocks(job));
    find_hidden(job, files);
    PONS_TRY(st, pons_journal_append(job->journal,
                                     json_pack("{s:s, s:i, s:I}", "event", "resume", "ranks",
                                               job->size, "blocks", (json_int_t)job->done)));
    pons_log(PONS_LOG_INFO, "resume: blocks done = %lld of %lld, hidden states saved after %lld",
             (long long)job->done, (long long)job->config->layers, (long long)job->saved);
done:
    return st;
}

pons_status pons_job_resume(pons_job *job)
{
    pons_status st = PONS_OK;
    int64_t files = 0;
    PONS_TRY_ALL(st, job->comm, job->rank == 0 ? find_state(job, &files) : PONS_OK);
    if (!job->resumed) return PONS_OK;
    pons_comm_bcast(job->comm, &job->done, sizeof job->done, 0);
    job->next = job->done;
    pons_comm_bcast(job->comm, &job->saved, sizeof job->saved, 0);
    pons_comm_bcast(job->comm, &files, sizeof files, 0);
    PONS_TRY(st, restore_streams(job, files));
done:
    return st;
}
