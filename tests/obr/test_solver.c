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

static void check(int64_t m, int64_t d, int64_t split, double sparsity, double bound)
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

static void direct(void **state)
{
    (void)state;
    check(12, 90, 0, 0.5, 1e-5); /* stage A alone */
    check(12, 90, 45, 0.5, 1e-5);
    check(12, 90, 90, 0.5, 1e-5);
    check(12, 130, 33, 0.8, 1e-5);
    check(12, 130, 65, 0.1, 1e-5);
    check(1, 5, 2, 0.5, 1e-5);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(direct)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
