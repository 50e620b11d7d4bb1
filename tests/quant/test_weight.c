/* Weight grids: the clip search against a plain one in fp64, codes against the definition
 * (specification 4.1, 11.8). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mt19937.h"
#include "kern/power.h"
#include "quant/weight.h"

static pons_mt19937 rng;

static float uniform(void) { return (float)(pons_mt19937_next(&rng) >> 8) / 0x1p24f; }

/* Roughly normal, with a rare outlier. */
static float weight(void)
{
    float sum = -6.0f;
    for (int i = 0; i < 12; i++)
        sum += uniform();
    return sum * (uniform() < 0.01f ? 0.2f : 0.03f);
}

static void power(void **state)
{
    (void)state;
    double worst = 0.0;
    for (double e = -17.0; e < 14.0; e += 0.0003) {
        float x = (float)pow(10.0, e);
        double exact = pow((double)x, 2.4);
        if (exact > 1e38 || exact < 1e-37) continue;
        double error = fabs((double)pons_power_2_4(e < 0 ? -x : x) / exact - 1.0);
        worst = error > worst ? error : worst;
    }
    assert_true(worst < 1e-6);
    assert_true(pons_power_2_4(0.0f) == 0.0f);
}

/* The reference's search, as it is written down: every candidate, powf's exponent in fp64. */
static double plain_error(bool symmetric, int bits, int64_t n, const float *w, double P,
                          double *scale, double *zero)
{
    double low = 0.0, high = 0.0, sum = 0.0;
    for (int64_t j = 0; j < n; j++) {
        low = fmin(low, w[j]);
        high = fmax(high, w[j]);
    }
    double first, last;
    if (symmetric) {
        last = pow(2, bits - 1) - 1;
        first = -last - 1;
        *scale = P * fmax(fmax(-low, high), 1e-5) / last;
        *zero = 0;
    } else {
        if (low == 0 && high == 0) low = -1, high = 1;
        first = 0;
        last = pow(2, bits) - 1;
        *scale = fmax(P * (high - low), 1e-5) / last;
        *zero = rint(-P * low / *scale);
    }
    for (int64_t j = 0; j < n; j++) {
        double q = fmin(fmax(rint(w[j] / *scale) + *zero, first), last);
        sum += pow(fabs(*scale * (q - *zero) - w[j]), 2.4);
    }
    return sum;
}

static void check_scales(bool symmetric, int bits, int64_t group_size, int64_t rows, int64_t d)
{
    pons_weight_quant quant = {bits, symmetric, group_size, true, 0};
    int64_t size = pons_weight_group_size(&quant, d), groups = pons_weight_groups(&quant, d);
    assert_int_equal(size, group_size && group_size < d ? group_size : d);
    assert_true((groups - 1) * size < d && groups * size >= d);
    int64_t ld = d + 3;
    float *W = malloc((size_t)(rows * ld) * sizeof *W),
          *scale = malloc((size_t)(rows * groups) * sizeof *scale);
    int8_t *zero = malloc((size_t)(rows * groups));
    for (int64_t i = 0; i < rows * ld; i++)
        W[i] = weight();
    pons_weight_scales(&quant, bits, rows, d, W, ld, scale, zero);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t g = 0; g < groups; g++) {
            const float *w = W + i * ld + g * size;
            int64_t n = d - g * size < size ? d - g * size : size;
            double best = INFINITY, best_scale = 0, best_zero = 0, s, z, chosen = INFINITY,
                   plain = 0;
            for (int k = 0; k < 80; k++) {
                double error = plain_error(symmetric, bits, n, w, 1 - k / 100.0, &s, &z);
                if (k == 0) plain = error;
                if (error < best) best = error, best_scale = s, best_zero = z;
                if (fabs(s - scale[i * groups + g]) < 1e-6 * s) chosen = error;
            }
            /* The same candidate, unless two are equally good to fp32. */
            assert_true(chosen <= best * (1 + 1e-5) && chosen <= plain);
            if (fabs(best_scale - scale[i * groups + g]) < 1e-6 * best_scale)
                assert_int_equal(zero[i * groups + g],
                                 symmetric ? 0 : (int)best_zero - (1 << (bits - 1)));
        }
    free(zero);
    free(scale);
    free(W);
}

static void scales(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 8; bits++)
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            check_scales(symmetric, bits, 0, 4, 300);
            check_scales(symmetric, bits, 32, 3, 100);
            check_scales(symmetric, bits, 128, 2, 64);
            check_scales(symmetric, bits, 0, 2, 1);
        }
}

static void plain_scale(void **state)
{
    (void)state;
    const float W[] = {0.5f, -0.7f, 0.0f, 0.1f, 0.0f, 0.0f, 0.0f, 0.0f};
    float scale[2];
    int8_t zero[2], codes[8];
    pons_weight_quant quant = {4, true, 0, false, 0};
    pons_weight_scales(&quant, 4, 2, 4, W, 4, scale, zero);
    assert_true(scale[0] == 0.7f / 7.0f && zero[0] == 0);
    assert_true(scale[1] == 1e-5f / 7.0f);
    quant.symmetric = false;
    pons_weight_scales(&quant, 4, 2, 4, W, 4, scale, zero);
    assert_true(fabsf(scale[0] - 1.2f / 15.0f) < 1e-7f);
    assert_int_equal(zero[0], 9 - 8); /* round(0.7 / 0.08) = 9 of 0..15 */
    assert_true(fabsf(scale[1] - 2.0f / 15.0f) < 1e-7f);
    pons_weight_round(&quant, 4, 2, 4, W, 4, scale, zero, codes);
    float back[8];
    pons_weight_dequantize(0, 2, 4, codes, scale, zero, back);
    for (int j = 0; j < 8; j++) {
        if (W[j] == 0.0f) assert_true(back[j] == 0.0f && codes[j] == zero[j / 4]);
        assert_true(fabsf(back[j] - W[j]) <= 0.5001f * scale[j / 4]);
    }
}

static void rounding(void **state)
{
    (void)state;
    /* half to even, and the clamp */
    assert_int_equal(pons_weight_code(4, 0.5f, 1.0f, 0), 0);
    assert_int_equal(pons_weight_code(4, 1.5f, 1.0f, 0), 2);
    assert_int_equal(pons_weight_code(4, -2.5f, 1.0f, 0), -2);
    assert_int_equal(pons_weight_code(4, 100.0f, 1.0f, 0), 7);
    assert_int_equal(pons_weight_code(4, -100.0f, 1.0f, 0), -8);
    assert_int_equal(pons_weight_code(8, 200.0f, 1.0f, -100), 100);
    assert_int_equal(pons_weight_code(8, -1e30f, 1.0f, 5), -128);
    assert_int_equal(pons_weight_code(2, 5.0f, 1.0f, 1), 1);
    assert_int_equal(pons_weight_code(3, 0.0f, 0.1f, -3), -3);
}

int main(void)
{
    pons_mt19937_seed(&rng, 4);
    const struct CMUnitTest tests[] = {cmocka_unit_test(power), cmocka_unit_test(scales),
                                       cmocka_unit_test(plain_scale), cmocka_unit_test(rounding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
