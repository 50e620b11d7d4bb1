/**
 * How measurements look on stdout.
 */
#ifndef PONS_CLI_BENCH_OUTPUT_H
#define PONS_CLI_BENCH_OUTPUT_H

#include <jansson.h>

#include "bench/bench.h"
#include "bench/quality.h"

enum { PONS_BENCH_RESULTS = 64 };

/** Everything one call of `pons bench` measured. */
typedef struct pons_bench_report {
    bool cpu_time;
    const pons_bench_layer *layer; /* NULL when no result is of a layer */
    int64_t repeat;
    bool list; /* the command makes several results, even when there is one */
    int count;
    pons_bench_result result[PONS_BENCH_RESULTS];
    int exponents; /* of a sweep */
    const char *exponent_name[4];
    double exponent[4];
    const char *over; /* "dim" or "rows" */
} pons_bench_report;

/** Print as a table with its notes, or as JSON. Local: rank 0 calls it. @return PONS_OK,
 * PONS_ERR_IO, PONS_ERR_NOMEM. */
pons_status pons_cli_print_bench(const pons_bench_report *report, bool json);

/** The same of layer errors: a row per way, a column per fixture; JSON: fixtures: [{name, method,
 * relative_error, ratio, seconds}]. */
pons_status pons_cli_print_quality(const pons_quality *quality, bool json);

#endif
