/* The smooth range: between the range and the range plus 2 log(d) / b, and its gradient against
 * differences of itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mt19937.h"
#include "kern/range.h"

enum { ROWS = 5, D = 37 };

static void draw(float *x, int64_t n, uint32_t seed)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, seed);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)((double)pons_mt19937_next(&rng) / 4294967296.0 * 4 - 2);
    x[3] = 9.0f; /* an outlier, as the vectors that this is for have them */
}

/* The same in fp64, from the definition. */
static double squared_range(int64_t d, double b, const double *y)
{
    double above = 0, below = 0;
    for (int64_t j = 0; j < d; j++) {
        above += exp(b * y[j]);
        below += exp(-b * y[j]);
    }
    return pow((log(above) + log(below)) / b, 2);
}

static void value_is_that_of_the_definition(void **state)
{
    (void)state;
    float Y[ROWS * D], S[ROWS * D];
    double value[ROWS], hard[ROWS];
    draw(Y, ROWS * D, 1);
    pons_smooth_range(ROWS, D, 6, Y, S, value);
    pons_square_range(ROWS, D, Y, hard);
    for (int r = 0; r < ROWS; r++) {
        double y[D], low = INFINITY, high = -INFINITY;
        for (int j = 0; j < D; j++) {
            y[j] = (double)Y[r * D + j];
            low = fmin(low, y[j]);
            high = fmax(high, y[j]);
        }
        double range = sqrt(value[r]);
        assert_true(fabs(value[r] - squared_range(D, 6, y)) < 1e-5 * value[r]);
        assert_true(fabs(sqrt(hard[r]) - (high - low)) < 1e-6);
        assert_true(range >= high - low && range <= high - low + 2 * log(D) / 6);
    }
}

static void gradient_is_that_of_differences(void **state)
{
    (void)state;
    const double h = 1e-4;
    float Y[ROWS * D], S[ROWS * D];
    double value[ROWS];
    draw(Y, ROWS * D, 2);
    pons_smooth_range(ROWS, D, 6, Y, S, value);
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < D; j++) {
            double y[D];
            for (int i = 0; i < D; i++)
                y[i] = (double)Y[r * D + i];
            y[j] += h;
            double up = squared_range(D, 6, y);
            y[j] -= 2 * h;
            double slope = (up - squared_range(D, 6, y)) / (2 * h);
            assert_true(fabs(slope - (double)S[r * D + j]) < 1e-4 * (1 + fabs(slope)));
        }
}

static void a_shift_changes_nothing(void **state)
{
    (void)state;
    float Y[D], Z[D], S[D], T[D];
    double value, shifted, sum = 0;
    draw(Y, D, 3);
    for (int j = 0; j < D; j++)
        Z[j] = Y[j] + 64;
    pons_smooth_range(1, D, 6, Y, S, &value);
    pons_smooth_range(1, D, 6, Z, T, &shifted);
    assert_true(fabs(value - shifted) < 1e-4 * value);
    for (int j = 0; j < D; j++)
        sum += (double)S[j];
    assert_true(fabs(sum) < 1e-4); /* so the gradient has no part along ones */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_is_that_of_the_definition),
        cmocka_unit_test(gradient_is_that_of_differences),
        cmocka_unit_test(a_shift_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
