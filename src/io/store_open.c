/* Owns opening and closing a model: which files there are, and which reader takes them. */
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/store_build.h"

static pons_status open_directory(pons_store *store)
{
    pons_status st = PONS_OK;
    char *single = pons_mem_printf("%s/model.safetensors", store->path);
    char *index = pons_mem_printf("%s/model.safetensors.index.json", store->path);
    if (!single || !index)
        st = PONS_ERR_NOMEM;
    else if (pons_file_exists(single)) {
        st = pons_store_add_file(store, single);
        if (st == PONS_OK) st = pons_safetensors_scan(store, 0);
    } else if (pons_file_exists(index))
        st = pons_shards_scan(store, store->path);
    else
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: no model in this directory; looked for model.safetensors and "
                       "model.safetensors.index.json",
                       store->path);
    pons_mem_free(index);
    pons_mem_free(single);
    return st;
}

static pons_status open_file(pons_store *store)
{
    char magic[4] = "";
    const char *dot = strrchr(store->path, '.');
    pons_status st = pons_store_add_file(store, store->path);
    if (st == PONS_OK && store->files[0].bytes >= sizeof magic)
        st = pons_store_read_file(&store->files[0], "header", 0, sizeof magic, magic);
    if (st != PONS_OK) return st;
    store->gguf = !memcmp(magic, "GGUF", sizeof magic) || (dot && !strcmp(dot, ".gguf"));
    return store->gguf ? pons_gguf_scan_parts(store) : pons_safetensors_scan(store, 0);
}

pons_status pons_store_open(const char *path, pons_store **out)
{
    pons_status st = PONS_OK;
    pons_store *store;
    PONS_CALLOC(st, store, 1);
    store->path = pons_mem_strdup(path);
    if (!store->path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_dir_exists(path) ? open_directory(store) : open_file(store));
    PONS_TRY(st, pons_store_sort(store));
    *out = store;
    store = NULL;
done:
    pons_store_close(&store);
    return st;
}

void pons_store_close(pons_store **store)
{
    pons_store *s = *store;
    if (!s) return;
    for (int64_t i = 0; i < s->count; i++)
        pons_store_forget(s, &s->tensors[i].view, NULL);
    pons_store_clear(s);
    pons_mem_free(s->pairs);
    pons_mem_free(s->path);
    pons_mem_free(s);
    *store = NULL;
}
