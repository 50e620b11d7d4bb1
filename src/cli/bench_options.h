/**
 * What a call of `pons bench` asks for.
 */
#ifndef PONS_CLI_BENCH_OPTIONS_H
#define PONS_CLI_BENCH_OPTIONS_H

#include "bench/problem.h"
#include "cli/cli.h"

typedef struct pons_bench_options {
    const char *what;     /* "gemm" ... "all" */
    const char *model;    /* NULL: none */
    const char *dump;     /* NULL: none */
    const char *fixtures; /* NULL: the usual place */
    const char *run;      /* directory of a run with kept Hessians; NULL: none */
    pons_bench_layer layer;
    int precision; /* -1: not given; 0: fp32; 1: bf16 */
    pons_solver solver;
    int64_t sample, tokens, windows, threads, repeat, to; /* threads, to: 0 unless given */
    char sweep;                                           /* 0, 'd' (dim), 'r' (rows) */
    bool cpu_time;
    bool one_per_block; /* layers */
    unsigned given;     /* which options, internal */
} pons_bench_options;

/** First and, unless given, last value of a sweep. */
enum { PONS_SWEEP_DIM = 512, PONS_SWEEP_ROWS = 256, PONS_SWEEP_TO = 2048 };

/**
 * Parse and check a command line. Collective on comm.
 * @return PONS_OK (common->help: nothing is to be done) or PONS_ERR_USAGE, PONS_ERR_UNSUPPORTED, the
 * same on every rank.
 */
pons_status pons_cli_parse_bench(pons_comm *comm, int argc, char **argv, pons_cli_common *common,
                                 pons_bench_options *out);

#endif
