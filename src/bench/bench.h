/**
 * Measurements: each phase of the job on synthetic or real data, beside a baseline in the same
 * process on the same data and the rate of a matrix product of that shape.
 *
 * Under mpirun every rank works on its share of the rows (windows, tokens) at the same time; seconds
 * are those of the slowest rank, rates those of all ranks together.
 */
#ifndef PONS_BENCH_BENCH_H
#define PONS_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/problem.h"
#include "config/recipe.h"
#include "model/model.h"
#include "par/comm.h"

/** How to measure. */
typedef struct pons_bench_setting {
    pons_comm *comm;
    int threads;    /* per rank */
    int64_t repeat; /* the best one counts */
    bool cpu_time;  /* processor seconds divided by threads instead of wall time: on a machine that
                       others use, sound with one thread */
} pons_bench_setting;

/** The baseline for the same result. seconds_per_row was measured on `rows` sampled rows; `seconds`
 * is the time of all rows (extrapolated when fewer were measured). */
typedef struct pons_bench_baseline {
    const char *what; /* NULL: none */
    int64_t rows;
    int threads;
    double seconds_per_row, seconds, speedup; /* speedup: these seconds over the result's */
} pons_bench_baseline;

/** One measurement. A number that does not apply is NaN, a count -1. */
typedef struct pons_bench_result {
    const char *what;      /* "solver" */
    const char *method;    /* "dual" */
    const char *precision; /* "fp32" or "bf16": inputs of the matrix products */
    int64_t rows, d;       /* of all ranks; tokens or windows x tokens where there are no rows */
    int threads, ranks;
    double seconds, gflops;
    double peak_gflops;   /* a matrix product of that shape, same ranks and threads */
    double share_of_peak; /* gflops / peak_gflops */
    int64_t
        workspace_bytes;   /* measured: peak of resident memory above what was there before, of the
                                rank that needed most */
    double error_ratio;    /* layer error (clip: the search's error) over that of the exact way, on
                                the sampled rows */
    double relative_error; /* largest difference from the exact product over its largest entry */
    double speedup_vs_potrf;      /* solver: baseline.speedup */
    pons_bench_baseline baseline; /* same threads */

    /* The solver alone. */
    pons_bench_baseline one_thread;  /* the baseline on one thread of each rank */
    double worst_error_ratio;        /* of a sampled row */
    double stage1_error_ratio;       /* stage 1 alone, where the direct solver is the optimum */
    double stage1_worst_error_ratio; /* of a sampled row */
    double stage1_seconds;           /* stage 1 alone, one run */
    double factor_seconds;           /* shared Cholesky of the input group, not in `seconds` */
    double speedup_with_factor;      /* the baseline, which needs no factor, over both */
    double iterations[2];            /* dual: mean products of a row in stage 1, stage 2 */
    int64_t fallbacks;               /* dual: rows finished by the direct solver */
    double prepare_share;            /* iterative: of the time, for what all rows share */
    double product_share;            /* iterative: of the threads' time, for products of rows */
    double product_gflops;           /* iterative: of these, were all threads at it */

    /* The forward pass alone: its attention, of as many tokens. */
    double attention_seconds, attention_gflops;
} pons_bench_result;

/** A result without numbers. Local. */
pons_bench_result pons_bench_result_empty(const pons_bench_setting *setting, const char *what,
                                          const char *method, const char *precision);

/** What is timed. Local. */
typedef pons_status (*pons_bench_body)(void *user);

/**
 * Best seconds of setting->repeat runs, all ranks starting together, the slowest rank counting.
 * Collective on setting->comm.
 * @param workspace bytes of the first run, see pons_bench_result; pages that the caller has not
 * touched before count, too. -1 where the system cannot tell. May be NULL
 * @return the status of `body`, agreed on.
 */
pons_status pons_bench_time(const pons_bench_setting *setting, pons_bench_body body, void *user,
                            double *seconds, int64_t *workspace);

/** Least-squares slope of log y over log x: the exponent of a power law. Local. @return NaN for
 * fewer than two points. */
double pons_bench_exponent(int n, const double *x, const double *y);

/**
 * GF/s of C[M, N] = A[M, K] B[K, N] over all ranks, each with its own M rows: the best of the
 * library's kernels on one thread per slab or tile, operands already in their types and layouts.
 * Collective. Cost: a few products.
 */
pons_status pons_bench_peak(const pons_bench_setting *setting, bool bf16, int64_t M, int64_t N,
                            int64_t K, double *gflops);

/** Product of a square matrix through the program's own kernel, against the peak. Collective. */
pons_status pons_bench_gemm(const pons_bench_setting *setting, bool bf16, int64_t rows, int64_t d,
                            pons_bench_result *out);

/**
 * bf16 products of tiles 256 x 256 x 512 of which one side comes from beyond the caches of a core, against the same tiles
 * with sides that stay in them: the share of the peak that memory bandwidth leaves to a phase that
 * reads an operand once.
 * Collective. Memory: 32 MiB for each thread. @return PONS_ERR_UNSUPPORTED without bf16 products.
 */
pons_status pons_bench_streamed(const pons_bench_setting *setting, pons_bench_result *out);

/**
 * Both stages of every row of the layer by `solver`, against one Cholesky per row on `sample` rows.
 * Collective.
 * flop counted. dual: d^3 / 3 and (d - p)^3 / 3 for the inverses; 2 d^2 or 2 (d - p)^2 per row and
 * iteration; one more product per stage for the check, 2 p (d - p) + 2 (d - p)^2 per row for
 * stage 2's right-hand side. direct: k^3 / 3 + 2 d^2 per row of k kept columns.
 * @return PONS_ERR_UNSUPPORTED for a precision that the solver does not have.
 */
pons_status pons_bench_solver(const pons_bench_setting *setting, const pons_bench_layer *layer,
                              pons_solver solver, bool bf16, int64_t sample,
                              pons_bench_result *out);

/** Windows of `tokens` tokens added to a Hessian (d^2 flop per token), against the full fp32 product
 * X^T X. Collective. */
pons_status pons_bench_hessian(const pons_bench_setting *setting, bool bf16, int64_t tokens,
                               int64_t d, pons_bench_result *out);

/** The inverse Cholesky factor of a [d, d] matrix over all ranks, by linalg's tiles or by ScaLAPACK,
 * against LAPACK on as many threads of rank 0. Flop: 2 d^3 / 3; peak: fp64 products of tiles.
 * Collective. @return PONS_ERR_UNSUPPORTED where ScaLAPACK is not built. Memory: d^2 doubles on rank
 * 0 beside the tiles. */
pons_status pons_bench_factor(const pons_bench_setting *setting, int64_t d, bool scalapack,
                              pons_bench_result *out);

/**
 * Memory of all steps of a linear of `rows` rows and d columns over all ranks: `windows` windows of
 * `tokens` tokens, Hessian, factor, inverse, rows by the default recipe. workspace_bytes is the peak of
 * the rank that needed most, with what a node shares divided by its ranks. Flop: the Hessian's, factor's
 * and inverse's. Collective.
 */
pons_status pons_bench_memory(const pons_bench_setting *setting, bool bf16, int64_t rows, int64_t d,
                              int64_t tokens, int64_t windows, pons_bench_result *out);

/** Scales with the clip search (80 x 30 flop per weight), against powf on `sample` rows. Collective.
 */
pons_status pons_bench_clip(const pons_bench_setting *setting, const pons_bench_layer *layer,
                            int64_t sample, pons_bench_result *out);

/** The masked sweep over the columns from p on ((d - p)^2 flop per row), against updates column by
 * column on `sample` rows. Collective. */
pons_status pons_bench_gptq(const pons_bench_setting *setting, const pons_bench_layer *layer,
                            int64_t sample, pons_bench_result *out);

/** A window of `tokens` tokens per rank through block 0 of a model, against fp32. Flop: 2 per weight
 * and token and 2 tokens per token and channel of attention. Collective. */
pons_status pons_bench_forward(const pons_bench_setting *setting, const pons_model *model,
                               bool bf16, int64_t tokens, pons_bench_result *out);

#endif
