/* The masked least-squares solves by their optimality conditions (specification 11.4): the gradient
 * H (v - w) vanishes on what may move, everything else is where it must be. Needs no oracle. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "obr/solver.h"
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

typedef pons_status solver(const pons_solve_panel *, pons_quantize_left, void *, float *,
                           pons_row_metrics *);

static void check(solver *solve, int64_t m, int64_t d, int64_t split, double sparsity, double bound)
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
    assert_int_equal(solve(&panel, quantize, &split, V, &metrics), PONS_OK);
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

static void dual(void **state)
{
    (void)state;
    check(pons_solve_dual, 12, 90, 0, 0.5, 1e-3);
    check(pons_solve_dual, 12, 90, 45, 0.5, 1e-3);
    check(pons_solve_dual, 12, 90, 90, 0.5, 1e-3);
    check(pons_solve_dual, 70, 300, 75, 0.3, 1e-3);
    check(pons_solve_dual, 200, 130, 65, 0.1, 1e-3);
    check(pons_solve_dual, 12, 130, 65, 0.97, 1e-3);
    check(pons_solve_dual, 1, 5, 2, 0.5, 1e-3);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Nearly singular H and few kept columns: the iterations do not get there, such rows are the direct
 * solver's to the bit, and counted. */
static void fallback(void **state)
{
    (void)state;
    enum { M = 20, D = 160, SPLIT = 80 };
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 5);
    double *H = calloc(D * D, sizeof *H), norm[D] = {0}, x[D];
    float *W = malloc(M * D * sizeof *W), *V[2];
    uint8_t *mask = malloc(M * D);
    for (int t = 0; t < D / 2; t++) {
        for (int j = 0; j < D; j++)
            x[j] = pons_mt19937_next(&rng) / 4294967296.0 - 0.5;
        for (int i = 0; i < D * D; i++)
            H[i] += x[i / D] * x[i % D];
    }
    for (int i = 0; i < M * D; i++) {
        W[i] = (float)(pons_mt19937_next(&rng) / 4294967296.0 - 0.5);
        mask[i] = pons_mt19937_next(&rng) % 8 == 0;
    }
    pons_hessian_factor *factor = NULL;
    int64_t info = 0, split = SPLIT, same = 0;
    assert_int_equal(pons_hessian_factor_create(D, H, norm, 1e-4, &info, &factor), PONS_OK);
    assert_int_equal(info, 0);
    pons_solve_panel panel = {"fallback", 0, M, D, SPLIT, W, mask, factor, false};
    pons_row_metrics metrics = {0};
    for (int k = 0; k < 2; k++) {
        V[k] = malloc(M * D * sizeof **V);
        solver *solve = k ? pons_solve_dual : pons_solve_direct;
        assert_int_equal(solve(&panel, quantize, &split, V[k], &metrics), PONS_OK);
    }
    for (int i = 0; i < M; i++)
        same += memcmp(V[0] + i * D, V[1] + i * D, D * sizeof **V) == 0;
    assert_true(metrics.fallbacks > 0 && metrics.iterations > 0);
    assert_true(same >= metrics.fallbacks);
    pons_hessian_factor_destroy(&factor);
    free(V[1]);
    free(V[0]);
    free(mask);
    free(W);
    free(H);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void direct(void **state)
{
    (void)state;
    check(pons_solve_direct, 12, 90, 0, 0.5, 1e-5); /* stage A alone */
    check(pons_solve_direct, 12, 90, 45, 0.5, 1e-5);
    check(pons_solve_direct, 12, 90, 90, 0.5, 1e-5);
    check(pons_solve_direct, 12, 130, 33, 0.8, 1e-5);
    check(pons_solve_direct, 12, 130, 65, 0.1, 1e-5);
    check(pons_solve_direct, 1, 5, 2, 0.5, 1e-5);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(direct), cmocka_unit_test(dual),
                                       cmocka_unit_test(fallback)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
