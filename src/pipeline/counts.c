/* Iterations of rows: sums and JSON. Does not count; the solvers do. */
#include "pipeline/counts.h"

void pons_counts_sum(pons_comm *comm, pons_row_metrics *counts)
{
    int64_t all[PONS_ITERATION_BINS + 3] = {counts->iterations, counts->refined, counts->fallbacks};
    for (int n = 0; n < PONS_ITERATION_BINS; n++)
        all[3 + n] = counts->rows_by_iterations[n];
    pons_comm_sum_i64(comm, all, PONS_ITERATION_BINS + 3);
    counts->iterations = all[0];
    counts->refined = all[1];
    counts->fallbacks = all[2];
    for (int n = 0; n < PONS_ITERATION_BINS; n++)
        counts->rows_by_iterations[n] = all[3 + n];
}

void pons_counts_add(pons_row_metrics *counts, const pons_row_metrics *more)
{
    counts->iterations += more->iterations;
    counts->refined += more->refined;
    counts->fallbacks += more->fallbacks;
    for (int n = 0; n < PONS_ITERATION_BINS; n++)
        counts->rows_by_iterations[n] += more->rows_by_iterations[n];
}

void pons_counts_add_work(pons_row_metrics *all, const pons_row_metrics *more)
{
    all->mask_seconds += more->mask_seconds;
    all->solve_seconds += more->solve_seconds;
    all->clip_seconds += more->clip_seconds;
    all->gptq_seconds += more->gptq_seconds;
    all->polish_seconds += more->polish_seconds;
    all->measure_seconds += more->measure_seconds;
    all->products += more->products;
    all->flop += more->flop;
    all->product_flop += more->product_flop;
    all->moved += more->moved;
}

json_t *pons_counts_to_json(const pons_row_metrics *counts)
{
    int64_t rows = 0;
    int most = -1;
    for (int n = 0; n < PONS_ITERATION_BINS; n++) {
        rows += counts->rows_by_iterations[n];
        if (counts->rows_by_iterations[n] > 0) most = n;
    }
    if (rows == 0) return NULL;
    json_t *histogram = json_array();
    for (int n = 0; n <= most; n++)
        json_array_append_new(histogram, json_integer(counts->rows_by_iterations[n]));
    return json_pack("{s:I, s:f, s:i, s:I, s:I, s:o}", "rows", (json_int_t)rows, "mean",
                     (double)counts->iterations / (double)rows, "most", most, "refined",
                     (json_int_t)counts->refined, "fallbacks", (json_int_t)counts->fallbacks,
                     "rows_by_iterations", histogram);
}

static int64_t integer_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

pons_row_metrics pons_counts_from_json(const json_t *object)
{
    pons_row_metrics counts = {0};
    size_t n;
    const json_t *entry, *histogram = json_object_get(object, "rows_by_iterations");
    double mean = json_number_value(json_object_get(object, "mean"));
    counts.iterations = (int64_t)(mean * (double)integer_of(object, "rows") + 0.5);
    counts.refined = integer_of(object, "refined");
    counts.fallbacks = integer_of(object, "fallbacks");
    json_array_foreach(histogram, n, entry) if (n < PONS_ITERATION_BINS)
        counts.rows_by_iterations[n] = json_integer_value(entry);
    return counts;
}
