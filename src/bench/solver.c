/* The masked solves against one Cholesky per row. Owns what is counted and compared; the solvers are
 * obr's.
 *
 * Errors: the finished rows differ from the direct solver's in roundings of the left half, too, so their
 * ratio scatters around 1. Stage 1 alone has an optimum, which the direct solver finds: its ratio says
 * how far the solver stopped from it. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "bench/rows.h"
#include "kern/product.h"

typedef struct work {
    pons_bench_problem *problem;
    pons_solver solver;
    bool bf16;
    int64_t split;
    float *V;
    pons_row_metrics metrics; /* of the latest run */
    /* of the fastest run of this rank; 0: none yet */
    double took, preparing, multiplying;
} work;

static pons_status run(void *user)
{
    work *w = user;
    double start = pons_clock();
    pons_status st =
        pons_bench_solve_rows(w->problem, w->solver, w->bf16, w->split, w->V, &w->metrics);
    double took = pons_clock() - start;
    if (w->took > 0 && took >= w->took) return st;
    w->took = took;
    w->preparing = took - w->metrics.solve_seconds;
    w->multiplying = w->metrics.product_seconds / omp_get_max_threads();
    return st;
}

/* Two sums and the worst ratio, over the sampled rows of all ranks. */
static pons_status compare(const pons_bench_setting *s, const pons_bench_problem *sample,
                           const float *got, const float *exact, double *ratio, double *worst)
{
    pons_status st = PONS_OK, local = PONS_OK;
    int64_t n = sample->rows;
    double sum[2] = {0, 0};
    double *error = pons_mem_alloc(2 * n, sizeof *error);
    if (!error) local = PONS_ERR_NOMEM;
    if (local == PONS_OK) local = pons_bench_row_errors(sample, got, error);
    if (local == PONS_OK) local = pons_bench_row_errors(sample, exact, error + n);
    PONS_TRY_ALL(st, s->comm, local);
    *worst = 0;
    for (int64_t i = 0; i < n; i++) {
        sum[0] += error[i];
        sum[1] += error[n + i];
        if (error[i] > 0 || error[n + i] > 0) *worst = fmax(*worst, error[i] / error[n + i]);
    }
    pons_comm_sum_f64(s->comm, sum, 2);
    pons_comm_max_f64(s->comm, worst, 1);
    *ratio = sum[1] > 0 ? sum[0] / sum[1] : sum[0] > 0 ? INFINITY : 1.0;
done:
    pons_mem_free(error);
    return st;
}

/* Time the direct solver on the sample with some threads; V [sample, d]. */
static pons_status time_baseline(const pons_bench_setting *setting, int threads,
                                 pons_bench_problem *sample, double total, float *V,
                                 pons_bench_baseline *out)
{
    pons_bench_setting s = *setting;
    work w = {.problem = sample, .solver = PONS_SOLVER_DIRECT, .split = sample->split, .V = V};
    double seconds = NAN, rows = (double)sample->rows;
    s.threads = threads;
    omp_set_num_threads(threads);
    pons_status st = pons_bench_time(&s, run, &w, &seconds, NULL);
    omp_set_num_threads(setting->threads);
    pons_comm_sum_f64(s.comm, &rows, 1);
    *out = (pons_bench_baseline){"one spotrf per row", (int64_t)rows,          threads,
                                 seconds / rows,       seconds / rows * total, NAN};
    return st;
}

/* flop of all ranks, of products as they are run: in bf16 a check is two of them, stage 2's target and its right-hand side
 * three; in fp32 one, but where that is six of bf16 a check is two of these. Rows that are checked again count once.
 * @param products rows multiplied in stage 1, in stage 2 */
static double count_flop(const pons_bench_setting *s, const work *w, const double *products)
{
    const pons_bench_problem *p = w->problem;
    double d = (double)p->d, n = d - (double)w->split, split = (double)w->split, flop = 0;
    if (w->solver == PONS_SOLVER_DIRECT) {
        for (int64_t i = 0; i < p->rows; i++) {
            double k = 0;
            for (int64_t j = 0; j < p->d; j++)
                k += p->mask[i * p->d + j];
            if (k > 0 && k < d) flop += k * k * k / 3.0;
            flop += 2.0 * d * d;
        }
    } else {
        bool terms = pons_product_exact(w->bf16) == PONS_PRODUCT_TRIPLE;
        double checks = (double)p->rows * (w->bf16 ? 2.0 : terms ? 2.0 / 6.0 : 1.0);
        double targets = (double)p->rows * (w->bf16 ? 3.0 : 1.0);
        flop = d * d * d / 3.0 + 2.0 * d * d * (products[0] + checks);
        if (w->split > 0)
            flop += n * n * n / 3.0 + 2.0 * n * n * (products[1] + checks) +
                    2.0 * (split + n) * n * targets;
    }
    pons_comm_sum_f64(s->comm, &flop, 1);
    return flop;
}

/* What the ranks' fastest runs were for. Wall time, whatever the clock of the measurement. */
static void divide_seconds(const pons_bench_setting *s, const work *w, double flop,
                           pons_bench_result *r)
{
    double d = (double)w->problem->d, n = d - (double)w->split, ranks = pons_comm_size(s->comm);
    double shared = (d * d * d + (w->split > 0 ? n * n * n : 0.0)) / 3.0 * ranks;
    double sums[3] = {w->took, w->preparing, w->multiplying};
    pons_comm_sum_f64(s->comm, sums, 3);
    if (!(sums[2] > 0)) return; /* no row was iterated */
    r->prepare_share = sums[1] / sums[0];
    r->product_share = sums[2] / sums[0];
    r->product_gflops = 1e-9 * (flop - shared) / (sums[2] / ranks);
}

/* Stage 1 alone on all rows, once: its seconds and its products. Writes to w->V. */
static pons_status time_stage1(const pons_bench_setting *setting, const work *w, int64_t *products,
                               double *seconds)
{
    pons_bench_setting once = *setting;
    work stage1 = *w;
    once.repeat = 1;
    stage1.split = 0;
    pons_status st = pons_bench_time(&once, run, &stage1, seconds, NULL);
    *products = stage1.metrics.iterations;
    return st;
}

/* Means over all rows of all ranks. */
static void count_iterations(const pons_bench_setting *s, const work *w, const double *products,
                             pons_bench_result *r)
{
    double sums[3] = {products[0], products[1], (double)w->problem->rows};
    pons_comm_sum_f64(s->comm, sums, 3);
    r->iterations[0] = sums[0] / sums[2];
    r->iterations[1] = sums[1] / sums[2];
    r->fallbacks = w->metrics.fallbacks;
    pons_comm_sum_i64(s->comm, &r->fallbacks, 1);
}

/* How good stage 1 is on the sampled rows, solved on their own. */
static pons_status compare_stage1(const pons_bench_setting *s, pons_bench_problem *sample,
                                  pons_solver solver, bool bf16, float *got, float *exact,
                                  pons_bench_result *r)
{
    pons_status st = PONS_OK;
    work w = {.problem = sample, .solver = solver, .bf16 = bf16, .V = got};
    work direct = {.problem = sample, .solver = PONS_SOLVER_DIRECT, .V = exact};
    PONS_TRY_ALL(st, s->comm, run(&w));
    PONS_TRY_ALL(st, s->comm, run(&direct));
    PONS_TRY(st,
             compare(s, sample, got, exact, &r->stage1_error_ratio, &r->stage1_worst_error_ratio));
done:
    return st;
}

static const char *name_of(pons_solver solver)
{
    return solver == PONS_SOLVER_DIRECT   ? "direct"
           : solver == PONS_SOLVER_PRIMAL ? "primal"
                                          : "dual";
}

typedef struct factor_work {
    const pons_bench_layer *layer;
    pons_bench_problem *problem;
} factor_work;

static pons_status run_factor(void *user)
{
    const factor_work *f = user;
    return pons_bench_problem_factor(f->layer, f->problem);
}

/* The numbers of one layer that is made and factored. */
static pons_status measure(const pons_bench_setting *s, pons_bench_problem *p, pons_solver solver,
                           bool bf16, pons_bench_problem *sample, pons_bench_result *r)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double products[2] = {0, 0}, total = (double)p->total;
    int64_t d = p->d, stage1 = 0;
    float *V = pons_mem_calloc(p->rows * d, sizeof *V);
    float *got = pons_mem_alloc(sample->rows * d, sizeof *got);
    float *exact = pons_mem_calloc(sample->rows * d, sizeof *exact);
    if (!V || !got || !exact) local = PONS_ERR_NOMEM;
    PONS_TRY_ALL(st, s->comm, local);
    work w = {.problem = p, .solver = solver, .bf16 = bf16, .split = p->split, .V = V};
    if (solver != PONS_SOLVER_DIRECT) PONS_TRY(st, time_stage1(s, &w, &stage1, &r->stage1_seconds));
    PONS_TRY(st, pons_bench_time(s, run, &w, &r->seconds, &r->workspace_bytes));
    products[0] = (double)stage1;
    products[1] = (double)(w.metrics.iterations - stage1);
    if (solver != PONS_SOLVER_DIRECT) count_iterations(s, &w, products, r);
    double flop = count_flop(s, &w, products);
    r->gflops = 1e-9 * flop / r->seconds;
    if (solver != PONS_SOLVER_DIRECT) divide_seconds(s, &w, flop, r);

    PONS_TRY(st, time_baseline(s, 1, sample, total, exact, &r->one_thread));
    r->baseline = r->one_thread;
    if (s->threads > 1)
        PONS_TRY(st, time_baseline(s, s->threads, sample, total, exact, &r->baseline));
    r->one_thread.speedup = r->one_thread.seconds / r->seconds;
    r->speedup_vs_potrf = r->baseline.speedup = r->baseline.seconds / r->seconds;
    r->speedup_with_factor = r->baseline.seconds / (r->seconds + r->factor_seconds);

    for (int64_t i = 0; i < sample->rows; i++)
        memcpy(got + i * d, V + pons_bench_sample_row(p->rows, sample->rows, i) * d,
               (size_t)d * sizeof *got);
    PONS_TRY(st, compare(s, sample, got, exact, &r->error_ratio, &r->worst_error_ratio));
    PONS_TRY(st, compare_stage1(s, sample, solver, bf16, got, exact, r));
    PONS_TRY(st, pons_bench_peak(s, bf16, p->rows, d, d, &r->peak_gflops));
    r->share_of_peak = r->gflops / r->peak_gflops;
done:
    pons_mem_free(exact);
    pons_mem_free(got);
    pons_mem_free(V);
    return st;
}

pons_status pons_bench_solver(const pons_bench_setting *s, const pons_bench_layer *layer,
                              pons_solver solver, bool bf16, int64_t sample_rows,
                              pons_bench_result *out)
{
    pons_status st = PONS_OK;
    pons_bench_problem p = {0}, sample = {0};
    pons_bench_setting once = *s;
    pons_bench_result r =
        pons_bench_result_empty(s, "solver", name_of(solver), bf16 ? "bf16" : "fp32");
    once.repeat = 1;
    if (bf16 && solver == PONS_SOLVER_DIRECT)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "--precision bf16: the direct solver computes in fp32");
    PONS_TRY(st, pons_bench_problem_create(s->comm, layer, &p));
    factor_work f = {layer, &p};
    PONS_TRY(st, pons_bench_time(&once, run_factor, &f, &r.factor_seconds, NULL));
    PONS_TRY_ALL(st, s->comm, pons_bench_problem_sample(&p, sample_rows, &sample));
    r.rows = p.total;
    r.d = p.d;
    PONS_TRY(st, measure(s, &p, solver, bf16, &sample, &r));
    *out = r;
done:
    pons_bench_problem_clear_sample(&sample);
    pons_bench_problem_clear(&p);
    return st;
}
