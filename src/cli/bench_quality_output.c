/* Owns the table and the JSON of `pons bench quality`. Does not measure. */
#include <stdio.h>
#include <string.h>

#include "cli/bench_output.h"
#include "cli/cli.h"

static pons_status print_json(const pons_quality *q)
{
    bool ok = true;
    json_t *root = json_object(), *list = json_array();
    for (int64_t i = 0; i < q->count; i++) {
        const pons_quality_result *r = &q->result[i];
        json_t *o = json_object();
        pons_cli_set(o, "name", json_string(r->fixture), &ok);
        pons_cli_set(o, "method", json_string(r->method), &ok);
        pons_cli_set(o, "rows", json_integer(r->rows), &ok);
        pons_cli_set(o, "dim", json_integer(r->d), &ok);
        pons_cli_set(o, "relative_error", pons_cli_real(r->relative_error), &ok);
        pons_cli_set(o, "ratio", pons_cli_real(r->ratio), &ok);
        pons_cli_set(o, "products", pons_cli_real(r->products), &ok);
        pons_cli_set(o, "seconds", pons_cli_real(r->seconds), &ok);
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    pons_cli_set(root, "fixtures", list, &ok);
    pons_status st =
        ok ? pons_cli_print(root, true) : pons_fail(PONS_ERR_NOMEM, "out of memory for the result");
    json_decref(root);
    return st;
}

static pons_status print_table(const pons_quality *q)
{
    for (int64_t i = 0; i < q->count; i++) {
        const pons_quality_result *r = &q->result[i];
        if (i == 0 || strcmp(r->fixture, q->result[i - 1].fixture) != 0)
            printf("%s%s, %lld x %lld\n  %-22s %14s  %6s  %8s  %8s\n", i ? "\n" : "", r->fixture,
                   (long long)r->rows, (long long)r->d, "method", "relative error", "ratio",
                   "products", "seconds");
        printf("  %-22s %14.7f  %6.3f  %8.1f  %8.3f\n", r->method, r->relative_error, r->ratio,
               r->products, r->seconds);
    }
    return pons_cli_flush();
}

pons_status pons_cli_print_quality(const pons_quality *quality, bool json)
{
    return json ? print_json(quality) : print_table(quality);
}
