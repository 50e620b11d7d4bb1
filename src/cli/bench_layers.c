/* Owns the table and the JSON of `pons bench layers`. Does not measure. */
#include "cli/bench_layers.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "cli/cli.h"

enum { HARDEST = 10 };

static int most_iterations(const pons_bench_linear *l)
{
    int most = 0;
    for (int n = 0; n < PONS_ITERATION_BINS; n++)
        if (l->metrics.rows_by_iterations[n] > 0) most = n;
    return most;
}

static double mean_iterations(const pons_bench_linear *l)
{
    return (double)l->metrics.iterations / (double)l->rows;
}

static void set_ratio(json_t *object, const char *key, const pons_bench_ratio *r, bool *ok)
{
    json_t *o = json_object();
    pons_cli_set(o, "mean", pons_cli_real(r->mean), ok);
    pons_cli_set(o, "worst", pons_cli_real(r->worst), ok);
    pons_cli_set(object, key, o, ok);
}

static json_t *linear_json(const pons_bench_linear *l, bool *ok)
{
    json_t *o = json_object(), *histogram = json_array();
    for (int n = 0; n <= most_iterations(l); n++)
        *ok =
            json_array_append_new(histogram, json_integer(l->metrics.rows_by_iterations[n])) == 0 &&
            *ok;
    pons_cli_set(o, "name", json_string(l->name), ok);
    pons_cli_set(o, "rows", json_integer(l->rows), ok);
    set_ratio(o, "stage1_error_ratio", &l->stage1, ok);
    set_ratio(o, "error_ratio", &l->both, ok);
    set_ratio(o, "rounded_error_ratio", &l->rounded, ok);
    pons_cli_set(o, "iterations_mean", pons_cli_real(mean_iterations(l)), ok);
    pons_cli_set(o, "iterations_most", json_integer(most_iterations(l)), ok);
    pons_cli_set(o, "refined", json_integer(l->metrics.refined), ok);
    pons_cli_set(o, "fallbacks", json_integer(l->metrics.fallbacks), ok);
    pons_cli_set(o, "rows_by_iterations", histogram, ok);
    return o;
}

static pons_status print_json(const pons_bench_layers *layers)
{
    bool ok = true;
    json_t *root = linear_json(&layers->all, &ok), *list = json_array();
    for (int64_t i = 0; i < layers->count; i++)
        ok = json_array_append_new(list, linear_json(&layers->linear[i], &ok)) == 0 && ok;
    pons_cli_set(root, "linears", list, &ok);
    pons_status st =
        ok ? pons_cli_print(root, true) : pons_fail(PONS_ERR_NOMEM, "out of memory for the result");
    json_decref(root);
    return st;
}

static void print_row(const char *name, const pons_bench_linear *l)
{
    printf("%-20s %6lld  %9.6f  %9.6f  %9.6f  %9.6f  %9.6f  %9.6f  %5.1f %5d  %7lld %6lld\n", name,
           (long long)l->rows, l->stage1.mean, l->stage1.worst, l->both.mean, l->both.worst,
           l->rounded.mean, l->rounded.worst, mean_iterations(l), most_iterations(l),
           (long long)l->metrics.refined, (long long)l->metrics.fallbacks);
}

/* Linears of one kind as one. */
static pons_bench_linear sum_kind(const pons_bench_layers *layers, int kind)
{
    pons_bench_linear sum = {0};
    for (int64_t i = 0; i < layers->count; i++)
        if (layers->linear[i].linear == kind) pons_bench_linear_add(&sum, &layers->linear[i]);
    return sum;
}

/* Those of most iterations, first the hardest. */
static void print_hardest(const pons_bench_layers *layers)
{
    double below = INFINITY;
    for (int k = 0; k < HARDEST && k < layers->count; k++) {
        const pons_bench_linear *next = NULL;
        for (int64_t i = 0; i < layers->count; i++) {
            const pons_bench_linear *l = &layers->linear[i];
            if (mean_iterations(l) < below && (!next || mean_iterations(l) > mean_iterations(next)))
                next = l;
        }
        if (!next) return;
        below = mean_iterations(next);
        print_row(next->name, next);
    }
}

static pons_status print_table(const pons_bench_layers *layers)
{
    printf("Layer error over the direct solver's, row by row; the direct solver's own where the "
           "weights were rounded to bf16 before; products of a row with the shared matrix.\n\n"
           "%-20s %6s  %20s  %20s  %20s  %11s  %7s %6s\n"
           "%-20s %6s  %9s  %9s  %9s  %9s  %9s  %9s  %5s %5s\n",
           "", "", "stage 1 alone", "both stages", "both, rounded before", "iterations", "refined",
           "direct", "linear", "rows", "mean", "worst", "mean", "worst", "mean", "worst", "mean",
           "most");
    for (int k = 0; k < layers->arch->linears; k++) {
        pons_bench_linear sum = sum_kind(layers, k);
        if (sum.rows > 0) print_row(layers->arch->linear[k].short_name, &sum);
    }
    print_row(layers->all.name, &layers->all);
    printf("\nhardest:\n");
    print_hardest(layers);
    printf("\nrows by iterations:");
    for (int n = 0; n <= most_iterations(&layers->all); n++)
        if (layers->all.metrics.rows_by_iterations[n] > 0)
            printf(" %d: %lld", n, (long long)layers->all.metrics.rows_by_iterations[n]);
    putchar('\n');
    return pons_cli_flush();
}

pons_status pons_cli_print_layers(const pons_bench_layers *layers, bool json)
{
    return json ? print_json(layers) : print_table(layers);
}
