/* Fixtures for golden tests: one file in memory, its header as JSON. */
#include "support/fixture.h"

#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    char *bytes;
    uint64_t header;
    json_t *json;
};

static void refuse(const char *path, const char *what)
{
    fprintf(stderr, "fixture %s: %s\n", path, what);
    exit(1);
}

fixture *fixture_open(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) refuse(path, "cannot open");
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    fixture *f = calloc(1, sizeof *f);
    f->bytes = malloc((size_t)size);
    if (size < 8 || fread(f->bytes, 1, (size_t)size, file) != (size_t)size)
        refuse(path, "cannot read");
    fclose(file);
    memcpy(&f->header, f->bytes, 8);
    if (f->header > (uint64_t)size - 8) refuse(path, "header longer than the file");
    f->json = json_loadb(f->bytes + 8, f->header, 0, NULL);
    if (!f->json) refuse(path, "header is not JSON");
    return f;
}

void fixture_close(fixture **f)
{
    json_decref((*f)->json);
    free((*f)->bytes);
    free(*f);
    *f = NULL;
}

const void *fixture_tensor(const fixture *f, const char *name, const char *dtype, int64_t shape[2])
{
    json_t *entry = json_object_get(f->json, name);
    if (!entry || strcmp(json_string_value(json_object_get(entry, "dtype")), dtype) != 0)
        return NULL;
    json_t *dims = json_object_get(entry, "shape");
    for (size_t i = 0; i < 2; i++)
        shape[i] = i < json_array_size(dims) ? json_integer_value(json_array_get(dims, i)) : 1;
    json_t *offsets = json_object_get(entry, "data_offsets");
    return f->bytes + 8 + f->header + json_integer_value(json_array_get(offsets, 0));
}

double fixture_number(const fixture *f, const char *key)
{
    json_t *value = json_object_get(json_object_get(f->json, "__metadata__"), key);
    return value ? atof(json_string_value(value)) : NAN;
}

const char *fixture_root(void)
{
    const char *root = getenv("PONS_GOLDEN");
    if (!root || !*root) root = getenv("PONS_FIXTURES");
    return root ? root : "tests/golden";
}

char **fixture_list(const char *pattern, int *count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", fixture_root(), pattern);
    glob_t found;
    *count = 0;
    char **list = calloc(1, sizeof *list);
    if (glob(path, 0, NULL, &found) == 0) {
        list = realloc(list, found.gl_pathc * sizeof *list);
        for (size_t i = 0; i < found.gl_pathc; i++)
            list[(*count)++] = strdup(found.gl_pathv[i]);
        globfree(&found);
    }
    return list;
}

void fixture_free_list(char **list, int count)
{
    for (int i = 0; i < count; i++)
        free(list[i]);
    free(list);
}
