/* Kronecker factors of the widths in the specification, transforms and dense products against
 * entry-by-entry sums in fp64, and bits that do not depend on threads. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/dense_f64.h"
#include "kern/gemm.h"
#include "kern/kronecker.h"

static float *draw(pons_mt19937 *rng, int64_t n)
{
    float *x = pons_mem_alloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)pons_mt19937_next(rng) / 2147483648.0f - 1;
    return x;
}

/* Specification 5.4. */
static void factors(void **state)
{
    (void)state;
    static const int64_t known[][3] = {{3584, 56, 64},    {4096, 64, 64},    {5120, 64, 80},
                                       {8192, 64, 128},   {11008, 86, 128},  {13824, 108, 128},
                                       {14336, 112, 128}, {18944, 128, 148}, {27648, 144, 192},
                                       {28672, 128, 224}, {96, 8, 12},       {1, 1, 1}};
    int64_t L, R;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_true(pons_kronecker_factors(known[i][0], &L, &R));
        assert_true(L == known[i][1] && R == known[i][2]);
    }
    assert_false(pons_kronecker_factors(1022, &L, &R)); /* 2 mod 4: no difference of squares */
    assert_false(pons_kronecker_factors(1031, &L, &R)); /* a prime: 1 x 1031 */
    assert_false(pons_kronecker_factors(0, &L, &R));
}

/* sum over a, b of A[a][i] X[a][b] B[b][j] */
static double entry(int64_t L, int64_t R, const float *At, const float *B, const float *x,
                    int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t a = 0; a < L; a++)
        for (int64_t b = 0; b < R; b++)
            sum += (At ? (double)At[i * L + a] : i == a) * x[a * R + b] *
                   (B ? (double)B[b * R + j] : b == j);
    return sum;
}

static void transforms(void **state)
{
    (void)state;
    enum { T = 3 };
    static const int64_t shapes[][2] = {{8, 12}, {1, 5}, {17, 3}, {24, 65}, {33, 16}};
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 4);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int64_t L = shapes[s][0], R = shapes[s][1], ld = L * R + 2;
        float *At = draw(&rng, L * L), *B = draw(&rng, R * R), *x = draw(&rng, T * ld);
        float *y = pons_mem_alloc(T * ld, sizeof *y), *z = pons_mem_alloc(T * ld, sizeof *z);
        for (int sides = 1; sides < 4; sides++) {
            const float *left = sides & 1 ? At : NULL, *right = sides & 2 ? B : NULL;
            memcpy(y, x, (size_t)(T * ld) * sizeof *y);
            memcpy(z, x, (size_t)(T * ld) * sizeof *z);
            omp_set_num_threads(1);
            pons_kronecker_rows(T, L, R, left, right, y, ld);
            omp_set_num_threads(3);
            pons_kronecker_rows(T, L, R, left, right, z, ld);
            assert_memory_equal(y, z, (size_t)(T * ld) * sizeof *y);
            for (int64_t t = 0; t < T; t++) {
                for (int64_t i = 0; i < L; i++)
                    for (int64_t j = 0; j < R; j++)
                        assert_true(fabs(y[t * ld + i * R + j] -
                                         entry(L, R, left, right, x + t * ld, i, j)) < 1e-4);
                for (int64_t k = L * R; k < ld; k++) /* what lies between tokens stays */
                    assert_true(y[t * ld + k] == x[t * ld + k]);
            }
        }
        void *all[] = {At, B, x, y, z};
        for (int i = 0; i < 5; i++)
            pons_mem_free(all[i]);
    }
}

static void transforms_f64(void **state)
{
    (void)state;
    enum { L = 5, R = 7 };
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 5);
    float *a = draw(&rng, L * L), *b = draw(&rng, R * R), *x = draw(&rng, L * R);
    float at[L * L];
    double A[L * L], B[R * R], w[L * R], scratch[L * R];
    for (int i = 0; i < L * L; i++) {
        A[i] = a[i];
        at[i % L * L + i / L] = a[i];
    }
    for (int i = 0; i < R * R; i++)
        B[i] = b[i];
    for (int i = 0; i < L * R; i++)
        w[i] = x[i];
    pons_kronecker_f64(L, R, A, B, w, scratch);
    for (int i = 0; i < L * R; i++)
        assert_true(fabs(w[i] - entry(L, R, at, b, x, i / R, i % R)) < 1e-13);
    pons_mem_free(x);
    pons_mem_free(b);
    pons_mem_free(a);
}

/* Rows and columns of one matrix as vectors. */
static void dense_products(void **state)
{
    (void)state;
    enum { N = 19, COUNT = 70 };
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 6);
    float *q = draw(&rng, N * N), *x = draw(&rng, N * COUNT);
    float *y = pons_mem_alloc(N * COUNT, sizeof *y), *one = pons_mem_alloc(N, sizeof *one);
    double Q[N * N];
    for (int i = 0; i < N * N; i++)
        Q[i] = q[i];
    for (int columns = 0; columns < 2; columns++) {
        int64_t vector = columns ? 1 : N, step = columns ? COUNT : 1;
        memcpy(y, x, N * COUNT * sizeof *y);
        assert_int_equal(pons_dense_vectors_f64(Q, N, y, COUNT, vector, step), PONS_OK);
        for (int64_t r = 0; r < COUNT; r++) {
            for (int64_t j = 0; j < N; j++) {
                double sum = 0;
                for (int64_t i = 0; i < N; i++)
                    sum += (double)x[r * vector + i * step] * Q[i * N + j];
                assert_true(fabs(y[r * vector + j * step] - sum) < 1e-6);
            }
            if (r % 23) continue;
            for (int64_t i = 0; i < N; i++) /* the bits of a vector do not depend on the others */
                one[i] = x[r * vector + i * step];
            assert_int_equal(pons_dense_vectors_f64(Q, N, one, 1, N, 1), PONS_OK);
            for (int64_t i = 0; i < N; i++)
                assert_true(one[i] == y[r * vector + i * step]);
        }
    }
    void *all[] = {q, x, y, one};
    for (int i = 0; i < 4; i++)
        pons_mem_free(all[i]);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(factors), cmocka_unit_test(transforms),
                                       cmocka_unit_test(transforms_f64),
                                       cmocka_unit_test(dense_products)};
    pons_kern_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
