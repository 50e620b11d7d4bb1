/* Pieces of a transformer block against their definitions in fp64. */
#include <complex.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kern/simd.h"
#include "kern/transformer.h"

static uint64_t seed = 1;

static float draw(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((int64_t)(seed >> 40) - (1 << 23)) * 0x1p-23f;
}

static float *random_matrix(int64_t n, float scale)
{
    float *x = pons_mem_alloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = draw() * scale;
    return x;
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.9g instead of %.9g", got, want);
}

/* Distance from the true value in units of the last place. */
static void exponential(void **state)
{
    (void)state;
    double worst = 0;
    for (double x = -87.3; x < 88.7; x += 0.00037) {
        double want = exp((double)(float)x), got = pons_exp((float)x);
        int e;
        frexp(want, &e);
        worst = fmax(worst, fabs(got - want) / ldexp(1, e - 24));
    }
    assert_true(worst < 1.5);
    for (double x = -103.9; x < -87.3; x += 0.0037) /* subnormal results */
        near(pons_exp((float)x), exp((double)(float)x), 0x1.8p-149 + exp(x) * 0x1p-22);
    assert_true(pons_exp(0) == 1);
    assert_true(pons_exp(-INFINITY) == 0);
    assert_true(pons_exp(-1000) == 0);
    assert_true(pons_exp(INFINITY) == INFINITY);
    assert_true(pons_exp(89) == INFINITY);
    assert_true(isnan(pons_exp(NAN)));

    for (float x = -110; x < 95; x += 0.01f) { /* vector and scalar: the same bits */
        const float all[PONS_LANES] = {x,        -x,    2 * x, x / 7,  -INFINITY,
                                       INFINITY, -0.0f, x * x, -x * x, 1 / x};
        for (int l = 0; l < PONS_LANES; l += PONS_WIDTH) {
            pons_vec y = pons_exp_vec(pons_load(all + l));
            for (int i = 0; i < PONS_WIDTH; i++)
                assert_int_equal(pons_float_bits(y[i]), pons_float_bits(pons_exp(all[l + i])));
        }
    }
    assert_true(isnan(pons_exp_vec(pons_splat(NAN))[3]));
}

static void maxima(void **state)
{
    (void)state;
    for (int at = 0; at < PONS_WIDTH; at++) {
        float lane[PONS_WIDTH];
        for (int l = 0; l < PONS_WIDTH; l++)
            lane[l] = l == at ? 2.0f : (float)(-5 - l);
        assert_true(pons_top(pons_load(lane)) == 2);
    }
}

static void norm(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 15, 16, 37, 576};
    enum { T = 5 };
    for (int n = 0; n < 5; n++)
        for (int with_gain = 0; with_gain < 2; with_gain++) {
            int64_t d = widths[n];
            float *x = random_matrix(T * d, 3), *gain = random_matrix(d, 1),
                  *y = pons_mem_alloc(T * d, sizeof *y);
            pons_rmsnorm(T, d, x, with_gain ? gain : NULL, 1e-5f, y);
            for (int64_t t = 0; t < T; t++) {
                double sum = 0;
                for (int64_t i = 0; i < d; i++)
                    sum += (double)x[t * d + i] * x[t * d + i];
                for (int64_t i = 0; i < d; i++) {
                    double want = x[t * d + i] / sqrt(sum / (double)d + 1e-5f);
                    if (with_gain) want *= gain[i];
                    near(y[t * d + i], want, 0x1p-22 * fabs(want));
                }
            }
            pons_rmsnorm(T, d, x, with_gain ? gain : NULL, 1e-5f, x); /* in place */
            assert_memory_equal(x, y, (size_t)(T * d) * sizeof *x);
            pons_mem_free(x), pons_mem_free(gain), pons_mem_free(y);
        }
}

/* Pair (i, i + hd/2) is a complex number turned by the angle. */
static void rotary(void **state)
{
    (void)state;
    enum { T = 4, HEADS = 3, HD = 10, LD = HEADS * HD + 7 };
    float *x = random_matrix(T * LD, 1), *y = pons_mem_alloc(T * LD, sizeof *y);
    float cosine[T * HD / 2], sine[T * HD / 2];
    double angle[T * HD / 2];
    for (int i = 0; i < T * HD / 2; i++) {
        angle[i] = 7 * draw();
        cosine[i] = (float)cos(angle[i]);
        sine[i] = (float)sin(angle[i]);
    }
    memcpy(y, x, T * LD * sizeof *x);
    pons_rope(T, HEADS, HD, y, LD, cosine, sine);
    for (int t = 0; t < T; t++) {
        for (int h = 0; h < HEADS; h++)
            for (int i = 0; i < HD / 2; i++) {
                const float *a = x + t * LD + h * HD + i, *b = y + t * LD + h * HD + i;
                double complex z = (a[0] + I * a[HD / 2]) * cexp(I * angle[t * HD / 2 + i]);
                near(b[0], creal(z), 1e-6);
                near(b[HD / 2], cimag(z), 1e-6);
            }
        assert_memory_equal(x + t * LD + HEADS * HD, y + t * LD + HEADS * HD, 7 * sizeof *x);
    }
    pons_mem_free(x), pons_mem_free(y);
}

typedef pons_status (*attention_function)(int64_t, int64_t, int64_t, int64_t, const float *,
                                          const float *, const float *, int64_t, float *);

/* Softmax of all visible keys at once, in fp64. In bf16 the errors are those of independent
 * roundings: of a result as a whole by 2^-7 of it, in one entry by the bound of the header. */
static void attention_of(int64_t S, int64_t heads, int64_t kv_heads, int64_t hd, int64_t window,
                         float spread, bool bf16)
{
    float *q = random_matrix(S * heads * hd, spread), *k = random_matrix(S * kv_heads * hd, spread);
    float *v = random_matrix(S * kv_heads * hd, 1);
    float *out = pons_mem_alloc(S * heads * hd, sizeof *out);
    double *p = pons_mem_alloc(S, sizeof *p);
    assert_int_equal((bf16 ? pons_attention_causal_bf16
                           : pons_attention_causal)(S, heads, kv_heads, hd, q, k, v, window, out),
                     PONS_OK);
    double wrong = 0, whole = 0;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t s = 0; s < S; s++) {
            int64_t kv = h * kv_heads / heads, oldest = window && s >= window ? s - window + 1 : 0;
            double top = -INFINITY, sum = 0, size = 0;
            for (int64_t j = oldest; j <= s; j++) {
                double magnitude = 0;
                p[j] = 0;
                for (int64_t i = 0; i < hd; i++) {
                    double term =
                        (double)q[(s * heads + h) * hd + i] * k[(j * kv_heads + kv) * hd + i];
                    p[j] += term;
                    magnitude += fabs(term);
                }
                p[j] /= sqrt((double)hd);
                top = fmax(top, p[j]);
                size = fmax(size, magnitude / sqrt((double)hd));
            }
            double bound = bf16 ? expm1(0x1p-7 * size) + 0x1p-6 : 4e-6 * (1 + spread);
            for (int64_t j = oldest; j <= s; j++)
                sum += p[j] = exp(p[j] - top);
            for (int64_t i = 0; i < hd; i++) {
                double want = 0;
                for (int64_t j = oldest; j <= s; j++)
                    want += p[j] / sum * v[(j * kv_heads + kv) * hd + i];
                double got = out[(s * heads + h) * hd + i];
                near(got, want, bound);
                wrong += (got - want) * (got - want);
                whole += want * want;
            }
        }
    assert_true(sqrt(wrong / whole) < (bf16 ? 0x1p-8 * (1 + spread * spread) : 1e-5));
    pons_mem_free(q), pons_mem_free(k), pons_mem_free(v), pons_mem_free(out), pons_mem_free(p);
}

static void attention(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        attention_of(1, 2, 1, 16, 0, 1, bf16);
        attention_of(5, 1, 1, 3, 0, 2, bf16);
        attention_of(64, 4, 4, 32, 0, 3, bf16);
        attention_of(65, 3, 1, 64, 0, 3, bf16);
        attention_of(261, 6, 2, 20, 0, 2, bf16);
        attention_of(261, 4, 2, 64, 1, 2, bf16);
        attention_of(261, 4, 2, 16, 40, 2, bf16);
        attention_of(261, 4, 2, 16, 64, 2, bf16);
        attention_of(300, 2, 1, 16, 131, 6, bf16);
        attention_of(130, 2, 1, 16, 1000, 6, bf16);
        attention_of(600, 2, 1, 80, 0, 1, bf16);
        attention_of(600, 1, 1, 128, 290, 1, bf16);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Scores far apart and rising: every block moves the running maximum, and early keys underflow. */
static void attention_extremes(void **state)
{
    (void)state;
    enum { S = 600, HD = 4 };
    float *q = pons_mem_calloc(S * HD, sizeof *q), *k = pons_mem_calloc(S * HD, sizeof *k);
    float *v = random_matrix(S * HD, 1), *out = pons_mem_alloc(S * HD, sizeof *out);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        attention_function attend = bf16 ? pons_attention_causal_bf16 : pons_attention_causal;
        for (int s = 0; s < S; s++) {
            for (int i = 0; i < HD; i++)
                v[s * HD + i] = pons_bf16_round(v[s * HD + i]);
            q[s * HD] = 1e6f;
            k[s * HD] = pons_bf16_to_float((uint16_t)(0x3f80 + s)); /* 1 and the next ones */
        }
        assert_int_equal(attend(S, 1, 1, HD, q, k, v, 0, out), PONS_OK);
        assert_memory_equal(out, v, S * HD * sizeof *v); /* all weight on the query's own key */
        for (int s = 0; s < S; s++)
            k[s * HD] = -k[s * HD];
        assert_int_equal(attend(S, 1, 1, HD, q, k, v, 0, out), PONS_OK);
        for (int s = 0; s < S; s++)
            assert_memory_equal(out + s * HD, v, HD * sizeof *v); /* all on the first key */
    }
    pons_mem_free(q), pons_mem_free(k), pons_mem_free(v), pons_mem_free(out);
}

/* Queries of zero weigh all that they see alike, so results are exact means: which keys are seen. */
static void attention_sees(void **state)
{
    (void)state;
    enum { S = 583, HD = 5 };
    static const int64_t windows[] = {0, 1, 2, 31, 32, 33, 100, 255, 257, 582, 583, 5000};
    float *q = pons_mem_calloc(S * HD, sizeof *q), *k = random_matrix(S * HD, 9);
    float *v = pons_mem_calloc(S * HD, sizeof *v), *out = pons_mem_alloc(S * HD, sizeof *out);
    for (int s = 0; s < S; s++)
        for (int i = 0; i < HD; i++)
            v[s * HD + i] = (float)((s * 37 + i * 11) % 101 - 40);
    for (int n = 0; n < 12 * 2; n++) {
        int64_t window = windows[n / 2];
        attention_function attend = n % 2 ? pons_attention_causal_bf16 : pons_attention_causal;
        assert_int_equal(attend(S, 1, 1, HD, q, k, v, window, out), PONS_OK);
        for (int64_t s = 0; s < S; s++)
            for (int i = 0; i < HD; i++) {
                int64_t oldest = window && s >= window ? s - window + 1 : 0;
                double sum = 0;
                for (int64_t j = oldest; j <= s; j++)
                    sum += v[j * HD + i];
                near(out[s * HD + i], sum / (double)(s - oldest + 1), 0x1p-21 * 60);
            }
    }
    pons_mem_free(q), pons_mem_free(k), pons_mem_free(v), pons_mem_free(out);
}

/* In bf16 a query does not know how many tokens come after it. */
static void attention_ignores_rest(void **state)
{
    (void)state;
    enum { S = 333, HEADS = 4, KV = 2, HD = 24 };
    static const int64_t lengths[] = {1, 31, 32, 33, 256, 257, 300};
    float *q = random_matrix(S * HEADS * HD, 3), *k = random_matrix(S * KV * HD, 3);
    float *v = random_matrix(S * KV * HD, 1);
    float *all = pons_mem_alloc(S * HEADS * HD, sizeof *all),
          *out = random_matrix(S * HEADS * HD, 1);
    for (int64_t window = 0; window < 80; window += 50) {
        pons_attention_causal_bf16(S, HEADS, KV, HD, q, k, v, window, all);
        for (int n = 0; n < 7; n++) {
            float after = out[lengths[n] * HEADS * HD];
            pons_attention_causal_bf16(lengths[n], HEADS, KV, HD, q, k, v, window, out);
            assert_memory_equal(out, all, (size_t)(lengths[n] * HEADS * HD) * sizeof *out);
            assert_true(out[lengths[n] * HEADS * HD] == after);
        }
    }
    pons_mem_free(q), pons_mem_free(k), pons_mem_free(v), pons_mem_free(all), pons_mem_free(out);
}

static void same_bits(void **state)
{
    (void)state;
    enum { S = 150, HEADS = 3, HD = 16, N = S * HEADS * HD };
    float *q = random_matrix(N, 2), *k = random_matrix(N, 2), *v = random_matrix(N, 1);
    float *first = pons_mem_alloc(N, sizeof *first), *next = pons_mem_alloc(N, sizeof *next);
    float *tile1 = pons_mem_alloc(N, sizeof *tile1), *tile2 = pons_mem_alloc(N, sizeof *tile2);
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        float *to = threads == 1 ? first : next;
        omp_set_num_threads(threads);
        assert_int_equal(pons_attention_causal(S, HEADS, HEADS, HD, q, k, v, 0, to), PONS_OK);
        assert_memory_equal(to, first, N * sizeof *to);
        to = threads == 1 ? tile1 : tile2;
        assert_int_equal(pons_attention_causal_bf16(S, HEADS, HEADS, HD, q, k, v, 0, to), PONS_OK);
        assert_memory_equal(to, tile1, N * sizeof *to);
    }
    omp_set_num_threads(before);
    pons_mem_free(q), pons_mem_free(k), pons_mem_free(v), pons_mem_free(first), pons_mem_free(next);
    pons_mem_free(tile1), pons_mem_free(tile2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential),    cmocka_unit_test(maxima),
        cmocka_unit_test(norm),           cmocka_unit_test(rotary),
        cmocka_unit_test(attention),      cmocka_unit_test(attention_extremes),
        cmocka_unit_test(attention_sees), cmocka_unit_test(attention_ignores_rest),
        cmocka_unit_test(same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
