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
                        (pons_amx_works() ? 0 : 1e-5f * (float)K));
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
    assert_int_equal(pons_bf16_kernel_create(PONS_BF16_SUMMED, M, N, K, &kernel), PONS_OK);
    assert_int_equal(pons_bf16_workers_create(kernel, 1, &worker), PONS_OK);
    void *packed = pons_mem_alloc((int64_t)pons_bf16_packed_bytes(kernel), 1);
    assert_true(pons_bf16_pack(worker, B, packed));
    assert_true(pons_bf16_run(worker, A, packed, C));
    memcpy(D, C, (size_t)(M * N) * sizeof *C);
    assert_true(pons_bf16_run_add(worker, A, packed, D));
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
    uint8_t *operand = pons_mem_alloc(4 * bytes, 1);
    pons_bf16_take(kernel, tokens, columns, X, ld, scale, operand, operand + bytes);
    pons_bf16_take(kernel, tokens, columns, X, ld, scale, operand + 2 * bytes, NULL);
    pons_bf16_take(kernel, tokens, columns, X, ld, scale, NULL, operand + 3 * bytes);
    assert_memory_equal(operand, operand + 2 * bytes, 2 * bytes);
    assert_true(pons_bf16_run_gram(worker, false, upper, operand, operand + bytes, C));
    assert_true(pons_bf16_run_gram(worker, true, upper, operand, operand + bytes, C));
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

/* The same row and column inside a product of another shape, and deeper by zeros. */
static void entry_bits(void **state)
{
    (void)state;
    enum { M = 70, N = 90, K = 333, MORE = 1000 };
    if (!pons_amx_works()) skip();
    uint16_t *A = random_bits(M * K), *B = random_bits(N * K);
    uint16_t *deep = pons_mem_calloc(M * MORE, sizeof *deep);
    uint16_t *wide = pons_mem_calloc(N * MORE, sizeof *wide);
    uint16_t *packed = pons_mem_alloc((int64_t)pons_amx_bytes(N, MORE), 1);
    void *work = pons_mem_alloc((int64_t)pons_amx_work_bytes(), 1);
    float *C = pons_mem_alloc(M * N, sizeof *C), *D = pons_mem_alloc(M * N, sizeof *D), one;
    pons_amx_pack(N, K, B, packed);
    pons_amx_product(M, N, K, A, packed, C, false, work);
    for (int64_t i = 0; i < M; i++)
        memcpy(deep + i * MORE, A + i * K, K * sizeof *A);
    for (int64_t j = 0; j < N; j++)
        memcpy(wide + j * MORE, B + j * K, K * sizeof *B);
    pons_amx_pack(N, MORE, wide, packed);
    pons_amx_product(M, N, MORE, deep, packed, D, false, work);
    assert_memory_equal(C, D, M * N * sizeof *C);
    for (int64_t n = 0; n < 40; n++) {
        int64_t i = n * 31 % M, j = n * 47 % N;
        pons_amx_pack(1, K, B + j * K, packed);
        pons_amx_product(1, 1, K, A + i * K, packed, &one, false, work);
        assert_memory_equal(&one, C + i * N + j, sizeof one);
    }
    pons_mem_free(A), pons_mem_free(B), pons_mem_free(deep), pons_mem_free(wide);
    pons_mem_free(packed), pons_mem_free(work), pons_mem_free(C), pons_mem_free(D);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(packed), cmocka_unit_test(rows_together),
                                       cmocka_unit_test(gram), cmocka_unit_test(entry_bits)};
    pons_mt19937_seed(&rng, 5);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
