/* The masked least-squares solves by their optimality conditions (specification 11.4): the gradient
 * H (v - w) vanishes on what may move, everything else is where it must be. Needs no oracle. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/gemm.h"
#include "obr/dual.h"
#include "support/obr_oracle.h"

/* A coarse grid, so that stage B has something to do. */
static void quantize(void *user, int64_t row, float *value)
{
    const int64_t *split = user;
    (void)row;
    for (int64_t j = 0; j < *split; j++)
        value[j] = rintf(value[j] / 0.03f) * 0.03f;
}

/* max |(H (v - w))_j| over movable j, relative to max |H w|. */
static double gradient(const obr_problem *p, const float *w, const float *v, const uint8_t *mask,
                       int64_t from)
{
    double worst = 0.0, size = 0.0;
    for (int64_t i = 0; i < p->d; i++) {
        double g = 0.0, hw = 0.0;
        for (int64_t j = 0; j < p->d; j++) {
            double h = p->factor->H[i * p->d + j];
            g += h * ((double)v[j] - (double)w[j]);
            hw += h * w[j];
        }
        size = fmax(size, fabs(hw));
        if (mask[i] && i >= from) worst = fmax(worst, fabs(g));
    }
    return worst / size;
}

static void check_direct(int64_t m, int64_t d, int64_t split, double sparsity, double bound)
{
    obr_problem p;
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 77);
    obr_problem_create(31, m, d, 0, &p);
    uint8_t *mask = malloc((size_t)(m * d));
    float *V = malloc((size_t)(m * d) * sizeof *V);
    for (int64_t i = 0; i < m * d; i++)
        mask[i] = pons_mt19937_next(&rng) / 4294967296.0 >= sparsity;
    memset(mask, 1, (size_t)d); /* row 0 keeps all, row 1 nothing */
    if (m > 1) memset(mask + d, 0, (size_t)d);
    pons_solve_panel panel = {"solver", 0, m, d, split, p.W, mask, p.factor, false};
    pons_row_metrics metrics = {0};
    assert_int_equal(pons_solve_direct(&panel, quantize, &split, V, &metrics), PONS_OK);
    for (int64_t i = 0; i < m; i++) {
        const float *v = V + i * d, *w = p.W + i * d;
        for (int64_t j = 0; j < d; j++) {
            if (!mask[i * d + j]) assert_true(v[j] == 0.0f);
            if (j < split) assert_true(v[j] == rintf(v[j] / 0.03f) * 0.03f);
        }
        double g = gradient(&p, w, v, mask + i * d, split);
        assert_true(g < bound);
    }
    free(V);
    free(mask);
    obr_problem_destroy(&p);
}

/* How far a row is from the least (v - w) H (v - w)^T that kept columns >= from allow, as a share of it;
 * in fp64, H as the solvers are given it. */
static double excess(const pons_hessian_factor *f, const float *w, const float *v,
                     const uint8_t *mask, int64_t from)
{
    int64_t d = f->d, n = 0;
    int64_t *free_ones = malloc((size_t)d * sizeof *free_ones);
    double *g = malloc((size_t)d * sizeof *g), *x = malloc((size_t)d * sizeof *x);
    double *A = malloc((size_t)(d * d) * sizeof *A), value = 0.0, gain = 0.0;
    for (int64_t i = 0; i < d; i++) {
        g[i] = 0.0;
        for (int64_t j = 0; j < d; j++)
            g[i] += (double)f->H[i * d + j] * ((double)v[j] - (double)w[j]);
        value += g[i] * ((double)v[i] - (double)w[i]);
        if (mask[i] && i >= from) free_ones[n++] = i;
    }
    for (int64_t a = 0; a < n; a++) {
        x[a] = g[free_ones[a]];
        for (int64_t b = 0; b < n; b++)
            A[a * n + b] = f->H[free_ones[a] * d + free_ones[b]];
    }
    obr_oracle_solve(n, A, x);
    for (int64_t a = 0; a < n; a++)
        gain += g[free_ones[a]] * x[a];
    free(A);
    free(x);
    free(g);
    free(free_ones);
    return value - gain > 0.0 ? gain / (value - gain) : 0.0;
}

typedef pons_status solve_rows(const pons_dual *dual, const pons_solve_panel *panel,
                               pons_quantize_left quantize, void *user, float *V,
                               pons_row_metrics *metrics);

/* Every row within the tolerance of its optimum, zeros and grid exact; all rows counted. */
static pons_row_metrics check_rows(solve_rows *solve, const pons_hessian_factor *factor, int64_t m,
                                   const float *W, int64_t split, double sparsity, bool bf16,
                                   double tolerance)
{
    int64_t d = factor->d, counted = 0;
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 99);
    uint8_t *mask = malloc((size_t)(m * d));
    float *V = malloc((size_t)(m * d) * sizeof *V);
    for (int64_t i = 0; i < m * d; i++)
        mask[i] = pons_mt19937_next(&rng) / 4294967296.0 >= sparsity;
    memset(mask, 1, (size_t)d); /* row 0 keeps all, row 1 nothing */
    if (m > 1) memset(mask + d, 0, (size_t)d);
    pons_solve_panel panel = {"rows", 0, m, d, split, W, mask, factor, false};
    pons_row_metrics metrics = {0};
    pons_dual *dual = NULL;
    assert_int_equal(pons_dual_create(factor, split, bf16, false, tolerance, &dual), PONS_OK);
    assert_int_equal(solve(dual, &panel, quantize, &split, V, &metrics), PONS_OK);
    for (int64_t i = 0; i < m; i++) {
        const float *v = V + i * d, *w = W + i * d;
        for (int64_t j = 0; j < d; j++) {
            if (!mask[i * d + j]) assert_true(v[j] == 0.0f);
            if (j < split) assert_true(v[j] == rintf(v[j] / 0.03f) * 0.03f);
        }
        double e = excess(factor, w, v, mask + i * d, split);
        /* the lower bound is K's in bf16, whose rounding averages out with the width */
        bool rounded = bf16 && tolerance > 1e-3 && solve == pons_dual_solve;
        double bound = 1.1 * tolerance + (rounded ? 1e-3 : 0.0);
        if (i == 0) bound += 1e-2; /* nothing pruned: a formula in fp32, for both solvers */
        if (!(e <= bound)) printf("row %d: excess %g\n", (int)i, e);
        assert_true(e <= bound && e > -1e-6);
    }
    int64_t same = 0; /* rows that fall back are the direct solver's to the bit */
    float *exact = malloc((size_t)(m * d) * sizeof *exact);
    assert_int_equal(pons_solve_direct(&panel, quantize, &split, exact, NULL), PONS_OK);
    for (int64_t i = 0; i < m; i++)
        same += memcmp(V + i * d, exact + i * d, (size_t)d * sizeof *V) == 0;
    assert_true(same >= metrics.fallbacks);
    free(exact);
    for (int k = 0; k < PONS_ITERATION_BINS; k++)
        counted += metrics.rows_by_iterations[k];
    assert_int_equal(counted, m);
    pons_dual_destroy(&dual);
    free(V);
    free(mask);
    return metrics;
}

static void check_shapes(solve_rows *solve)
{
    static const struct {
        int64_t m, d, split;
        double sparsity;
    } cases[] = {{12, 90, 0, 0.5},    {12, 90, 45, 0.5},   {12, 90, 90, 0.5}, {70, 300, 75, 0.3},
                 {200, 130, 65, 0.1}, {12, 130, 65, 0.97}, {1, 5, 2, 0.5},    {1, 1, 0, 0.5},
                 {5, 17, 16, 0.5},    {3, 600, 310, 0.6}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int bf16 = 0; bf16 <= pons_kern_has_bf16(); bf16++)
            for (int fine = 0; fine < 2; fine++) {
                obr_problem p;
                obr_problem_create(31, cases[k].m, cases[k].d, 0, &p);
                check_rows(solve, p.factor, cases[k].m, p.W, cases[k].split, cases[k].sparsity,
                           bf16, fine ? 1e-5 : 2e-3);
                obr_problem_destroy(&p);
            }
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void dual(void **state)
{
    (void)state;
    check_shapes(pons_dual_solve);
}

static void primal(void **state)
{
    (void)state;
    check_shapes(pons_primal_solve);
}

/* H = sum of lambda_k q_k q_k^T, q_k from `turns` random Householder reflections. */
static pons_hessian_factor *with_spectrum(int64_t d, const double *lambda, double damping)
{
    enum { TURNS = 5 };
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 12);
    double *H = calloc((size_t)(d * d), sizeof *H), *v = malloc((size_t)d * sizeof *v);
    double *norm = calloc((size_t)d, sizeof *norm), *Hv = malloc((size_t)d * sizeof *Hv);
    for (int64_t i = 0; i < d; i++)
        H[i * d + i] = lambda[i];
    for (int t = 0; t < TURNS; t++) { /* H <- (I - 2 v v^T) H (I - 2 v v^T) */
        double size = 0.0, vHv = 0.0;
        for (int64_t i = 0; i < d; i++) {
            v[i] = pons_mt19937_next(&rng) / 4294967296.0 - 0.5;
            size += v[i] * v[i];
        }
        for (int64_t i = 0; i < d; i++)
            v[i] /= sqrt(size);
        for (int64_t i = 0; i < d; i++) {
            Hv[i] = 0.0;
            for (int64_t j = 0; j < d; j++)
                Hv[i] += H[i * d + j] * v[j];
            vHv += v[i] * Hv[i];
        }
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < d; j++)
                H[i * d + j] += 4.0 * vHv * v[i] * v[j] - 2.0 * (v[i] * Hv[j] + Hv[i] * v[j]);
    }
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < i; j++)
            H[j * d + i] = H[i * d + j];
    pons_hessian_factor *factor = NULL;
    int64_t info = 0;
    assert_int_equal(pons_hessian_factor_create(d, H, norm, damping, &info, &factor), PONS_OK);
    assert_int_equal(info, 0);
    free(Hv);
    free(norm);
    free(v);
    free(H);
    return factor;
}

/* Spectra that are hard on conjugate gradients or on precision: the answer is within the tolerance
 * whatever it takes. */
static void check_hostile(solve_rows *solve)
{
    enum { M = 24, D = 200 };
    int64_t some = 0; /* times that some rows fell back (primal: were refined) and others not */
    double lambda[6][D];
    for (int i = 0; i < D; i++) {
        lambda[0][i] = i < D / 4 ? 1.0 : 0.0;         /* fewer tokens than columns */
        lambda[1][i] = pow(10.0, -7.0 * i / (D - 1)); /* condition 1e7 */
        lambda[2][i] = i == 0 ? 1e6 : 1.0;            /* one outlier */
        lambda[3][i] = 1.0;                           /* all equal */
        lambda[4][i] = i < D / 2 ? 1.0 : 0.0;
        lambda[5][i] = i == 0 ? 1e3 : pow(1.0 + i, -1.5);
    }
    static const double damping[] = {0.01, 1e-9, 1e-9, 0.0, 0.01, 1e-5};
    float *W = malloc(M * D * sizeof *W);
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 3);
    for (int i = 0; i < M * D; i++)
        W[i] = (float)(pons_mt19937_next(&rng) / 4294967296.0 - 0.5);
    printf("%-9s %-8s %-5s %10s %8s %9s\n", "spectrum", "sparsity", "", "iterations", "refined",
           "fallbacks");
    for (int k = 0; k < 6; k++) {
        pons_hessian_factor *factor = with_spectrum(D, lambda[k], damping[k]);
        for (int bf16 = 0; bf16 <= pons_kern_has_bf16(); bf16++)
            for (int s = 0; s < 2; s++) {
                bool in_dual = solve == pons_dual_solve;
                double sparsity = in_dual ? (s ? 0.8 : 0.5) : (s ? 0.95 : 0.85);
                pons_row_metrics m = check_rows(solve, factor, M, W, D / 2, sparsity, bf16, 2e-3);
                printf("%-9d %-8.1f %-5s %10d %8d %9d\n", k, sparsity, bf16 ? "bf16" : "fp32",
                       (int)m.iterations, (int)m.refined, (int)m.fallbacks);
                some += m.fallbacks > 0 && m.fallbacks < M / 2;
                if (k == 3) assert_true(m.iterations <= 4 * M && m.fallbacks == 0);
                if (k % 4 == 0 && !in_dual) some += m.fallbacks == 0 && m.refined > 0;
            }
        pons_hessian_factor_destroy(&factor);
    }
    assert_true(some > 0);
    free(W);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void hostile(void **state)
{
    (void)state;
    check_hostile(pons_dual_solve);
}

static void hostile_primal(void **state)
{
    (void)state;
    check_hostile(pons_primal_solve);
}

/* A tolerance below what fp32 can tell: every row is the direct solver's to the bit, and counted. */
static void fallback(void **state)
{
    (void)state;
    enum { M = 70, D = 60, SPLIT = 30 };
    obr_problem p;
    obr_problem_create(5, M, D, 0, &p);
    float *V[2];
    uint8_t *mask = malloc(M * D);
    for (int i = 0; i < M * D; i++)
        mask[i] = i % 7 % 2;
    int64_t split = SPLIT;
    pons_solve_panel panel = {"fallback", 0, M, D, SPLIT, p.W, mask, p.factor, false};
    pons_row_metrics metrics = {0};
    pons_dual *dual = NULL;
    V[0] = malloc(M * D * sizeof **V);
    V[1] = malloc(M * D * sizeof **V);
    assert_int_equal(pons_dual_create(p.factor, SPLIT, false, false, 1e-14, &dual), PONS_OK);
    assert_int_equal(pons_solve_direct(&panel, quantize, &split, V[0], NULL), PONS_OK);
    assert_int_equal(pons_dual_solve(dual, &panel, quantize, &split, V[1], &metrics), PONS_OK);
    assert_int_equal(metrics.fallbacks, M);
    assert_memory_equal(V[0], V[1], M * D * sizeof **V);
    pons_dual_destroy(&dual);
    free(V[1]);
    free(V[0]);
    free(mask);
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void direct(void **state)
{
    (void)state;
    check_direct(12, 90, 0, 0.5, 1e-5); /* stage A alone */
    check_direct(12, 90, 45, 0.5, 1e-5);
    check_direct(12, 90, 90, 0.5, 1e-5);
    check_direct(12, 130, 33, 0.8, 1e-5);
    check_direct(12, 130, 65, 0.1, 1e-5);
    check_direct(1, 5, 2, 0.5, 1e-5);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(direct),  cmocka_unit_test(dual),           cmocka_unit_test(primal),
        cmocka_unit_test(hostile), cmocka_unit_test(hostile_primal), cmocka_unit_test(fallback)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
