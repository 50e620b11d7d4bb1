/* Owns what a path to a model means: a directory with a single GGUF file stands for that file. Does not open
 * the model. */
#include "io/store.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"

static bool is_gguf(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && !strcmp(name + n - 5, ".gguf");
}

/* The .gguf files of a directory. @param[out] name of the last one, in counted memory; NULL: none */
static pons_status find_gguf(const char *directory, int *count, char **name)
{
    pons_status st = PONS_OK;
    DIR *stream = opendir(directory);
    *count = 0;
    *name = NULL;
    if (!stream) return pons_fail_errno(PONS_ERR_IO, errno, "cannot read directory %s", directory);
    for (errno = 0; st == PONS_OK;) {
        const struct dirent *entry = readdir(stream);
        if (!entry) break;
        if (is_gguf(entry->d_name)) {
            ++*count;
            pons_mem_free(*name);
            *name = pons_mem_printf("%s/%s", directory, entry->d_name);
            if (!*name) st = PONS_ERR_NOMEM;
        }
        errno = 0;
    }
    if (st == PONS_OK && errno)
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read directory %s", directory);
    closedir(stream);
    return st;
}

static bool holds(const char *directory, const char *name)
{
    char *path = pons_mem_printf("%s/%s", directory, name);
    bool found = path && pons_file_exists(path);
    pons_mem_free(path);
    return found;
}

pons_status pons_store_locate(const char *path, char **out)
{
    pons_status st = PONS_OK;
    char *gguf = NULL;
    int count = 0;
    if (pons_dir_exists(path) && !holds(path, "model.safetensors") &&
        !holds(path, "model.safetensors.index.json")) {
        PONS_TRY(st, find_gguf(path, &count, &gguf));
        if (count > 1)
            PONS_TRY(st, pons_fail(PONS_ERR_INPUT,
                                   "%s: found %d .gguf files in the directory, allowed: one; give "
                                   "the path of the file",
                                   path, count));
    }
    *out = gguf ? gguf : pons_mem_strdup(path);
    gguf = NULL;
    if (!*out) st = PONS_ERR_NOMEM;
done:
    pons_mem_free(gguf);
    return st;
}
