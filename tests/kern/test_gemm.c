/* Matrix products against fp64 sums on odd shapes, with bounds from the rounding model, and the
 * same bits for every thread count. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/half.h"
#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/gemm.h"
#include "kern/tiles.h"

static uint64_t seed = 1;

/* Uniform in (-1, 1), 24 bits. */
static float draw(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((int64_t)(seed >> 40) - (1 << 23)) * 0x1p-23f;
}

static float *random_matrix(int64_t n)
{
    float *x = pons_mem_alloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = draw();
    return x;
}

/* |computed - exact| <= (K + 3) 2^-24 sum |a b|: any order of fp32 additions obeys it. */
static void close_enough(double computed, double exact, double magnitude, int64_t K)
{
    double bound = (double)(K + 3) * 0x1p-24 * magnitude;
    if (!(fabs(computed - exact) <= bound))
        fail_msg("%.9g instead of %.9g, bound %.3g", computed, exact, bound);
}

static const int64_t shapes[][3] = {{1, 1, 1},     {1, 300, 7},   {3, 5, 1},    {257, 1, 64},
                                    {31, 37, 101}, {255, 259, 2}, {300, 64, 13}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void plain_products(void **state)
{
    (void)state;
    for (int n = 0; n < SHAPES; n++) {
        int64_t M = shapes[n][0], N = shapes[n][1], K = shapes[n][2];
        int64_t lda = K + 3, ldc = N + 2, ldt = K + 1, ldn = N + 5;
        float *A = random_matrix(M * lda), *B = random_matrix(N * ldt),
              *Bn = random_matrix(K * ldn);
        float *C0 = random_matrix(M * ldc), *C = pons_mem_alloc(M * ldc, sizeof *C);
        for (int transposed = 0; transposed < 2; transposed++) {
            float alpha = 0.75f, beta = transposed ? -0.5f : 0.0f;
            memcpy(C, C0, (size_t)(M * ldc) * sizeof *C);
            if (transposed)
                pons_gemm_nt(M, N, K, alpha, A, lda, B, ldt, beta, C, ldc);
            else
                pons_gemm_nn(M, N, K, alpha, A, lda, Bn, ldn, beta, C, ldc);
            for (int64_t i = 0; i < M; i++) {
                for (int64_t j = 0; j < N; j++) {
                    double sum = beta * C0[i * ldc + j], size = fabs(sum);
                    for (int64_t k = 0; k < K; k++) {
                        double b = transposed ? B[j * ldt + k] : Bn[k * ldn + j];
                        sum += alpha * A[i * lda + k] * b;
                        size += fabs(alpha * A[i * lda + k] * b);
                    }
                    close_enough(C[i * ldc + j], sum, size, K);
                }
                for (int64_t j = N; j < ldc; j++) /* what lies between rows is not touched */
                    assert_true(C[i * ldc + j] == C0[i * ldc + j]);
            }
        }
        pons_mem_free(A), pons_mem_free(B), pons_mem_free(Bn), pons_mem_free(C0), pons_mem_free(C);
    }
}

static void prepared_products(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++)
        for (int n = 0; n < SHAPES; n++) {
            int64_t T = shapes[n][0], rows = shapes[n][1], d = shapes[n][2];
            int64_t ldx = d + 3, ldy = rows + 2;
            float *X = random_matrix(T * ldx), *W = random_matrix(rows * d);
            float *Y0 = random_matrix(T * ldy), *Y = pons_mem_alloc(T * ldy, sizeof *Y);
            pons_matmul *m = NULL;
            memcpy(Y, Y0, (size_t)(T * ldy) * sizeof *Y);
            assert_int_equal(pons_matmul_create(rows, d, W, bf16, &m), PONS_OK);
            assert_int_equal(pons_matmul_apply(m, T, X, ldx, Y, ldy), PONS_OK);
            for (int64_t t = 0; t < T; t++) {
                for (int64_t r = 0; r < rows; r++) {
                    double sum = 0, size = 0;
                    for (int64_t k = 0; k < d; k++) {
                        double x = X[t * ldx + k], w = W[r * d + k];
                        if (bf16) x = pons_bf16_round((float)x), w = pons_bf16_round((float)w);
                        sum += x * w;
                        size += fabs(x * w);
                    }
                    close_enough(Y[t * ldy + r], sum, size, d);
                }
                for (int64_t r = rows; r < ldy; r++)
                    assert_true(Y[t * ldy + r] == Y0[t * ldy + r]);
            }
            pons_matmul_destroy(&m);
            assert_null(m);
            pons_mem_free(X), pons_mem_free(W), pons_mem_free(Y0), pons_mem_free(Y);
        }
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Without the library or the processor for it, bf16 is refused, never replaced. */
static void bf16_refused(void **state)
{
    (void)state;
    pons_matmul *m = NULL;
    const float one = 1;
    pons_status st = pons_matmul_create(1, 1, &one, true, &m);
    assert_int_equal(st, pons_kern_has_bf16() ? PONS_OK : PONS_ERR_UNSUPPORTED);
    pons_matmul_destroy(&m);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* A token's bits depend neither on how many follow it nor on the threads, also of creation. */
static void token_bits(void **state)
{
    (void)state;
    enum { T = 530, ROWS = 417, D = 203 };
    float *X = random_matrix(T * D), *W = random_matrix(ROWS * D);
    float *Y = pons_mem_alloc(T * ROWS, sizeof *Y), *Z = pons_mem_alloc(T * ROWS, sizeof *Z);
    int before = omp_get_max_threads();
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++)
        for (int threads = 1; threads <= 3; threads++) {
            static const int64_t lengths[] = {T, 1, 255, 256, 300};
            pons_matmul *m = NULL;
            omp_set_num_threads(threads);
            assert_int_equal(pons_matmul_create(ROWS, D, W, bf16, &m), PONS_OK);
            assert_int_equal(omp_get_max_threads(), threads);
            for (int n = 0; n < 5; n++) {
                float *to = threads == 1 && n == 0 ? Y : Z;
                assert_int_equal(pons_matmul_apply(m, lengths[n], X, D, to, ROWS), PONS_OK);
                assert_memory_equal(to, Y, (size_t)(lengths[n] * ROWS) * sizeof *Y);
            }
            pons_matmul_destroy(&m);
        }
    omp_set_num_threads(before);
    pons_mem_free(X), pons_mem_free(W), pons_mem_free(Y), pons_mem_free(Z);
}

/* pons_tile_use: the most tokens of a tile. */
static void take_most(void *user, const pons_tile *tile)
{
    int64_t *most = user;
#pragma omp critical
    if (tile->tokens > *most) *most = tile->tokens;
}

/* Tiles of W too large for L2 meet several panels of tokens at once: values, and the bits of a panel alone. */
static void wide_products(void **state)
{
    (void)state;
    enum { T = 700, FEW = 128, ROWS = 1060, D = 2500, TOKEN_STEP = 53, ROW_STEP = 31 };
    if (!pons_kern_has_bf16()) skip();
    float *X = random_matrix(T * D), *W = random_matrix(ROWS * D), *bias = random_matrix(ROWS);
    float *Y = pons_mem_alloc(T * ROWS, sizeof *Y), *Z = pons_mem_alloc(T * ROWS, sizeof *Z);
    int before = omp_get_max_threads();
    pons_matmul *m = NULL;
    assert_int_equal(pons_matmul_create(ROWS, D, W, true, &m), PONS_OK);
    assert_int_equal(pons_matmul_set_bias(m, bias), PONS_OK);
    for (int64_t t = 0; t < T; t += FEW)
        assert_int_equal(
            pons_matmul_apply(m, T - t < FEW ? T - t : FEW, X + t * D, D, Y + t * ROWS, ROWS),
            PONS_OK);
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        memset(Z, 0, T * ROWS * sizeof *Z);
        assert_int_equal(pons_matmul_apply(m, T, X, D, Z, ROWS), PONS_OK);
        assert_memory_equal(Z, Y, T * ROWS * sizeof *Z);
    }
    omp_set_num_threads(1);
    int64_t most = 0;
    pons_matmul_input *in = NULL;
    const pons_matmul *of = m;
    assert_int_equal(pons_matmul_pack(true, T, D, X, D, &in), PONS_OK);
    assert_int_equal(pons_matmul_run(1, &of, in, take_most, &most), PONS_OK);
    assert_int_equal(most, pons_bf16_on_tiles() ? 512 : 128);
    pons_matmul_input_destroy(&in);
    omp_set_num_threads(before);
    for (int64_t t = 0; t < T; t += TOKEN_STEP)
        for (int64_t r = 0; r < ROWS; r += ROW_STEP) {
            double sum = bias[r], size = fabs(sum);
            for (int64_t k = 0; k < D; k++) {
                double x = pons_bf16_round(X[t * D + k]), w = pons_bf16_round(W[r * D + k]);
                sum += x * w;
                size += fabs(x * w);
            }
            close_enough(Y[t * ROWS + r], sum, size, D + 1);
        }
    pons_matmul_destroy(&m);
    pons_mem_free(X), pons_mem_free(W), pons_mem_free(bias), pons_mem_free(Y), pons_mem_free(Z);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void plain_bits(void **state)
{
    (void)state;
    enum { M = 530, N = 417, K = 203 };
    float *A = random_matrix(M * K), *B = random_matrix(N * K);
    float *C = pons_mem_alloc(M * N, sizeof *C), *D = pons_mem_alloc(M * N, sizeof *D);
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        float *to = threads == 1 ? C : D;
        omp_set_num_threads(threads);
        pons_gemm_nt(M, N, K, 1, A, K, B, K, 0, to, N);
        assert_memory_equal(to, C, M * N * sizeof *C);
    }
    /* inside a parallel region the call is serial, with the same bits */
#pragma omp parallel num_threads(2)
#pragma omp single
    pons_gemm_nt(M, N, K, 1, A, K, B, K, 0, D, N);
    assert_memory_equal(D, C, M * N * sizeof *C);
    omp_set_num_threads(before);
    pons_mem_free(A), pons_mem_free(B), pons_mem_free(C), pons_mem_free(D);
}

/* Columns of norm at most 1 holding bf16 values, as callers prepare them. */
static float *window(int64_t S, int64_t d)
{
    float *X = random_matrix(S * d);
    for (int64_t i = 0; i < S * d; i++)
        X[i] = pons_bf16_round(X[i] / 16);
    return X;
}

/* Scales as callers choose them: 1, 1/2, 1/4, ... */
static float *powers(int64_t d)
{
    float *scale = pons_mem_alloc(d, sizeof *scale);
    for (int64_t j = 0; j < d; j++)
        scale[j] = ldexpf(1, -(int)(j % 3));
    return scale;
}

static void gram_values(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{1, 1},     {7, 3},     {200, 31},  {33, 257},
                                       {101, 300}, {1100, 40}, {530, 1100}};
    const double quantum = 0x1p-30;
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++)
        for (int n = 0; n < 7; n++) {
            int64_t S = sizes[n][0], d = sizes[n][1];
            float *X = window(S, d), *scale = powers(d);
            double *H = pons_mem_alloc(d * d, sizeof *H);
            for (int64_t i = 0; i < d * d; i++)
                H[i] = 3;
            assert_int_equal(pons_gram_add(S, d, X, scale, bf16, quantum, H), PONS_OK);
            for (int64_t i = 0; i < d; i++)
                for (int64_t j = 0; j < d; j++) {
                    double sum = 0, size = 0, got = H[i * d + j] - 3;
                    if (j < i) {
                        assert_true(got == 0);
                        continue;
                    }
                    for (int64_t s = 0; s < S; s++) {
                        double v = (double)X[s * d + i] * scale[i] * X[s * d + j] * scale[j];
                        sum += v;
                        size += fabs(v);
                    }
                    assert_true(fmod(got, quantum) == 0);
                    assert_true(fabs(got - sum) <= quantum / 2 + (double)(S + 3) * 0x1p-24 * size);
                }
            pons_mem_free(X), pons_mem_free(scale), pons_mem_free(H);
        }
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* With one token every product of bf16 values is exact, so the rounding alone is seen. */
static void gram_rounding(void **state)
{
    (void)state;
    enum { D = 70 };
    const double quantum = 0x1p-14;
    float *X = window(1, D), *scale = powers(D);
    double *H = pons_mem_calloc(D * D, sizeof *H);
    int moved = 0;
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++) {
        memset(H, 0, D * D * sizeof *H);
        assert_int_equal(pons_gram_add(1, D, X, scale, bf16, quantum, H), PONS_OK);
        for (int i = 0; i < D; i++)
            for (int j = i; j < D; j++) {
                double v = (double)X[i] * scale[i] * X[j] * scale[j];
                assert_true(H[i * D + j] == rint(v / quantum) * quantum);
                moved += H[i * D + j] != v;
            }
    }
    assert_true(moved > D);
    pons_mem_free(X), pons_mem_free(scale), pons_mem_free(H);
}

/* Sums of windows in any order, with any number of threads, are the same bits. */
static void gram_order(void **state)
{
    (void)state;
    enum { WINDOWS = 5, S = 120, D = 290 };
    static const int orders[3][WINDOWS] = {{0, 1, 2, 3, 4}, {4, 2, 0, 3, 1}, {3, 4, 1, 0, 2}};
    float *X[WINDOWS], *scale = powers(D);
    double *H = pons_mem_alloc(D * D, sizeof *H), *G = pons_mem_alloc(D * D, sizeof *G);
    int before = omp_get_max_threads();
    for (int w = 0; w < WINDOWS; w++) { /* so different in size that fp64 alone would round */
        X[w] = window(S, D);
        for (int64_t i = 0; i < S * D; i++)
            X[w][i] *= ldexpf(1, -4 * w);
    }
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++)
        for (int o = 0; o < 3; o++) {
            double *to = o == 0 ? H : G;
            omp_set_num_threads(o + 1);
            memset(to, 0, D * D * sizeof *to);
            for (int w = 0; w < WINDOWS; w++)
                assert_int_equal(pons_gram_add(S, D, X[orders[o][w]], scale, bf16, 0x1p-40, to),
                                 PONS_OK);
            assert_memory_equal(to, H, D * D * sizeof *to);
            /* in memory that stays */
            pons_gram_work *work = NULL;
            memset(G, 0, D * D * sizeof *G);
            for (int w = 0; w < WINDOWS; w++)
                assert_int_equal(
                    pons_gram_add_rows(S, D, X[orders[o][w]], scale, bf16, 0x1p-40, 0, D, &work, G),
                    PONS_OK);
            pons_gram_work_destroy(&work);
            assert_memory_equal(G, H, D * D * sizeof *G);
        }
    omp_set_num_threads(before);
    for (int w = 0; w < WINDOWS; w++)
        pons_mem_free(X[w]);
    pons_mem_free(H), pons_mem_free(G), pons_mem_free(scale);
}

/* Panels of rows are rows of the whole. */
static void gram_panels(void **state)
{
    (void)state;
    enum { WINDOWS = 3, S = 120, D = 600, PANELS = 3 };
    int64_t width = pons_gram_width(D);
    float *X[WINDOWS], *scale = powers(D);
    double *H = pons_mem_alloc(D * D, sizeof *H), *P[PANELS];
    assert_true(2 * width < D && 3 * width >= D);
    for (int w = 0; w < WINDOWS; w++)
        X[w] = window(S, D);
    for (int bf16 = 0; bf16 < 1 + pons_kern_has_bf16(); bf16++) {
        pons_gram_work *work = NULL;
        memset(H, 0, D * D * sizeof *H);
        for (int w = 0; w < WINDOWS; w++)
            assert_int_equal(pons_gram_add(S, D, X[w], scale, bf16, 0x1p-40, H), PONS_OK);
        for (int p = 0; p < PANELS; p++) {
            int64_t first = p * width, last = p + 1 < PANELS ? first + width : D;
            P[p] = pons_mem_calloc((last - first) * (D - first), sizeof *P[p]);
            for (int w = 0; w < WINDOWS; w++)
                assert_int_equal(
                    pons_gram_add_rows(S, D, X[w], scale, bf16, 0x1p-40, first, last, &work, P[p]),
                    PONS_OK);
        }
        pons_gram_work_destroy(&work);
        for (int64_t i = 0; i < D; i++) {
            int64_t p = i / width, first = p * width, ld = D - first;
            assert_memory_equal(P[p] + (i - first) * ld, H + i * D + first, (size_t)ld * sizeof *H);
        }
        for (int p = 0; p < PANELS; p++)
            pons_mem_free(P[p]);
    }
    for (int w = 0; w < WINDOWS; w++)
        pons_mem_free(X[w]);
    pons_mem_free(H), pons_mem_free(scale);
}

static void begin_keeps_openmp(void **state)
{
    (void)state;
    omp_set_num_threads(3);
    pons_kern_begin();
    assert_int_equal(omp_get_max_threads(), 3);
    omp_set_num_threads(2);
    assert_non_null(strstr(pons_kern_describe(), "OpenBLAS"));
    assert_non_null(strstr(pons_kern_describe(), "2 threads"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_products),    cmocka_unit_test(prepared_products),
        cmocka_unit_test(bf16_refused),      cmocka_unit_test(token_bits),
        cmocka_unit_test(wide_products),     cmocka_unit_test(plain_bits),
        cmocka_unit_test(gram_values),       cmocka_unit_test(gram_rounding),
        cmocka_unit_test(gram_order),        cmocka_unit_test(gram_panels),
        cmocka_unit_test(begin_keeps_openmp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
