/* Owns RUN/model: what an output has besides its blocks. */
#include "pack/run_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/sha256.h"
#include "io/file.h"
#include "model/transforms.h"
#include "pack/block_file.h"
#include "pack/companions.h"
#include "pack/output_config.h"

/* run.json: the checksums of all blocks. */
static pons_status list_blocks(const char *run, const char *format, const pons_model_config *config,
                               json_t **out)
{
    pons_status st = PONS_OK;
    pons_block_file *block = NULL;
    char *path = NULL;
    json_t *sums = json_array();
    for (int64_t layer = 0; layer < config->layers; layer++) {
        path = pons_block_file_path(run, layer);
        PONS_TRY(st, path ? pons_block_file_open(path, config, layer, &block) : PONS_ERR_NOMEM);
        if (json_array_append_new(sums, json_string(pons_block_file_checksum(block))))
            PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for run.json"));
        pons_block_file_close(&block);
        pons_mem_free(path);
        path = NULL;
    }
    *out = json_pack("{s:i, s:s, s:O}", "layout", PONS_BLOCK_LAYOUT, "format", format, "checksums",
                     sums);
    if (!*out) st = pons_fail(PONS_ERR_NOMEM, "out of memory for run.json");
done:
    json_decref(sums);
    pons_block_file_close(&block);
    pons_mem_free(path);
    return st;
}

static pons_status write_json(const char *directory, const char *name, const json_t *value)
{
    char *path = pons_mem_printf("%s/%s", directory, name);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_json_write(path, value);
    pons_mem_free(path);
    return st;
}

static pons_status fill(const char *run, const char *part, const pons_run_model *m)
{
    pons_status st = PONS_OK;
    json_t *list = NULL, *root = NULL;
    pons_model_config config = *pons_model_get_config(m->source);
    config.dtype = m->dtype;
    config.tied = !m->ends->head;
    PONS_TRY(st, list_blocks(run, m->format, &config, &list));
    PONS_TRY(st, pons_ends_write(part, "ends.safetensors", &config, m->dtype, m->ends));
    PONS_TRY(st, pons_output_config_make(m->source, &config, &root));
    PONS_TRY(st, write_json(part, "config.json", root));
    PONS_TRY(st, write_json(part, "manifest.json", m->manifest));
    if (m->transforms) PONS_TRY(st, pons_transforms_write(part, &config, m->transforms));
    PONS_TRY(st, pons_companions_make(part, m->source));
    PONS_TRY(st, write_json(part, "run.json", list));
done:
    json_decref(root);
    json_decref(list);
    return st;
}

pons_status pons_run_model_write(const char *run, const pons_run_model *m)
{
    pons_status st = PONS_OK;
    char *part = pons_mem_printf("%s/model.part", run), *path = pons_mem_printf("%s/model", run);
    if (!part || !path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_dir_remove(part));
    PONS_TRY(st, pons_dir_make(part));
    PONS_TRY(st, fill(run, part, m));
    PONS_TRY(st, pons_dir_remove(path));
    PONS_TRY(st, pons_dir_commit(part, path));
done:
    pons_mem_free(path);
    pons_mem_free(part);
    return st;
}

bool pons_run_model_exists(const char *run)
{
    char *path = pons_mem_printf("%s/model/run.json", run);
    bool there = path && pons_file_exists(path);
    pons_mem_free(path);
    return there;
}

pons_status pons_manifest_digest(const json_t *manifest, char hex[65])
{
    pons_sha256 digest;
    json_t *copy = json_copy((json_t *)(uintptr_t)manifest);
    json_object_del(copy, "files");
    json_object_del(copy, "export");
    char *text = copy ? json_dumps(copy, JSON_COMPACT) : NULL;
    json_decref(copy);
    if (!text) return pons_fail(PONS_ERR_NOMEM, "out of memory for the manifest");
    pons_sha256_begin(&digest);
    pons_sha256_update(&digest, text, strlen(text));
    pons_sha256_end(&digest, hex);
    free(text);
    return PONS_OK;
}
