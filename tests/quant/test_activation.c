/* Activation quantizer: against a search over the whole grid in fp64, the cases of specification
 * 4.2 and 4.3, and the edges (zero, constant, tiny, NaN). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <omp.h>

#include "base/mt19937.h"
#include "quant/activation.h"

static float uniform(pons_mt19937 *rng, float low, float high)
{
    return low + (high - low) * ((float)pons_mt19937_next(rng) / 4294967296.0f);
}

/*
 * The grid itself as a set of fp64 numbers, from the definition; each input must have become a
 * nearest member (two when it lies within fp32 error of a midpoint).
 */
static void check_group(int bits, bool symmetric, double clip, bool whole, const float *in,
                        const float *out, int64_t n)
{
    double low = whole ? 0 : INFINITY, high = whole ? 0 : -INFINITY;
    for (int64_t j = 0; j < n; j++) {
        low = fmin(low, in[j]);
        high = fmax(high, in[j]);
    }
    low *= clip;
    high *= clip;
    int levels = 1 << bits;
    double grid[256], step, top = fmax(fabs(low), fabs(high));
    if (symmetric) {
        step = top / (levels / 2 - 1);
        for (int q = 0; q < levels; q++)
            grid[q] = step * (q - levels / 2);
    } else {
        step = (high - low) / (levels - 1);
        double zero = nearbyint(-low / step);
        for (int q = 0; q < levels; q++)
            grid[q] = step * (q - zero);
    }
    for (int64_t j = 0; j < n; j++) {
        double nearest = INFINITY, member = INFINITY;
        for (int q = 0; q < levels; q++) {
            nearest = fmin(nearest, fabs(grid[q] - in[j]));
            member = fmin(member, fabs(grid[q] - out[j]));
        }
        assert_true(member <= 1e-5 * top);
        assert_true(fabs((double)out[j] - in[j]) <= nearest + 1e-5 * top);
    }
}

static void nearest_on_the_grid(void **state)
{
    (void)state;
    enum { T = 5, D = 96, LD = 101 };
    float x[T * LD], y[T * LD];
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 1);
    static const int64_t groups[] = {0, 96, 48, 24, 8, 1};
    static const float ranges[][2] = {{-1, 1}, {-3, 0.5f}, {0.25f, 2}, {-7, -6}, {1e-3f, 1e3f}};
    for (int bits = 2; bits <= 8; bits++)
        for (int symmetric = 0; symmetric < 2; symmetric++)
            for (int clip = 0; clip < 2; clip++)
                for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
                    for (int r = 0; r < 5; r++) {
                        if (groups[g] == 1 && !symmetric) continue; /* constant: tested below */
                        float ratio = clip ? 0.9f : 1.0f;
                        for (int i = 0; i < T * LD; i++)
                            y[i] = x[i] = uniform(&rng, ranges[r][0], ranges[r][1]);
                        pons_activation_quantize(bits, symmetric, ratio, groups[g], T, D, y, LD);
                        int64_t width = groups[g] ? groups[g] : D;
                        for (int t = 0; t < T; t++) {
                            for (int64_t j = 0; j < D; j += width)
                                check_group(bits, symmetric, ratio, groups[g] == 0, x + t * LD + j,
                                            y + t * LD + j, width);
                            for (int j = D; j < LD; j++) /* between tokens nothing is touched */
                                assert_true(y[t * LD + j] == x[t * LD + j]);
                        }
                    }
}

/* Worked by hand: symmetric 4 bit scale 7/7 = 1; asymmetric scale 15/15 = 1, zero 5; ties to even. */
static void by_hand(void **state)
{
    (void)state;
    float s[] = {-7, 0.5f, 1.5f, 2.5f, -0.5f, -2.4f, 7, 0};
    static const float s_out[] = {-7, 0, 2, 2, 0, -2, 7, 0};
    pons_activation_quantize(4, true, 1, 0, 1, 8, s, 8);
    for (int i = 0; i < 8; i++)
        assert_true(s[i] == s_out[i]);
    float a[] = {-5, 10, 0.5f, 1.5f, 2.4f, -4.6f, 0, 9.5f};
    static const float a_out[] = {-5, 10, 0, 2, 2, -5, 0, 10};
    pons_activation_quantize(4, false, 1, 0, 1, 8, a, 8);
    for (int i = 0; i < 8; i++)
        assert_true(a[i] == a_out[i]);
    /* clip .5: bounds -3.5 and 3.5, scale .5; symmetric reaches code -8 = -4 */
    float c[] = {-7, 7, 1, 0.2f};
    static const float c_out[] = {-4, 3.5f, 1, 0};
    pons_activation_quantize(4, true, 0.5f, 0, 1, 4, c, 4);
    for (int i = 0; i < 4; i++)
        assert_true(c[i] == c_out[i]);
    /* positive token: zero is in the range of a token, not in that of a group */
    float token[] = {4, 7}, group[] = {4, 7};
    pons_activation_quantize(2, false, 1, 0, 1, 2, token, 2); /* scale 7/3, zero 0 */
    assert_true(fabsf(token[0] - 14.0f / 3) < 1e-6f && token[1] == 7);
    pons_activation_quantize(2, false, 1, 2, 1, 2, group, 2); /* scale 1, zero -4 */
    assert_true(group[0] == 4 && group[1] == 7);
}

static void edges(void **state)
{
    (void)state;
    for (int symmetric = 0; symmetric < 2; symmetric++)
        for (int64_t group = 0; group <= 4; group += 4) {
            float zeros[8] = {0};
            pons_activation_quantize(4, symmetric, 1, group, 1, 8, zeros, 8);
            for (int i = 0; i < 8; i++)
                assert_true(zeros[i] == 0);
            float tiny[8] = {1e-45f, 0, -1e-45f, 0, 0, 1e-45f, 0, 0};
            pons_activation_quantize(4, symmetric, 1, group, 1, 8, tiny, 8);
            for (int i = 0; i < 8; i++)
                assert_true(fabsf(tiny[i]) <= 2e-45f);
            float hole[8] = {1, -2, NAN, 0.5f, NAN, NAN, NAN, NAN};
            pons_activation_quantize(4, symmetric, 1, group, 1, 8, hole, 8);
            for (int i = 0; i < 8; i++)
                assert_int_equal(isnan(hole[i]) != 0, i == 2 || i >= 4);
            assert_true(fabsf(hole[0] - 1) < 0.2f && fabsf(hole[1] + 2) < 0.2f);
            float huge[8] = {INFINITY, 1, -3e38f, 3e38f, 1, 2, 3, 4};
            pons_activation_quantize(4, symmetric, 1, group, 1, 8, huge, 8); /* no trap */
        }
    float constant[8] = {3.3f, 3.3f, 3.3f, 3.3f, -0.7f, -0.7f, -0.7f, -0.7f};
    pons_activation_quantize(4, false, 1, 4, 1, 8, constant, 8);
    for (int i = 0; i < 8; i++)
        assert_true(constant[i] == (i < 4 ? 3.3f : -0.7f));
    pons_activation_quantize(4, false, 0.5f, 4, 1, 8, constant, 8);
    assert_true(constant[0] == 3.3f * 0.5f && constant[7] == -0.7f * 0.5f);
    float off[3] = {0.1f, 0.2f, 0.3f};
    pons_activation_quantize(16, false, 1, 0, 1, 3, off, 3);
    assert_true(off[0] == 0.1f && off[1] == 0.2f && off[2] == 0.3f);
}

static void bits_independent_of_threads(void **state)
{
    (void)state;
    enum { T = 37, D = 200 };
    static float x[T * D], y[T * D];
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 2);
    for (int i = 0; i < T * D; i++)
        y[i] = x[i] = uniform(&rng, -1, 2);
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    pons_activation_quantize(4, false, 1, 40, T, D, x, D);
    omp_set_num_threads(4);
    pons_activation_quantize(4, false, 1, 40, T, D, y, D);
    omp_set_num_threads(before);
    assert_memory_equal(x, y, sizeof x);
}

/* Both ends clipped apart: as one clip where they are equal, by hand where they are not. */
static void learned_clipping(void **state)
{
    (void)state;
    enum { N = 40 };
    float x[2 * N], y[2 * N];
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 3);
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        const float same[2] = {0.75f, 0.75f};
        for (int i = 0; i < 2 * N; i++)
            x[i] = y[i] = uniform(&rng, -2, 1);
        pons_activation_quantize(4, symmetric, 0.75f, 0, 2, N, x, N);
        pons_activation_quantize_learned(4, symmetric, same, 2, N, y);
        assert_memory_equal(x, y, sizeof x);
    }
    /* largest 8 kept to 0.875, least -4 to 0.5: [-2, 7] in steps of 0.6, zero point 3 */
    const float apart[2] = {0.875f, 0.5f};
    float asymmetric[4] = {8, -4, 1, 0}, token[4] = {8, -4, 1.4f, 0};
    pons_activation_quantize_learned(4, false, apart, 1, 4, asymmetric);
    const float expected[4] = {7.2f, -1.8f, 1.2f, 0};
    for (int i = 0; i < 4; i++)
        assert_true(fabsf(asymmetric[i] - expected[i]) < 1e-6f);
    /* symmetric: 7 is the larger bound, steps of 1 */
    pons_activation_quantize_learned(4, true, apart, 1, 4, token);
    const float rounded[4] = {7, -4, 1, 0};
    assert_memory_equal(token, rounded, sizeof token);
    pons_activation_quantize_learned(16, true, apart, 1, 4, token);
    assert_memory_equal(token, rounded, sizeof token);
}

static void layout(void **state)
{
    (void)state;
    pons_act_quant q = {.bits = 4, .o_proj_head_groups = true, .clip_ratio = 1};
    int bits;
    int64_t group;
    pons_activation_layout(&q, 576, 64, 576, false, false, &bits, &group);
    assert_true(bits == 4 && group == 0);
    pons_activation_layout(&q, 576, 64, 576, true, false, &bits, &group);
    assert_true(bits == 4 && group == 64);
    pons_activation_layout(&q, 576, 64, 1536, false, true, &bits, &group);
    assert_true(bits == 4 && group == 0);
    q.down_proj_bits = 8;
    q.group_size = 128;
    pons_activation_layout(&q, 4096, 128, 14336, false, true, &bits, &group); /* 112 x 128 */
    assert_true(bits == 8 && group == 128);
    pons_activation_layout(&q, 4096, 128, 11008, false, true, &bits, &group); /* 86 x 128 */
    assert_true(group == 128);
    q.group_size = 256; /* 11008 = 43 x 256; 16 groups of 4096 would be 688 */
    pons_activation_layout(&q, 4096, 128, 11008, false, true, &bits, &group);
    assert_true(group == 256);
    q.group_size = 512;
    pons_activation_layout(&q, 4096, 128, 11008, false, true, &bits, &group);
    assert_true(group == 11008 / 8);
    q.o_proj_head_groups = false;
    pons_activation_layout(&q, 4096, 128, 4096, true, false, &bits, &group);
    assert_true(bits == 4 && group == 512);
    q.bits = 16;
    pons_activation_layout(&q, 4096, 128, 11008, false, true, &bits, &group);
    assert_int_equal(bits, 16);

    q.bits = 4;
    assert_int_equal(pons_activation_check(&q, 4096, 128, 4096, 11008), PONS_OK);
    q.group_size = 100;
    assert_int_equal(pons_activation_check(&q, 4096, 128, 4096, 11008), PONS_ERR_CONFIG);
    assert_non_null(strstr(pons_error_message(), "activations.group_size: found 100"));
    assert_non_null(strstr(pons_error_message(), "4096"));
    q.group_size = 0;
    assert_int_equal(pons_activation_check(&q, 4095, 128, 4096, 11007), PONS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nearest_on_the_grid),
                                       cmocka_unit_test(by_hand),
                                       cmocka_unit_test(edges),
                                       cmocka_unit_test(bits_independent_of_threads),
                                       cmocka_unit_test(learned_clipping),
                                       cmocka_unit_test(layout)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
