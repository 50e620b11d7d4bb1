/* Products of a thread's rows: every kind against fp64, and the same bits for a row wherever it stands
 * and whatever its neighbours hold. */
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
#include "kern/gemm.h"
#include "kern/product.h"

enum { CAPACITY = 192 };

static float uniform(pons_mt19937 *rng)
{
    return (float)(pons_mt19937_next(rng) / 4294967296.0 - 0.5);
}

/* Where column j of a row stands. */
static int64_t place(pons_product_tiles of, int64_t row, int64_t j)
{
    return (j / of.width * CAPACITY + row) * of.width + j % of.width;
}

/* X is bits of bf16. */
static bool rounded(pons_product_kind kind)
{
    return kind == PONS_PRODUCT_BF16 || kind == PONS_PRODUCT_MIXED;
}

/* A row's columns into the layout of products. */
static void put(pons_product_kind kind, pons_product_tiles of, int64_t K, int64_t row,
                const float *x, void *X)
{
    for (int64_t j = 0; j < of.padded; j++) {
        float value = j < K ? x[j] : 0.0f;
        if (rounded(kind))
            ((uint16_t *)X)[place(of, row, j)] = (uint16_t)(pons_float_bits(value) >> 16);
        else
            ((float *)X)[place(of, row, j)] = value;
    }
}

static void check(pons_product_kind kind, int64_t d, int64_t k, int64_t K, int64_t n, int64_t N)
{
    enum { ROWS = 70 };
    static const double bound[] = {1e-6, 4e-3, 2e-5, 2e-5, 1e-6}; /* of |x| |S_j| */
    pons_product_tiles deep = pons_product_tiles_of(K), of = pons_product_tiles_of(N);
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, (uint32_t)(d + 7 * K + 31 * N));
    float *S = malloc((size_t)(d * d) * sizeof *S), *x = malloc((size_t)(ROWS * K) * sizeof *x);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++)
            S[i * d + j] = S[j * d + i] = uniform(&rng);
    for (int64_t i = 0; i < ROWS * K; i++) {
        x[i] = uniform(&rng);
        if (rounded(kind)) /* what its bits can hold */
            x[i] = pons_bits_float(pons_float_bits(x[i]) & 0xffff0000u);
    }
    void *X = calloc((size_t)(CAPACITY * deep.padded), sizeof(float));
    float *Y = calloc((size_t)(CAPACITY * of.padded), sizeof *Y);
    float *again = calloc((size_t)(CAPACITY * of.padded), sizeof *again);
    pons_product *product = NULL;
    pons_product_worker *worker = NULL;
    assert_int_equal(pons_product_create(kind, K, N, S, d, k, n, &product), PONS_OK);
    void *space = malloc(pons_product_space(product) + 64);
    assert_int_equal(pons_product_worker_create(product, CAPACITY, space, &worker), PONS_OK);
    for (int64_t i = 0; i < ROWS; i++)
        put(kind, deep, K, i, x + i * K, X);
    assert_true(pons_product_run(worker, kind, ROWS, X, Y));
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t j = 0; j < of.padded; j++) {
            double sum = 0.0, size = 0.0, column = 0.0;
            for (int64_t l = 0; l < K && j < N; l++) {
                double a = x[i * K + l], b = S[(k + l) * d + n + j];
                sum += a * b;
                size += a * a;
                column += b * b;
            }
            float got = Y[place(of, i, j)];
            assert_true(fabs(got - sum) <= bound[kind] * sqrt(size * column));
        }
    /* Other places, other neighbours, NaN among them. */
    static const int64_t to[] = {191, 0, 33, 64, 17, 130, 63};
    for (int64_t i = 0; i < CAPACITY * deep.padded; i++)
        if (rounded(kind))
            ((uint16_t *)X)[i] = 0x7fc0;
        else
            ((float *)X)[i] = NAN;
    for (int64_t i = 0; i < 7; i++)
        put(kind, deep, K, to[i], x + 10 * i * K, X);
    assert_true(pons_product_run(worker, kind, CAPACITY, X, again));
    for (int64_t i = 0; i < 7; i++)
        for (int64_t j = 0; j < N; j++)
            assert_memory_equal(again + place(of, to[i], j), Y + place(of, 10 * i, j),
                                sizeof(float));
    pons_product_worker_destroy(&worker);
    pons_product_destroy(&product);
    free(space);
    free(again);
    free(Y);
    free(X);
    free(x);
    free(S);
}

static void kinds(void **state)
{
    (void)state;
    for (int kind = 0; kind < (pons_kern_has_bf16() ? 5 : 1); kind++) {
        check((pons_product_kind)kind, 1, 0, 1, 0, 1);
        check((pons_product_kind)kind, 50, 0, 50, 0, 50);
        check((pons_product_kind)kind, 130, 3, 40, 43, 87);
        check((pons_product_kind)kind, 600, 0, 600, 0, 600);
        check((pons_product_kind)kind, 1300, 0, 700, 700, 600);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
