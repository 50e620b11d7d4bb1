/* The other phases of a linear against their plain forms: the Hessian's sum, the clip search, the GPTQ
 * half. Owns the plain forms. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "bench/bench.h"
#include "hessian/accumulate.h"
#include "kern/gemm.h"
#include "obr/form.h"
#include "obr/gptq.h"

static pons_bench_baseline baseline(const pons_bench_setting *s, const char *what, double seconds,
                                    double rows, double total, const pons_bench_result *r)
{
    pons_comm_sum_f64(s->comm, &rows, 1);
    double all = seconds / rows * total;
    return (pons_bench_baseline){what,           (int64_t)rows, s->threads,
                                 seconds / rows, all,           all / r->seconds};
}

/* ---- Hessian */

typedef struct sum {
    pons_hessian *hessian;
    int64_t tokens, d;
    const float *X;
    float *G;
} sum;

static pons_status run_hessian(void *user)
{
    const sum *s = user;
    return pons_hessian_add(s->hessian, s->tokens, s->X);
}

static pons_status run_full_product(void *user)
{
    enum { TILE = 256 };
    const sum *s = user;
    int d = (int)s->d;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < d; i += TILE)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, d - i < TILE ? d - i : TILE, d,
                    (int)s->tokens, 1.0f, s->X + i, d, s->X, d, 0.0f, s->G + (int64_t)i * d, d);
    return PONS_OK;
}

/* Largest difference of some entries from fp64 sums over this rank's tokens, over the largest entry.
 * H times scale is X^T X. */
static double hessian_difference(const sum *s, const double *H, double scale)
{
    double worst = 0, largest = 0;
    for (int64_t k = 0; k < 64; k++) {
        int64_t i = k * 7919 % s->d, j = k % 2 ? k * 104729 % s->d : i;
        double exact = 0;
        for (int64_t t = 0; t < s->tokens; t++)
            exact += (double)s->X[t * s->d + i] * (double)s->X[t * s->d + j];
        worst = fmax(worst, fabs(H[i * s->d + j] * scale - exact));
        largest = fmax(largest, fabs(exact));
    }
    return worst / largest;
}

pons_status pons_bench_hessian(const pons_bench_setting *s, bool bf16, int64_t tokens, int64_t d,
                               pons_bench_result *out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double seconds;
    pons_bench_result r =
        pons_bench_result_empty(s, "hessian", "window sum", bf16 ? "bf16" : "fp32");
    sum w = {.tokens = tokens, .d = d};
    float *X = pons_mem_alloc(tokens * d, sizeof *X);
    w.X = X;
    w.G = pons_mem_calloc(d * d, sizeof *w.G);
    if (!X || !w.G) local = PONS_ERR_NOMEM;
    if (local == PONS_OK && bf16 && !pons_kern_has_bf16())
        local = pons_fail(PONS_ERR_UNSUPPORTED, "this build or processor has no bf16 products");
    PONS_TRY_ALL(st, s->comm, local);
    /* Every rank the same window, so that the mean is the window's own. */
    pons_bench_gauss(0, 3, tokens * d, 1.0, X);
    for (int64_t i = 0; i < tokens * d; i++)
        X[i] = pons_bf16_round(X[i]);
    int64_t windows = s->repeat;
    PONS_TRY_ALL(st, s->comm, pons_hessian_create(d, windows * r.ranks, bf16, &w.hessian));
    for (int64_t k = 0; k < windows; k++)
        PONS_TRY_ALL(st, s->comm, pons_hessian_observe(w.hessian, k, tokens, X));
    PONS_TRY(st, pons_hessian_agree(w.hessian, s->comm));
    PONS_TRY(st, pons_bench_time(s, run_hessian, &w, &r.seconds, &r.workspace_bytes));
    PONS_TRY(st, pons_hessian_reduce(w.hessian, s->comm));
    r.relative_error = hessian_difference(&w, pons_hessian_matrix(w.hessian), 0.5);
    r.rows = tokens * r.ranks;
    r.d = d;
    r.gflops = 1e-9 * (double)r.rows * (double)d * (double)d / r.seconds;
    PONS_TRY(st, pons_bench_time(s, run_full_product, &w, &seconds, NULL));
    r.baseline =
        baseline(s, "full product X^T X in fp32", seconds, (double)tokens, (double)r.rows, &r);
    PONS_TRY(st, pons_bench_peak(s, bf16, d, d, tokens, &r.peak_gflops));
    r.share_of_peak = r.gflops / r.peak_gflops;
    *out = r;
done:
    pons_hessian_destroy(&w.hessian);
    pons_mem_free(w.G);
    pons_mem_free(X);
    return st;
}

/* ---- Clip search */

typedef struct clip {
    const pons_bench_problem *problem;
    float *scale;
    int8_t *zero;
} clip;

static pons_status run_clip(void *user)
{
    const clip *c = user;
    pons_weight_quant grid = pons_bench_grid();
    pons_weight_scales(&grid, PONS_BENCH_BITS, c->problem->rows, c->problem->d, c->problem->W,
                       c->problem->d, c->scale, c->zero);
    return PONS_OK;
}

/* sum |value(code(w)) - w|^2.4 of a row, by powf. */
static double clip_error(int64_t d, const float *w, float scale)
{
    double error = 0;
    for (int64_t j = 0; j < d; j++)
        error += (double)powf(
            fabsf(pons_weight_value(pons_weight_code(PONS_BENCH_BITS, w[j], scale, 0), scale, 0) -
                  w[j]),
            2.4f);
    return error;
}

/* The definition: 80 scales, the first of least error. */
static pons_status run_plain_clip(void *user)
{
    const clip *c = user;
    int64_t d = c->problem->d;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < c->problem->rows; i++) {
        const float *w = c->problem->W + i * d;
        float largest = 1e-5f, half = (float)(1 << (PONS_BENCH_BITS - 1));
        double least = INFINITY;
        for (int64_t j = 0; j < d; j++)
            largest = fmaxf(largest, fabsf(w[j]));
        for (int k = 0; k < 80; k++) {
            float scale = (float)(1.0 - k / 100.0) * largest / (half - 1.0f);
            double error = clip_error(d, w, scale);
            if (error < least) {
                least = error;
                c->scale[i] = scale;
            }
        }
    }
    return PONS_OK;
}

pons_status pons_bench_clip(const pons_bench_setting *s, const pons_bench_layer *layer,
                            int64_t sample_rows, pons_bench_result *out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double seconds, error[2] = {0, 0};
    pons_bench_problem p = {0}, sample = {0};
    pons_bench_result r = pons_bench_result_empty(s, "clip", "search of 80", "fp32");
    float *scale = NULL;
    int8_t *zero = NULL;
    PONS_TRY(st, pons_bench_problem_create(s->comm, layer, &p));
    local = pons_bench_problem_sample(&p, sample_rows, &sample);
    if (local == PONS_OK) {
        scale = pons_mem_calloc(p.rows, sizeof *scale);
        zero = pons_mem_calloc(p.rows, sizeof *zero);
        if (!scale || !zero) local = PONS_ERR_NOMEM;
    }
    PONS_TRY_ALL(st, s->comm, local);
    clip whole = {&p, p.scale, p.zero}, plain = {&sample, scale, zero};
    PONS_TRY(st, pons_bench_time(s, run_clip, &whole, &r.seconds, &r.workspace_bytes));
    r.rows = p.total;
    r.d = p.d;
    r.gflops = 1e-9 * 80.0 * 30.0 * (double)r.rows * (double)r.d / r.seconds;
    PONS_TRY(st, pons_bench_time(s, run_plain_clip, &plain, &seconds, NULL));
    r.baseline =
        baseline(s, "clip search with powf", seconds, (double)sample.rows, (double)r.rows, &r);
    for (int64_t i = 0; i < sample.rows; i++) {
        const float *w = sample.W + i * p.d;
        error[0] += clip_error(p.d, w, p.scale[pons_bench_sample_row(p.rows, sample.rows, i)]);
        error[1] += clip_error(p.d, w, scale[i]);
    }
    pons_comm_sum_f64(s->comm, error, 2);
    r.error_ratio = error[1] > 0 ? error[0] / error[1] : error[0] > 0 ? INFINITY : 1.0;
    PONS_TRY(st, pons_bench_peak(s, false, p.rows, p.d, p.d, &r.peak_gflops));
    r.share_of_peak = r.gflops / r.peak_gflops;
    *out = r;
done:
    pons_mem_free(zero);
    pons_mem_free(scale);
    pons_bench_problem_clear_sample(&sample);
    pons_bench_problem_clear(&p);
    return st;
}

/* ---- GPTQ half */

typedef struct gptq {
    const pons_bench_problem *problem;
    int8_t *codes;
} gptq;

static pons_sweep sweep_of(const gptq *g)
{
    const pons_bench_problem *p = g->problem;
    return (pons_sweep){.rows = p->rows,
                        .d = p->d,
                        .U = p->factor->U,
                        .bits = PONS_BENCH_BITS,
                        .group_size = p->d,
                        .groups = 1,
                        .scale = p->scale,
                        .zero = p->zero};
}

static pons_status run_gptq(void *user)
{
    const gptq *g = user;
    pons_sweep sweep = sweep_of(g);
    return pons_gptq_sweep(&sweep, g->problem->split, g->problem->d, g->problem->W,
                           g->problem->mask, g->codes);
}

/* One row: every column updates all columns after it at once. */
static void round_columns(const pons_bench_problem *p, int64_t i, float *w, int8_t *codes)
{
    int64_t d = p->d;
    float scale = p->scale[i];
    for (int64_t j = p->split; j < d; j++) {
        const float *u = p->factor->U + j * d;
        codes[j] = p->mask[i * d + j] ? pons_weight_code(PONS_BENCH_BITS, w[j], scale, 0) : 0;
        float error = (w[j] - pons_weight_value(codes[j], scale, 0)) / u[j];
        for (int64_t k = j + 1; k < d; k++)
            w[k] -= error * u[k];
    }
}

static pons_status run_columns(void *user)
{
    const gptq *g = user;
    const pons_bench_problem *p = g->problem;
    pons_status st = PONS_OK;
    int64_t d = p->d, threads = omp_get_max_threads();
    float *space = NULL;
    PONS_ALLOC(st, space, threads * d);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < p->rows; i++) {
        float *w = space + omp_get_thread_num() * d;
        memcpy(w, p->W + i * d, (size_t)d * sizeof *w);
        round_columns(p, i, w, g->codes + i * d);
    }
done:
    pons_mem_free(space);
    return st;
}

/* Sum over the rows of the layer error with the left half as it is. */
static pons_status gptq_error(const pons_bench_problem *p, const int8_t *codes, double *error)
{
    pons_status st = PONS_OK;
    float *D = NULL;
    double *form = NULL;
    PONS_CALLOC(st, D, p->rows * p->d);
    PONS_ALLOC(st, form, p->rows);
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t j = p->split; j < p->d; j++)
            D[i * p->d + j] =
                pons_weight_value(codes[i * p->d + j], p->scale[i], 0) - p->W[i * p->d + j];
    PONS_TRY(st, pons_row_form(p->factor, p->rows, D, form));
    *error = 0;
    for (int64_t i = 0; i < p->rows; i++)
        *error += form[i];
done:
    pons_mem_free(form);
    pons_mem_free(D);
    return st;
}

pons_status pons_bench_gptq(const pons_bench_setting *s, const pons_bench_layer *layer,
                            int64_t sample_rows, pons_bench_result *out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double seconds, error[2];
    pons_bench_problem p = {0}, sample = {0};
    pons_bench_result r = pons_bench_result_empty(s, "gptq", "lazy blocks", "fp32");
    int8_t *codes = NULL, *plain_codes = NULL;
    PONS_TRY(st, pons_bench_problem_create(s->comm, layer, &p));
    PONS_TRY_ALL(st, s->comm, pons_bench_problem_factor(layer, &p));
    local = pons_bench_problem_sample(&p, sample_rows, &sample);
    if (local == PONS_OK) {
        codes = pons_mem_calloc(p.rows * p.d, sizeof *codes);
        plain_codes = pons_mem_calloc(sample.rows * p.d, sizeof *plain_codes);
        if (!codes || !plain_codes) local = PONS_ERR_NOMEM;
    }
    PONS_TRY_ALL(st, s->comm, local);
    gptq whole = {&p, codes}, plain = {&sample, plain_codes};
    PONS_TRY(st, pons_bench_time(s, run_gptq, &whole, &r.seconds, &r.workspace_bytes));
    double n = (double)(p.d - p.split);
    r.rows = p.total;
    r.d = p.d;
    r.gflops = 1e-9 * (double)r.rows * n * n / r.seconds;
    PONS_TRY(st, pons_bench_time(s, run_columns, &plain, &seconds, NULL));
    r.baseline =
        baseline(s, "GPTQ column by column", seconds, (double)sample.rows, (double)r.rows, &r);

    local = gptq_error(&sample, plain_codes, &error[1]);
    for (int64_t i = 0; i < sample.rows; i++)
        memcpy(plain_codes + i * p.d, codes + pons_bench_sample_row(p.rows, sample.rows, i) * p.d,
               (size_t)p.d);
    if (local == PONS_OK) local = gptq_error(&sample, plain_codes, &error[0]);
    PONS_TRY_ALL(st, s->comm, local);
    pons_comm_sum_f64(s->comm, error, 2);
    r.error_ratio = error[1] > 0 ? error[0] / error[1] : error[0] > 0 ? INFINITY : 1.0;
    int64_t width = p.d > p.split ? p.d - p.split : 1;
    PONS_TRY(st, pons_bench_peak(s, false, p.rows, width, width, &r.peak_gflops));
    r.share_of_peak = r.gflops / r.peak_gflops;
    *out = r;
done:
    pons_mem_free(plain_codes);
    pons_mem_free(codes);
    pons_bench_problem_clear_sample(&sample);
    pons_bench_problem_clear(&p);
    return st;
}
