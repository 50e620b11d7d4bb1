/* Owns the index of a sharded safetensors model: which file holds which tensor, checked both ways.
 * Does not read the shards' headers (safetensors.c). */
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/store_build.h"

/* Open and read one shard. A name with a slash could lead out of the model's directory. */
static pons_status add_shard(pons_store *store, const char *directory, const char *index,
                             const char *tensor, const char *shard)
{
    char a[PONS_LABEL_BYTES], b[PONS_LABEL_BYTES];
    pons_status st = PONS_OK;
    pons_store_label(a, tensor, strlen(tensor));
    pons_store_label(b, shard, strlen(shard));
    if (!shard[0] || strchr(shard, '/'))
        return pons_fail(PONS_ERR_INPUT,
                         "%s: weight_map: tensor '%s' is in file '%s'; allowed: the name of a file "
                         "in the same directory",
                         index, a, b);
    char *path = pons_mem_printf("%s/%s", directory, shard);
    if (!path) return PONS_ERR_NOMEM;
    if (!pons_file_exists(path)) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: weight_map: tensor '%s' is in file '%s', which does not exist", index,
                       a, b);
        goto done;
    }
    PONS_TRY(st, pons_store_add_file(store, path));
    PONS_TRY(st, pons_safetensors_scan(store, store->file_count - 1));
done:
    pons_mem_free(path);
    return st;
}

/* Index in store->files of a shard, -1 when it is not open yet. */
static int64_t find_shard(const pons_store *store, size_t directory_length, const char *shard)
{
    for (int64_t i = store->file_count - 1; i >= 0; i--)
        if (!strcmp(store->files[i].path + directory_length + 1, shard)) return i;
    return -1;
}

/* Every tensor of the index is in its file, and every tensor of the files is in the index. */
static pons_status check_both_ways(const pons_store *store, const char *directory,
                                   const char *index, json_t *map)
{
    char a[PONS_LABEL_BYTES], b[PONS_LABEL_BYTES];
    const char *name, *file;
    json_t *shard;
    json_object_foreach(map, name, shard)
    {
        file = json_string_value(shard);
        pons_store_label(a, name, strlen(name));
        pons_store_label(b, file, strlen(file));
        const pons_tensor_view *view = pons_store_find(store, name);
        if (!view)
            return pons_fail(PONS_ERR_INPUT,
                             "%s: weight_map: tensor '%s' is in file '%s', which has no such "
                             "tensor",
                             index, a, b);
        const pons_store_tensor *t = (const pons_store_tensor *)view; /* its first member */
        if (t->file != find_shard(store, strlen(directory), file))
            return pons_fail(PONS_ERR_INPUT,
                             "%s: weight_map: tensor '%s' is in file '%s', but it was found in %s",
                             index, a, b, store->files[t->file].path);
    }
    for (int64_t i = 0; i < store->count; i++) {
        name = store->tensors[i].view.name;
        if (json_object_get(map, name)) continue;
        return pons_fail(PONS_ERR_INPUT, "%s: tensor '%s' is not in weight_map of %s",
                         store->files[store->tensors[i].file].path,
                         pons_store_label(a, name, strlen(name)), index);
    }
    return PONS_OK;
}

pons_status pons_shards_scan(pons_store *store, const char *directory)
{
    json_t *root = NULL, *shard;
    const char *name;
    char label[PONS_LABEL_BYTES];
    pons_status st = PONS_OK;
    char *index = pons_mem_printf("%s/model.safetensors.index.json", directory);
    if (!index) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_json_read(index, &root));
    json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0) {
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: weight_map is missing or empty; it must give each tensor its file",
                       index);
        goto done;
    }
    json_object_foreach(map, name, shard)
    {
        if (!json_is_string(shard)) {
            st = pons_fail(PONS_ERR_INPUT, "%s: weight_map: '%s' is not a file name", index,
                           pons_store_label(label, name, strlen(name)));
            goto done;
        }
        if (find_shard(store, strlen(directory), json_string_value(shard)) >= 0) continue;
        PONS_TRY(st, add_shard(store, directory, index, name, json_string_value(shard)));
    }
    PONS_TRY(st, pons_store_sort(store));
    PONS_TRY(st, check_both_ways(store, directory, index, map));
done:
    json_decref(root);
    pons_mem_free(index);
    return st;
}
