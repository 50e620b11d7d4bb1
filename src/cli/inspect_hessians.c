/* Owns what `pons inspect` says of a file of Hessians. The checks are those of reading it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "io/file.h"
#include "io/hessian_file.h"

bool pons_cli_is_hessians(const char *path)
{
    size_t n = strlen(path);
    return n > 3 && !strcmp(path + n - 3, ".h5") && pons_file_exists(path);
}

typedef struct summary {
    const char *path;
    json_t *groups;
} summary;

/* One group, read whole: HDF5 and the digests find damage. */
static pons_status add_group(void *user, const char *group)
{
    pons_status st = PONS_OK;
    const summary *s = user;
    double *H = NULL, *norm = NULL, trace = 0, largest = 0;
    int64_t d = 0, dead = 0;
    bool ok = true;
    PONS_TRY(st, pons_hessian_file_read(s->path, group, &d, &H, &norm));
    for (int64_t i = 0; i < d; i++) {
        trace += H[i * d + i];
        dead += H[i * d + i] == 0;
        largest = fmax(largest, norm[i]);
    }
    json_t *entry = json_object();
    pons_cli_set(entry, "name", json_string(group), &ok);
    pons_cli_set(entry, "width", json_integer(d), &ok);
    pons_cli_set(entry, "mean_diagonal", pons_cli_real(trace / (double)d), &ok);
    pons_cli_set(entry, "largest_norm", pons_cli_real(largest), &ok);
    pons_cli_set(entry, "dead_columns", json_integer(dead), &ok);
    if (json_array_append_new(s->groups, entry) || !ok)
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for the table");
done:
    pons_mem_free(norm);
    pons_mem_free(H);
    return st;
}

static void print_groups(const json_t *groups)
{
    size_t i;
    json_t *entry;
    printf("%-12s %7s %14s %14s %5s\n", "Hessian", "width", "mean diagonal", "largest norm",
           "dead");
    json_array_foreach((json_t *)groups, i, entry) printf(
        "%-12s %7lld %14.6g %14.6g %5lld\n", json_string_value(json_object_get(entry, "name")),
        (long long)json_integer_value(json_object_get(entry, "width")),
        json_number_value(json_object_get(entry, "mean_diagonal")),
        json_number_value(json_object_get(entry, "largest_norm")),
        (long long)json_integer_value(json_object_get(entry, "dead_columns")));
    putchar('\n');
}

/* "model = ab12..." lines as members. */
static void set_fingerprint(json_t *result, const char *text, bool *ok)
{
    json_t *parts = json_object();
    char name[64], value[512];
    for (int n = 0; sscanf(text, "%63s = %511[^\n]\n%n", name, value, &n) == 2 && n; text += n)
        pons_cli_set(parts, name, json_string(value), ok);
    pons_cli_set(result, "fingerprint", parts, ok);
}

pons_status pons_cli_inspect_hessians(const char *path, bool json)
{
    pons_status st = PONS_OK;
    pons_hessian_attributes a;
    char *fingerprint = NULL;
    bool ok = true;
    json_t *result = json_object();
    summary s = {path, json_array()};
    PONS_TRY(st, pons_hessian_file_read_attributes(path, &a, &fingerprint));
    PONS_TRY(st, pons_hessian_file_each_group(path, add_group, &s));
    pons_cli_set(result, "path", pons_json_name(path), &ok);
    pons_cli_set(result, "windows", json_integer(a.windows), &ok);
    pons_cli_set(result, "tokens", json_integer(a.tokens), &ok);
    pons_cli_set(result, "wave", json_integer(a.wave), &ok);
    pons_cli_set(result, "damping", pons_cli_real(a.damping), &ok);
    set_fingerprint(result, fingerprint, &ok);
    if (json)
        pons_cli_set(result, "groups", json_incref(s.groups), &ok);
    else
        print_groups(s.groups);
    if (!ok) PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for the table"));
    PONS_TRY(st, pons_cli_print(result, json));
done:
    json_decref(s.groups);
    json_decref(result);
    pons_mem_free(fingerprint);
    return st;
}
