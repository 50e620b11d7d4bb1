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

/* One width, kept weights counted: totals are those of pruned weights turned round. */
static const pons_allocate_grid pruning = {.first = 0.3, .last = 0.7, .widths = 1, .bits = {1}};

static double at(const pons_allocate_grid *grid, int k)
{
    return grid->first + (grid->last - grid->first) * k / (PONS_ALLOCATE_POINTS - 1);
}

static double uniform(pons_mt19937 *rng) { return pons_mt19937_next(rng) / 4294967296.0; }

/* Damage a exp(b s): what the interpolation reproduces exactly. */
static pons_allocate_item item(int64_t weights, double a, double b)
{
    pons_allocate_item i = {.weights = weights};
    for (int k = 0; k < PONS_ALLOCATE_POINTS; k++)
        i.damage[0][k] = a * exp(b * at(&pruning, k));
    return i;
}

static double held(int64_t n, const pons_allocate_item *items, const pons_allocate_choice *c)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (1 - c[i].sparsity) * c[i].bits * (double)items[i].weights;
    return sum;
}

/* Three items, every pair of sparsities on a fine lattice, the third from the total. */
static void exhaustive(void **state)
{
    (void)state;
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 3);
    for (int trial = 0; trial < 20; trial++) {
        double a[3], b[3], best = INFINITY, found = 0;
        pons_allocate_item items[3];
        pons_allocate_choice c[3];
        for (int i = 0; i < 3; i++) {
            a[i] = 0.1 + uniform(&rng);
            b[i] = 2 + 6 * uniform(&rng);
            items[i] = item(100 * (1 + i), a[i], b[i]);
        }
        double total = 0.5 * 600;
        assert_int_equal(pons_allocate(3, items, &pruning, total, c), PONS_OK);
        assert_true(fabs(held(3, items, c) - total) < 1e-9 * total);
        for (int i = 0; i < 3; i++) {
            double s = c[i].sparsity;
            assert_true(s >= 0.3 && s <= 0.7 + 1e-12);
            assert_int_equal(c[i].bits, 1);
            found += a[i] * exp(b[i] * s);
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
    pons_allocate_choice c[4];
    /* Equals share alike but for one segment; a free one is pruned first, a costly one last. */
    pons_allocate_item equal[4] = {item(10, 1, 4), item(10, 1, 4), item(10, 1, 4), item(10, 1, 4)};
    assert_int_equal(pons_allocate(4, equal, &pruning, 20, c), PONS_OK);
    for (int i = 0; i < 4; i++)
        assert_true(fabs(c[i].sparsity - 0.5) <= 0.0125 + 1e-12);
    pons_allocate_item odd[3] = {item(10, 100, 4), item(10, 0, 0), item(10, 1, 4)};
    assert_int_equal(pons_allocate(3, odd, &pruning, 15, c), PONS_OK);
    assert_true(c[0].sparsity < c[2].sparsity && c[2].sparsity < c[1].sparsity);
    assert_true(fabs(c[1].sparsity - 0.7) < 1e-12);
    /* A dent in a curve is bridged: the total is still met. */
    pons_allocate_item dent[2] = {item(10, 1, 4), item(10, 1, 4)};
    dent[0].damage[0][1] = dent[0].damage[0][2] * 1.1;
    assert_int_equal(pons_allocate(2, dent, &pruning, 10, c), PONS_OK);
    assert_true(fabs(c[0].sparsity + c[1].sparsity - 1) < 1e-12);
    /* The ends. */
    assert_int_equal(pons_allocate(2, dent, &pruning, 14, c), PONS_OK);
    assert_true(fabs(c[0].sparsity - 0.3) < 1e-12 && fabs(c[1].sparsity - 0.3) < 1e-12);
    assert_int_equal(pons_allocate(2, dent, &pruning, 6, c), PONS_OK);
    assert_true(fabs(c[0].sparsity - 0.7) < 1e-9 && fabs(c[1].sparsity - 0.7) < 1e-9);
}

/* ---- Bits. Sparsities of 0.3 to 0.7 in steps of 1/80 and whole bits hold whole eightieths. */

enum { ITEMS = 24, STEPS = 33, UNITS = 16000 };
static const pons_allocate_grid wide = {.first = 0.3, .last = 0.7, .widths = 3, .bits = {3, 4, 8}};

/* Pruning and rounding each do their part: a exp(b s) + r 4^-bits. */
static double part(double a, double b, double r, double s, int bits)
{
    return a * exp(b * s) + r * pow(4, -bits);
}

/* The least damage of all choices that hold at most so many eightieths, by dynamic programming over them;
 * nothing of Lagrange in it. */
static double least(int units, const int64_t *weights, double damage[ITEMS][3][STEPS])
{
    static double best[ITEMS + 1][UNITS + 1];
    memset(best[0], 0, sizeof best[0]);
    for (int i = 0; i < ITEMS; i++)
        for (int u = 0; u <= units; u++) {
            double low = INFINITY;
            for (int w = 0; w < 3; w++)
                for (int k = 0; k < STEPS; k++) {
                    int64_t need = weights[i] * (56 - k) * wide.bits[w];
                    if (need <= u) low = fmin(low, best[i][u - need] + damage[i][w][k]);
                }
            best[i + 1][u] = low;
        }
    return best[ITEMS][units];
}

static void widths(void **state)
{
    (void)state;
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 5);
    int seen[9] = {0};
    for (int trial = 0; trial < 10; trial++) {
        pons_allocate_item items[ITEMS];
        pons_allocate_choice c[ITEMS];
        int64_t weights[ITEMS], sum = 0;
        double damage[ITEMS][3][STEPS], a[ITEMS], b[ITEMS], r[ITEMS], found = 0;
        for (int i = 0; i < ITEMS; i++) {
            sum += items[i].weights = weights[i] = 1 + (int64_t)(3 * uniform(&rng));
            a[i] = exp(4 * uniform(&rng));
            b[i] = 2 + 6 * uniform(&rng);
            r[i] = exp(12 * uniform(&rng));
            for (int w = 0; w < 3; w++) {
                double y[3];
                for (int k = 0; k < 3; k++)
                    y[k] = items[i].damage[w][k] =
                        part(a[i], b[i], r[i], at(&wide, k), wide.bits[w]);
                for (int k = 0; k < STEPS; k++) { /* the parabola through three logarithms */
                    double x = k / 16.0 - 1;
                    double log0 = log(y[0]), log1 = log(y[1]), log2 = log(y[2]);
                    damage[i][w][k] =
                        exp(log0 * x * (x - 1) / 2 + log1 * (1 - x * x) + log2 * x * (x + 1) / 2);
                }
            }
        }
        double total = 0.5 * 4 * (double)sum;
        assert_int_equal(pons_allocate(ITEMS, items, &wide, total, c), PONS_OK);
        assert_true(held(ITEMS, items, c) <= total * (1 + 1e-12));
        for (int i = 0; i < ITEMS; i++) {
            int w = c[i].bits == 3 ? 0 : c[i].bits == 4 ? 1 : 2;
            assert_int_equal(c[i].bits, wide.bits[w]);
            assert_true(c[i].sparsity >= 0.3 && c[i].sparsity <= 0.7 + 1e-12);
            double place = (c[i].sparsity - 0.3) * 80; /* only the last one taken is between */
            int k = (int)fmin(place + 1e-6, STEPS - 2);
            found += damage[i][w][k] + (place - k) * (damage[i][w][k + 1] - damage[i][w][k]);
            seen[c[i].bits]++;
        }
        double best = least((int)(80 * total + 0.5), weights, damage);
        assert_true(found >= best * (1 - 0.001)); /* between steps it may be a little better */
        assert_true(found <= best * 1.05);        /* the last item taken may be off its hull */
    }
    assert_true(seen[3] > 0 && seen[4] > 0 && seen[8] > 0);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exhaustive), cmocka_unit_test(shapes),
                                       cmocka_unit_test(widths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
