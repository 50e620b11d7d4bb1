/* Owns the parts of a split GGUF file: finds, reads and checks those beside the one that was named. Metadata of the
 * model are those of the first part. Does not read a part's header (gguf.c). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "io/store_build.h"

enum { SUFFIX = sizeof "-00001-of-00002.gguf" - 1, PARTS_MAX = 99999 };

/* split.no and split.count of the file scanned last; count 1 where it is not split. */
static pons_status read_numbers(const pons_store *store, const char *path, int64_t *number,
                                int64_t *count)
{
    const pons_gguf_value *c = pons_store_metadata(store, "split.count"),
                          *n = pons_store_metadata(store, "split.no");
    *number = 0;
    *count = 1;
    if (!c || (c->type == PONS_GGUF_UINT && c->u <= 1)) return PONS_OK;
    if (c->type > PONS_GGUF_INT || c->i < 1 || c->i > PARTS_MAX)
        return pons_fail(PONS_ERR_INPUT, "%s: metadata split.count: allowed: 1 to %d", path,
                         PARTS_MAX);
    if (!n || n->type > PONS_GGUF_INT || n->i < 0 || n->i >= c->i)
        return pons_fail(PONS_ERR_INPUT, "%s: metadata split.no: allowed: 0 to %lld", path,
                         (long long)c->i - 1);
    *number = n->i;
    *count = c->i;
    return PONS_OK;
}

/* Name of part `number` beside the part `path`, in counted memory. */
static pons_status name_part(const char *path, int64_t own, int64_t number, int64_t count,
                             char **out)
{
    char suffix[64];
    size_t length = strlen(path);
    snprintf(suffix, sizeof suffix, "-%05lld-of-%05lld.gguf", (long long)own + 1, (long long)count);
    if (length < SUFFIX || strcmp(path + length - SUFFIX, suffix))
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: part %lld of %lld (split.count): the other parts are found by name, "
                         "which must end in %s; rename the parts or merge them",
                         path, (long long)own + 1, (long long)count, suffix);
    *out = pons_mem_printf("%.*s-%05lld-of-%05lld.gguf", (int)(length - SUFFIX), path,
                           (long long)number + 1, (long long)count);
    return *out ? PONS_OK : PONS_ERR_NOMEM;
}

/* Read one more part. Its metadata stay in the store. */
static pons_status add_part(pons_store *store, const char *path, int64_t number, int64_t count)
{
    pons_status st = PONS_OK;
    int64_t found = 0, parts = 0;
    if (!pons_file_exists(path))
        return pons_fail(PONS_ERR_INPUT, "%s: part %lld of %lld of the model is missing", path,
                         (long long)number + 1, (long long)count);
    PONS_TRY(st, pons_store_add_file(store, path));
    PONS_TRY(st, pons_gguf_scan(store, store->file_count - 1));
    PONS_TRY(st, read_numbers(store, path, &found, &parts));
    if (found != number || parts != count)
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: found part %lld of %lld (split.no, split.count), allowed: part %lld of "
                       "%lld",
                       path, (long long)found + 1, (long long)parts, (long long)number + 1,
                       (long long)count);
done:
    return st;
}

static pons_status check_total(const pons_store *store, const char *path)
{
    const pons_gguf_value *total = pons_store_metadata(store, "split.tensors.count");
    if (!total || total->i == store->count) return PONS_OK;
    return pons_fail(PONS_ERR_INPUT,
                     "%s: its parts hold %lld tensors, but split.tensors.count is %lld", path,
                     (long long)store->count, (long long)total->i);
}

/* Take the metadata of the part that was scanned last out of the store. */
static void take_pairs(pons_store *store, pons_gguf_pair **pairs, int64_t *count)
{
    *pairs = store->pairs;
    *count = store->pair_count;
    store->pairs = NULL;
    store->pair_count = 0;
}

pons_status pons_gguf_scan_parts(pons_store *store)
{
    pons_status st = PONS_OK;
    int64_t own = 0, count = 0, first_count = 0;
    pons_gguf_pair *first = NULL; /* metadata of the first part */
    char *path = NULL;
    PONS_TRY(st, pons_gguf_scan(store, 0));
    PONS_TRY(st, read_numbers(store, store->path, &own, &count));
    if (count == 1) goto done;
    for (int64_t i = 0; i < count; i++) {
        if (i != own) {
            PONS_TRY(st, name_part(store->path, own, i, count, &path));
            PONS_TRY(st, add_part(store, path, i, count));
            pons_mem_free(path);
            path = NULL;
        }
        if (i == 0) take_pairs(store, &first, &first_count);
    }
    pons_mem_free(store->pairs);
    store->pairs = first;
    store->pair_count = first_count;
    first = NULL;
    st = check_total(store, store->path);
done:
    pons_mem_free(first);
    pons_mem_free(path);
    return st;
}
