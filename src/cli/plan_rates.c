/* Owns the ways to a machine's rates: measured, read from JSON, and back to JSON. */
#include "cli/plan_rates.h"

#include <omp.h>
#include <stddef.h>

#include "bench/bench.h"

typedef struct rate_key {
    const char *name;
    size_t offset;
} rate_key;

#define RATE(name)                                                                                 \
    {                                                                                              \
#name, offsetof(pons_plan_rates, name)                                                     \
    }
static const rate_key rate_keys[] = {RATE(forward), RATE(hessian), RATE(factor), RATE(inverse),
                                     RATE(solve),   RATE(clip),    RATE(gptq),   RATE(memory),
                                     RATE(network), RATE(latency), RATE(disk)};
enum { RATES = sizeof rate_keys / sizeof *rate_keys };

static double *rate_at(pons_plan_rates *rates, int i)
{
    return (double *)((char *)rates + rate_keys[i].offset);
}

pons_status pons_cli_read_rates(const char *path, pons_plan_rates *rates)
{
    json_error_t error;
    pons_status st = PONS_OK;
    json_t *root = json_load_file(path, 0, &error), *object = root;
    if (!root) return pons_fail(PONS_ERR_INPUT, "%s:%d: %s", path, error.line, error.text);
    if (json_object_get(root, "rates")) object = json_object_get(root, "rates");
    int found = 0;
    for (int i = 0; i < RATES && st == PONS_OK; i++) {
        const json_t *value = json_object_get(object, rate_keys[i].name);
        if (!value) continue;
        found++;
        *rate_at(rates, i) = json_number_value(value);
        if (!(json_number_value(value) > 0))
            st = pons_fail(PONS_ERR_INPUT, "%s: rates.%s: allowed: a number above 0", path,
                           rate_keys[i].name);
    }
    if (st == PONS_OK && !found)
        st = pons_fail(PONS_ERR_INPUT, "%s: no rates in it (forward, hessian, factor ...)", path);
    json_decref(root);
    return st;
}

pons_status pons_cli_measure_rates(bool bf16, bool solver_bf16, pons_plan_rates *rates)
{
    enum { ROWS = 512, DIM = 1024, TOKENS = 1024, SAMPLE = 4 };
    pons_status st = PONS_OK;
    int threads = omp_get_max_threads();
    pons_bench_setting s = {pons_par_alone(), 1, 2, false};
    pons_bench_layer layer = {
        .rows = ROWS, .d = DIM, .sparsity = 0.5, .alpha = 0.5, .damping = 0.01, .power = 1.0};
    pons_bench_result r;
    omp_set_num_threads(1);
    PONS_TRY(st, pons_bench_gemm(&s, bf16, TOKENS, DIM, &r));
    rates->forward = r.gflops;
    PONS_TRY(st, pons_bench_gemm(&s, false, DIM, DIM, &r));
    rates->inverse = r.gflops;
    PONS_TRY(st, pons_bench_hessian(&s, bf16, TOKENS, DIM, &r));
    rates->hessian = r.gflops;
    PONS_TRY(st, pons_bench_factor(&s, DIM, false, &r));
    rates->factor = r.gflops;
    PONS_TRY(st, pons_bench_solver(&s, &layer, PONS_SOLVER_DUAL, solver_bf16, SAMPLE, &r));
    rates->solve = r.gflops;
    PONS_TRY(st, pons_bench_clip(&s, &layer, SAMPLE, &r));
    rates->clip = r.gflops;
    PONS_TRY(st, pons_bench_gptq(&s, &layer, SAMPLE, &r));
    rates->gptq = r.gflops;
done:
    omp_set_num_threads(threads);
    return st;
}

json_t *pons_cli_rates_json(const pons_plan_rates *rates, bool *ok)
{
    pons_plan_rates copy = *rates;
    json_t *o = json_object();
    for (int i = 0; i < RATES; i++)
        pons_cli_set(o, rate_keys[i].name, pons_cli_real(*rate_at(&copy, i)), ok);
    return o;
}
