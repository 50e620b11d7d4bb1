/* The allocation against exhaustive search, its total, and what it does with equals. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "prune/allocate.h"

static const double at[PONS_ALLOCATE_POINTS] = {0.3, 0.4, 0.5, 0.6, 0.7};

/* Damage a exp(b s): what the interpolation reproduces exactly. */
static pons_allocate_item item(int64_t weights, double a, double b)
{
    pons_allocate_item i = {.weights = weights};
    for (int k = 0; k < PONS_ALLOCATE_POINTS; k++)
        i.damage[k] = a * exp(b * at[k]);
    return i;
}

static double total_of(int64_t n, const pons_allocate_item *items, const double *s)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += s[i] * (double)items[i].weights;
    return sum;
}

/* Three items, every pair of sparsities on a fine lattice, the third from the total. */
static void exhaustive(void **state)
{
    (void)state;
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 3);
    for (int trial = 0; trial < 20; trial++) {
        double a[3], b[3], s[3], best = INFINITY, found = 0;
        pons_allocate_item items[3];
        for (int i = 0; i < 3; i++) {
            a[i] = 0.1 + pons_mt19937_next(&rng) / 4294967296.0;
            b[i] = 2 + 6 * (pons_mt19937_next(&rng) / 4294967296.0);
            items[i] = item(100 * (1 + i), a[i], b[i]);
        }
        double total = 0.5 * 600;
        assert_int_equal(pons_allocate(3, items, at, total, s), PONS_OK);
        assert_true(fabs(total_of(3, items, s) - total) < 1e-9 * total);
        for (int i = 0; i < 3; i++) {
            assert_true(s[i] >= 0.3 && s[i] <= 0.7 + 1e-12);
            found += a[i] * exp(b[i] * s[i]);
        }
        for (int p = 0; p <= 400; p++)
            for (int q = 0; q <= 400; q++) {
                double x = 0.3 + 0.001 * p, y = 0.3 + 0.001 * q;
                double z = (total - 100 * x - 200 * y) / 300;
                if (z < 0.3 || z > 0.7) continue;
                best =
                    fmin(best, a[0] * exp(b[0] * x) + a[1] * exp(b[1] * y) + a[2] * exp(b[2] * z));
            }
        /* a chord over 1/80 lies (8 / 80)^2 / 8 above exp(8 s) */
        assert_true(found <= best * (1 + 1.25e-3));
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void shapes(void **state)
{
    (void)state;
    double s[4];
    /* Equals share alike but for one segment; a free one is pruned first, a costly one last. */
    pons_allocate_item equal[4] = {item(10, 1, 4), item(10, 1, 4), item(10, 1, 4), item(10, 1, 4)};
    assert_int_equal(pons_allocate(4, equal, at, 20, s), PONS_OK);
    for (int i = 0; i < 4; i++)
        assert_true(fabs(s[i] - 0.5) <= 0.0125 + 1e-12);
    pons_allocate_item odd[3] = {item(10, 100, 4), item(10, 0, 0), item(10, 1, 4)};
    assert_int_equal(pons_allocate(3, odd, at, 15, s), PONS_OK);
    assert_true(s[0] < s[2] && s[2] < s[1] && fabs(s[1] - 0.7) < 1e-12);
    /* A dent in a curve is bridged: the total is still met. */
    pons_allocate_item dent[2] = {item(10, 1, 4), item(10, 1, 4)};
    dent[0].damage[2] = dent[0].damage[3] * 1.1;
    assert_int_equal(pons_allocate(2, dent, at, 10, s), PONS_OK);
    assert_true(fabs(s[0] + s[1] - 1) < 1e-12);
    /* The ends. */
    assert_int_equal(pons_allocate(2, dent, at, 6, s), PONS_OK);
    assert_true(fabs(s[0] - 0.3) < 1e-12 && fabs(s[1] - 0.3) < 1e-12);
    assert_int_equal(pons_allocate(2, dent, at, 14, s), PONS_OK);
    assert_true(fabs(s[0] - 0.7) < 1e-9 && fabs(s[1] - 0.7) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exhaustive), cmocka_unit_test(shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
