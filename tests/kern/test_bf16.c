/* Tile products of odd shapes against fp64, on whatever this processor computes them with; AMX tiles besides
 * against themselves: an entry's bits know nothing of the shape around it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/amx.h"
#include "kern/bf16.h"
#include "kern/gemm.h"
#include "kern/isa.h"
#include "kern/round_bf16.h"

static pons_mt19937 rng;

static float uniform(void) { return (float)(pons_mt19937_next(&rng) / 4294967296.0 - 0.5); }

static float value(uint16_t bits) { return pons_bits_float((uint32_t)bits << 16); }

static uint16_t *random_bits(int64_t n)
{
    uint16_t *x = pons_mem_alloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        float v = uniform();
        pons_bf16_convert(1, &v, x + i);
    }
    return x;
}

/* fp32 sums of n products of exact products, however they are ordered. */
static void close_enough(float got, double sum, double size, int64_t n)
{
    assert_true(fabs((double)got - sum) <= (double)(n + 2) * 0x1p-24 * size);
}

/* The product of rows that were brought into the kernel's form: the bits of C on AMX tiles, to rounding elsewhere. */
static void check_rows(int64_t M, int64_t N, int64_t K, const uint16_t *A, const uint16_t *B,
                       const float *C)
{
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker *worker = NULL;
    float *x = pons_mem_alloc(K, sizeof *x), *D = pons_mem_alloc(M * N, sizeof *D);
    assert_int_equal(pons_bf16_kernel_create(PONS_BF16_PACKED, M, N, K, &kernel), PONS_OK);
    assert_int_equal(pons_bf16_workers_create(kernel, 1, &worker), PONS_OK);
    void *packed = pons_mem_alloc((int64_t)pons_bf16_packed_bytes(kernel), 1);
    size_t bytes = pons_bf16_rows_bytes(M, K);
    void *rows = pons_mem_alloc((int64_t)bytes, 1);
    memset(rows, 0xff, bytes); /* NaN wherever nothing is put */
    assert_true(pons_bf16_pack(worker, B, packed));
    for (int64_t i = 0; i < M; i++) {
        for (int64_t k = 0; k < K; k++)
            x[k] = value(A[i * K + k]);
        pons_bf16_put_row(K, i, i == M / 2 ? NULL : x, rows);
    }
    assert_true(pons_bf16_run(worker, rows, packed, D));
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            float expected = i == M / 2 ? 0 : C[i * N + j];
            assert_true(fabsf(D[i * N + j] - expected) <=
                        ((pons_isa_used() == PONS_ISA_AMX) ? 0 : 1e-5f * (float)K));
        }
    pons_bf16_workers_destroy(1, &worker);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(rows), pons_mem_free(packed), pons_mem_free(D), pons_mem_free(x);
}

/* C = A B^T and then C += A B^T. */
static void check_packed(int64_t M, int64_t N, int64_t K)
{
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker *worker = NULL;
    uint16_t *A = random_bits(M * K), *B = random_bits(N * K);
    float *C = pons_mem_alloc(M * N, sizeof *C), *D = pons_mem_alloc(M * N, sizeof *D);
    for (int64_t i = 0; i < M * N; i++)
        C[i] = NAN;
    enum { BLOCK = 32 };
    int64_t blocks = (M + BLOCK - 1) / BLOCK;
    uint16_t *X = pons_mem_calloc(blocks * BLOCK * K, sizeof *X); /* whole blocks of rows */
    float *Y = pons_mem_alloc(2 * blocks * BLOCK * N, sizeof *Y);
    memcpy(X, A, (size_t)(M * K) * sizeof *X);
    assert_int_equal(pons_bf16_kernel_create(PONS_BF16_SUMMED, BLOCK, N, K, &kernel), PONS_OK);
    assert_int_equal(pons_bf16_workers_create(kernel, 1, &worker), PONS_OK);
    void *packed = pons_mem_alloc((int64_t)pons_bf16_packed_bytes(kernel), 1);
    int64_t bytes = (int64_t)pons_bf16_brought_bytes(kernel, 1);
    uint8_t *left = pons_mem_alloc(blocks * bytes, 1);
    assert_true(pons_bf16_pack(worker, B, packed));
    for (int64_t i = 0; i < blocks; i++)
        pons_bf16_bring(kernel, 1, true, X + i * BLOCK * K, left + i * bytes);
    pons_bf16_sum product = {
        .blocks = blocks, .tiles = 1, .of_a = 1, .of_b = 1, .left = left, .B = {packed}};
    assert_true(pons_bf16_run_sum(worker, &product, Y));
    memcpy(C, Y, (size_t)(M * N) * sizeof *C);
    product.add = true;
    assert_true(pons_bf16_run_sum(worker, &product, Y));
    memcpy(D, Y, (size_t)(M * N) * sizeof *C);
    pons_mem_free(left), pons_mem_free(Y), pons_mem_free(X);
    check_rows(M, N, K, A, B, C);
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < K; k++) {
                double v = (double)value(A[i * K + k]) * (double)value(B[j * K + k]);
                sum += v;
                size += fabs(v);
            }
            close_enough(C[i * N + j], sum, size, K);
            close_enough(D[i * N + j], 2 * sum, 2 * size, 2 * K);
        }
    pons_bf16_workers_destroy(1, &worker);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(packed), pons_mem_free(A), pons_mem_free(B), pons_mem_free(C), pons_mem_free(D);
}

/* Operands one behind the other: what each gives alone. */
static void rows_together(void **state)
{
    (void)state;
    enum { M = 64, N = 48, K = 700, COUNT = 3 };
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker *worker = NULL;
    if (!pons_kern_has_bf16()) skip();
    assert_int_equal(pons_bf16_kernel_create(PONS_BF16_PACKED, M, N, K, &kernel), PONS_OK);
    assert_int_equal(pons_bf16_workers_create(kernel, 1, &worker), PONS_OK);
    int64_t bytes = (int64_t)pons_bf16_rows_bytes(M, K);
    uint8_t *A = pons_mem_alloc(COUNT * bytes, 1);
    uint16_t *B = random_bits(N * K);
    void *packed = pons_mem_alloc((int64_t)pons_bf16_packed_bytes(kernel), 1);
    float x[K], *C = pons_mem_alloc(M * N, sizeof *C),
                *D = pons_mem_alloc(COUNT * M * N, sizeof *D);
    assert_true(pons_bf16_pack(worker, B, packed));
    for (int64_t i = 0; i < COUNT * M; i++) {
        for (int64_t k = 0; k < K; k++)
            x[k] = uniform();
        pons_bf16_put_row(K, i % M, x, A + i / M * bytes);
    }
    for (int64_t i = 0; i < COUNT * M * N; i++)
        D[i] = NAN;
    assert_true(pons_bf16_run_rows(worker, COUNT, A, packed, D));
    for (int64_t i = 0; i < COUNT; i++) {
        assert_true(pons_bf16_run(worker, A + i * bytes, packed, C));
        assert_memory_equal(C, D + i * M * N, M * N * sizeof *C);
    }
    pons_bf16_workers_destroy(1, &worker);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(packed), pons_mem_free(A), pons_mem_free(B), pons_mem_free(C), pons_mem_free(D);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void packed(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = {{1, 16, 1},   {16, 16, 16},    {64, 48, 33},  {31, 80, 319},
                                        {33, 32, 64}, {128, 208, 203}, {64, 112, 700}};
    if (!pons_kern_has_bf16()) skip();
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++)
        check_packed(shapes[n][0], shapes[n][1], shapes[n][2]);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* C = L^T R of columns of one X, or of two matrices. */
static void check_gram(int64_t width, int64_t K, int64_t tokens, int64_t columns, bool upper)
{
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker *worker = NULL;
    int64_t ld = columns + 3;
    float *X = pons_mem_alloc(tokens * ld, sizeof *X),
          *C = pons_mem_alloc(width * width, sizeof *C);
    float *scale = pons_mem_alloc(columns, sizeof *scale);
    for (int64_t i = 0; i < tokens * ld; i++)
        X[i] = i % ld < columns ? uniform() : NAN;
    for (int64_t j = 0; j < columns; j++)
        scale[j] = ldexpf(1, -(int)(j % 3));
    for (int64_t i = 0; i < width * width; i++)
        C[i] = NAN;
    assert_int_equal(pons_bf16_kernel_create(PONS_BF16_GRAM, width, width, K, &kernel), PONS_OK);
    assert_int_equal(pons_bf16_workers_create(kernel, 1, &worker), PONS_OK);
    int64_t bytes = (int64_t)pons_bf16_left_bytes(kernel);
    assert_int_equal(bytes, pons_bf16_packed_bytes(kernel));
    /* left, left, right, right: two parts of the depth, both X */
    uint8_t *operand = pons_mem_alloc(4 * bytes, 1), *right = operand + 2 * bytes;
    pons_bf16_take(kernel, tokens, columns, X, ld, scale, operand, right);
    pons_bf16_take(kernel, tokens, columns, X, ld, scale, operand + bytes, NULL);
    pons_bf16_take(kernel, tokens, columns, X, ld, scale, NULL, right + bytes);
    assert_memory_equal(operand, operand + bytes, bytes);
    assert_memory_equal(right, right + bytes, bytes);
    assert_true(pons_bf16_run_gram(worker, 2, upper, operand, right, C));
    for (int64_t i = 0; i < width; i++)
        for (int64_t j = upper ? i : 0; j < width; j++) {
            double sum = 0, size = 0;
            for (int64_t s = 0; s < tokens && i < columns && j < columns; s++) {
                double v = (double)pons_bf16_round(X[s * ld + i]) * scale[i] *
                           (double)pons_bf16_round(X[s * ld + j]) * scale[j];
                sum += 2 * v;
                size += 2 * fabs(v);
            }
            close_enough(C[i * width + j], sum, size, 2 * tokens);
        }
    pons_bf16_workers_destroy(1, &worker);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(operand), pons_mem_free(scale), pons_mem_free(X), pons_mem_free(C);
}

static void gram(void **state)
{
    (void)state;
    if (!pons_kern_has_bf16()) skip();
    for (int upper = 0; upper < 2; upper++) {
        check_gram(32, 32, 1, 1, upper);
        check_gram(64, 96, 71, 50, upper);
        check_gram(96, 352, 352, 96, upper);
        check_gram(160, 704, 699, 131, upper);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* C = A B^T of rows as they are and of a packed operand. */
static void multiply(int64_t M, int64_t N, int64_t K, const uint16_t *A, const uint16_t *packed,
                     float *C)
{
    enum { BLOCK = 32 };
    int64_t steps = (K + BLOCK - 1) / BLOCK, blocks = (M + BLOCK - 1) / BLOCK;
    int64_t entries = steps * BLOCK * BLOCK;
    uint16_t *X = pons_mem_calloc(blocks * BLOCK * K, sizeof *X);
    uint16_t *left = pons_mem_alloc(blocks * entries, sizeof *left);
    void *work = pons_mem_alloc((int64_t)pons_amx_work_bytes(), 1);
    memcpy(X, A, (size_t)(M * K) * sizeof *X);
    for (int64_t i = 0; i < blocks; i++)
        pons_amx_bring(K, 1, true, X + i * BLOCK * K, left + i * entries);
    pons_amx_sum sum = {.M = M,
                        .N = N,
                        .ldc = N,
                        .tiles = 1,
                        .steps = steps,
                        .of_a = 1,
                        .of_b = 1,
                        .left = left,
                        .block_stride = entries,
                        .B = {packed}};
    pons_amx_run(&sum, C, work);
    pons_mem_free(work), pons_mem_free(left), pons_mem_free(X);
}

/* The same row and column inside a product of another shape, and deeper by zeros: so deep that C is stored on the
 * way. */
static void entry_bits(void **state)
{
    (void)state;
    enum { M = 70, N = 90, K = 333, MORE = 9000 };
    if (!(pons_isa_used() == PONS_ISA_AMX)) skip();
    uint16_t *A = random_bits(M * K), *B = random_bits(N * K);
    uint16_t *deep = pons_mem_calloc(M * MORE, sizeof *deep);
    uint16_t *wide = pons_mem_calloc(N * MORE, sizeof *wide);
    uint16_t *packed = pons_mem_alloc((int64_t)pons_amx_bytes(N, MORE), 1);
    float *C = pons_mem_alloc(M * N, sizeof *C), *D = pons_mem_alloc(M * N, sizeof *D), one;
    pons_amx_pack(N, K, B, packed);
    multiply(M, N, K, A, packed, C);
    for (int part = 0; part < 2; part++) { /* at the begin, at the end */
        memset(deep, 0, M * MORE * sizeof *deep);
        memset(wide, 0, N * MORE * sizeof *wide);
        for (int64_t i = 0; i < M; i++)
            memcpy(deep + i * MORE + part * (MORE - K), A + i * K, K * sizeof *A);
        for (int64_t j = 0; j < N; j++)
            memcpy(wide + j * MORE + part * (MORE - K), B + j * K, K * sizeof *B);
        pons_amx_pack(N, MORE, wide, packed);
        multiply(M, N, MORE, deep, packed, D);
        for (int64_t n = 0; n < M * N; n++)
            assert_true(part == 0 ? C[n] == D[n] : fabsf(C[n] - D[n]) <= 1e-5f * K);
    }
    for (int64_t n = 0; n < 40; n++) {
        int64_t i = n * 31 % M, j = n * 47 % N;
        pons_amx_pack(1, K, B + j * K, packed);
        multiply(1, 1, K, A + i * K, packed, &one);
        assert_memory_equal(&one, C + i * N + j, sizeof one);
    }
    pons_mem_free(A), pons_mem_free(B), pons_mem_free(deep), pons_mem_free(wide);
    pons_mem_free(packed), pons_mem_free(C), pons_mem_free(D);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Floats packed as terms are what they are peeled into, packed one by one; not numbers stay not numbers. */
static void packed_terms(void **state)
{
    (void)state;
    enum { BLOCK = 32, N = 80, K = 96, ROWS = 70, DEPTH = 77, LD = 101, TERMS = 3 };
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0x1p-140f, -0x1.fffffep127f, -0.0f};
    if (!pons_kern_has_bf16()) skip();
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker *worker = NULL;
    assert_int_equal(pons_bf16_kernel_create(PONS_BF16_SUMMED, BLOCK, N, K, &kernel), PONS_OK);
    assert_int_equal(pons_bf16_workers_create(kernel, 1, &worker), PONS_OK);
    size_t bytes = pons_bf16_packed_bytes(kernel), stride = pons_bf16_stride(kernel);
    float *B = pons_mem_alloc(ROWS * LD, sizeof *B), *rest = pons_mem_calloc(N * K, sizeof *rest);
    uint16_t *term = pons_mem_alloc(N * K, sizeof *term);
    uint8_t *got = pons_mem_alloc(TERMS * (int64_t)stride, 1);
    uint8_t *want = pons_mem_alloc((int64_t)stride, 1);
    void *work = pons_mem_alloc((int64_t)pons_bf16_terms_bytes(kernel), 1);
    for (int64_t n = 0; n < ROWS * LD; n++)
        B[n] = n % 211 ? uniform() : odd[n / 211 % (int64_t)(sizeof odd / sizeof *odd)];
    memset(got, 0xff, TERMS * stride);
    assert_true(pons_bf16_pack_terms(worker, TERMS, ROWS, DEPTH, B, LD, work, stride, got));
    for (int64_t i = 0; i < ROWS; i++)
        memcpy(rest + i * K, B + i * LD, DEPTH * sizeof *rest);
    for (int t = 0; t < TERMS; t++) {
        pons_bf16_peel(N * K, rest, term);
        assert_true(pons_bf16_pack(worker, term, want));
        assert_memory_equal(got + (size_t)t * stride, want, bytes);
    }
    pons_bf16_workers_destroy(1, &worker);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(B), pons_mem_free(rest), pons_mem_free(term), pons_mem_free(got);
    pons_mem_free(want), pons_mem_free(work);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Sums of terms that are small integers of one size, so that every pair that meets can be told from the sum. */
static void terms(void **state)
{
    (void)state;
    enum { BLOCK = 32, N = 80, K = 96, TILES = 2 };
    static const int of[][2] = {{1, 1}, {1, 2}, {2, 2}, {3, 3}};
    if (!pons_kern_has_bf16()) skip();
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker *worker = NULL;
    assert_int_equal(pons_bf16_kernel_create(PONS_BF16_SUMMED, BLOCK, N, K, &kernel), PONS_OK);
    assert_int_equal(pons_bf16_workers_create(kernel, 1, &worker), PONS_OK);
    int64_t stride = (int64_t)pons_bf16_stride(kernel);
    uint8_t *packed = pons_mem_alloc(3 * TILES * stride, 1);
    float *x = pons_mem_alloc(TILES * BLOCK * K, sizeof *x),
          *Y = pons_mem_alloc(BLOCK * N, sizeof *Y);
    uint16_t *plain[3];
    for (int q = 0; q < 3; q++) {
        plain[q] = random_bits(TILES * N * K);
        for (int64_t t = 0; t < TILES; t++)
            assert_true(
                pons_bf16_pack(worker, plain[q] + t * N * K, packed + (q * TILES + t) * stride));
    }
    for (int64_t i = 0; i < TILES * BLOCK * K; i++)
        x[i] = uniform();
    for (size_t n = 0; n < sizeof of / sizeof *of; n++) {
        int p = of[n][0];
        int64_t bytes = (int64_t)pons_bf16_brought_bytes(kernel, p);
        uint8_t *left = pons_mem_alloc(TILES * bytes, 1);
        for (int64_t t = 0; t < TILES; t++)
            pons_bf16_bring(kernel, p, false, x + t * BLOCK * K, left + t * bytes);
        pons_bf16_sum s = {.blocks = 1, .tiles = TILES, .of_a = p, .of_b = of[n][1], .left = left};
        for (int q = 0; q < s.of_b; q++)
            s.B[q] = packed + q * TILES * stride;
        assert_true(pons_bf16_run_sum(worker, &s, Y));
        for (int64_t i = 0; i < BLOCK; i++)
            for (int64_t j = 0; j < N; j++) {
                double sum = 0, size = 0;
                for (int64_t t = 0; t < TILES; t++)
                    for (int64_t k = 0; k < K; k++) {
                        double rest = (double)x[(t * BLOCK + i) * K + k];
                        for (int a = 0; a < p; a++) {
                            double term = (double)pons_bf16_round((float)rest);
                            rest -= term;
                            for (int q = 0; a + q < s.of_b; q++) {
                                double v = term * (double)value(plain[q][(t * N + j) * K + k]);
                                sum += v;
                                size += fabs(v);
                            }
                        }
                    }
                close_enough(Y[i * N + j], sum, size, TILES * K * 6);
            }
        pons_mem_free(left);
    }
    for (int q = 0; q < 3; q++)
        pons_mem_free(plain[q]);
    pons_bf16_workers_destroy(1, &worker);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(packed), pons_mem_free(x), pons_mem_free(Y);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed),     cmocka_unit_test(rows_together), cmocka_unit_test(gram),
        cmocka_unit_test(entry_bits), cmocka_unit_test(packed_terms),  cmocka_unit_test(terms)};
    pons_mt19937_seed(&rng, 5);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
