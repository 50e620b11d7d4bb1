/* Small dense algebra, tiles of a factorisation and sums over vectors, against their definitions in fp64. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mt19937.h"
#include "kern/cholesky_tile.h"
#include "kern/dense.h"
#include "kern/vector.h"

enum { N = 23, LD = 27 };

static double draw(pons_mt19937 *rng)
{
    return (double)pons_mt19937_next(rng) / 4294967296.0 * 2.0 - 1.0;
}

/* A positive definite matrix [N, N], and x. */
static void make_problem(uint32_t seed, double *A, double *x)
{
    double X[3 * N][N];
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, seed);
    for (int t = 0; t < 3 * N; t++)
        for (int j = 0; j < N; j++)
            X[t][j] = draw(&rng);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            A[i * N + j] = i == j ? 0.5 : 0.0;
            for (int t = 0; t < 3 * N; t++)
                A[i * N + j] += X[t][i] * X[t][j];
        }
    for (int j = 0; j < N; j++)
        x[j] = draw(&rng);
}

static void assert_near(int n, const float *got, const double *want)
{
    double size = 0.0;
    for (int i = 0; i < n; i++)
        size = fmax(size, fabs(want[i]));
    for (int i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= 1e-4 * size))
            fail_msg("entry %d: %g, expected %g", i, (double)got[i], want[i]);
}

/* b = A x, or A^T x of the upper triangle of A alone. */
static void multiply(const double *A, bool upper, bool transposed, const double *x, double *b)
{
    for (int i = 0; i < N; i++) {
        b[i] = 0.0;
        for (int j = 0; j < N; j++) {
            int r = transposed ? j : i, c = transposed ? i : j;
            if (!upper || c >= r) b[i] += A[r * N + c] * x[j];
        }
    }
}

static void solves(void **state)
{
    (void)state;
    double A[N * N], x[N], b[N], R[N * N];
    float F[N * LD], v[N];
    make_problem(3, A, x);
    for (int i = 0; i < N * LD; i++)
        F[i] = 77.0f; /* below the diagonal: neither read nor written */
    for (int i = 0; i < N; i++)
        for (int j = i; j < N; j++)
            F[i * LD + j] = (float)A[i * N + j];
    assert_int_equal(pons_dense_factor(N, F, LD), 0);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            if (j < i) assert_true(F[i * LD + j] == 77.0f);
            R[i * N + j] = j < i ? 0.0 : (double)F[i * LD + j];
        }
    for (int i = 0; i < N; i++) /* A = R^T R */
        for (int j = 0; j < N; j++) {
            double sum = 0.0;
            for (int k = 0; k < N; k++)
                sum += R[k * N + i] * R[k * N + j];
            assert_true(fabs(sum - A[i * N + j]) < 1e-4 * A[i * N + i]);
        }
    multiply(A, false, false, x, b);
    for (int i = 0; i < N; i++)
        v[i] = (float)b[i];
    pons_dense_solve(N, F, LD, v);
    assert_near(N, v, x);
    multiply(R, true, false, x, b);
    for (int i = 0; i < N; i++)
        v[i] = (float)b[i];
    pons_dense_solve_upper(N, F, LD, v);
    assert_near(N, v, x);
}

static void products(void **state)
{
    (void)state;
    enum { ROWS = 9 };
    double A[N * N], x[N], b[N], c[N] = {0};
    float F[N * LD], v[N], y[N];
    make_problem(4, A, x);
    for (int i = 0; i < N; i++) {
        v[i] = (float)x[i];
        for (int j = 0; j < N; j++)
            F[i * LD + j] = (float)A[i * N + j];
    }
    multiply(A, false, false, x, b);
    pons_dense_multiply(ROWS, N, F, LD, v, y);
    assert_near(ROWS, y, b);
    for (int j = 0; j < N; j++)
        for (int i = 0; i < ROWS; i++)
            c[j] += A[i * N + j] * x[i];
    pons_dense_multiply_transposed(ROWS, N, F, LD, v, y);
    assert_near(N, y, c);
    multiply(A, true, false, x, b);
    multiply(A, true, true, b, c);
    pons_dense_multiply_gram(N, F, LD, v);
    assert_near(N, v, c);
}

static void indefinite_matrices(void **state)
{
    (void)state;
    float F[4] = {1.0f, 2.0f, 0.0f, 1.0f}, G[4] = {NAN, 0.0f, 0.0f, 1.0f};
    double D[4] = {4.0, 0.0, 2.0, 1.0}, column[2];
    assert_int_equal(pons_dense_factor(2, F, 2), 2);
    assert_int_equal(pons_dense_factor(2, G, 2), 1);
    assert_int_equal(pons_cholesky_tile_factor(2, D, 2, column), 2);
}

/* Values and vectors of a tridiagonal matrix T: T v = value v. */
static void tridiagonal(void **state)
{
    (void)state;
    double T[N * N] = {0}, value[N], beside[N], vectors[N * N], work[2 * N];
    for (int i = 0; i < N; i++) {
        T[i * N + i] = value[i] = 1.0 + 0.1 * (i % 5);
        beside[i] = 0.3 + 0.05 * (i % 3);
        if (i + 1 < N) T[i * N + i + 1] = T[(i + 1) * N + i] = beside[i];
    }
    assert_int_equal(pons_dense_tridiagonal(N, value, beside, vectors, work), 0);
    for (int k = 0; k < N; k++) {
        double b[N];
        assert_true(k == 0 || value[k - 1] <= value[k]);
        multiply(T, false, false, vectors + k * N, b);
        for (int i = 0; i < N; i++)
            assert_true(fabs(b[i] - value[k] * vectors[k * N + i]) < 1e-13);
    }
}

/* Two tile columns of a factorisation by hand: L of [[A, .], [B, C]] and its inverse. */
static void tiles(void **state)
{
    (void)state;
    enum { M = 11, K = N - M };
    double A[N * N], x[N], L[N * N], column[N], X[N * N], B[N * N];
    make_problem(5, A, x);
    memcpy(L, A, sizeof A);
    assert_int_equal(pons_cholesky_tile_factor(M, L, N, column), 0);
    pons_cholesky_tile_divide_right(K, M, L, L + M * N, N);
    pons_cholesky_tile_update(K, K, M, L + M * N, L + M * N, true, true, L + M * N + M, N);
    assert_int_equal(pons_cholesky_tile_factor(K, L + M * N + M, N, column), 0);
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0.0;
            for (int k = 0; k <= j; k++)
                sum += L[i * N + k] * L[j * N + k];
            assert_true(fabs(sum - A[i * N + j]) < 1e-12 * A[i * N + i]);
        }
    pons_cholesky_tile_invert(M, L, X, N);
    memset(B, 0, sizeof B);
    pons_cholesky_tile_update(M, M, M, L, X, false, false, B, N); /* - L X */
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++)
            assert_true(fabs(B[i * N + j] + (i == j)) < 1e-13);
    pons_cholesky_tile_divide_left(M, M, L, B, N); /* - L^-1 */
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++)
            assert_true(fabs(B[i * N + j] + X[i * N + j]) < 1e-12);
}

static void vectors(void **state)
{
    (void)state;
    enum { D = 48 };
    float a[D + 3], w[D], v[D], norm[3];
    double dot = 0.0, square = 0.0, weighted = 0.0, twice = 0.0, got[2];
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 6);
    for (int j = 0; j < D + 3; j++)
        a[j] = (float)draw(&rng);
    for (int j = 0; j < D; j++) {
        w[j] = (float)draw(&rng);
        v[j] = (float)draw(&rng);
        double x = (double)a[j] * w[j];
        square += (double)a[j] * a[j];
        weighted += x * x;
        twice += x * v[j] * x * v[j];
    }
    for (int j = 0; j < 37; j++)
        dot += (double)a[j] * a[j + 5];
    assert_true(fabs(pons_vector_dot(37, a, a + 5) - dot) < 1e-14);
    assert_true(fabs(pons_vector_square(D, a) - square) < 1e-5);
    assert_true(fabs(pons_vector_weighted_square(D, a, w) - weighted) < 1e-5);
    pons_vector_weighted_squares(D, a, w, v, got);
    assert_true(fabs(got[0] - weighted) < 1e-5 && fabs(got[1] - twice) < 1e-5);
    pons_row_norms(3, 17, a, norm);
    for (int i = 0; i < 3; i++) {
        double sum = 0.0;
        for (int j = 17 * i; j < 17 * i + 17; j++)
            sum += (double)a[j] * a[j];
        assert_true(fabs(norm[i] - sqrt(sum)) < 1e-6);
    }
    float out[D], want[D];
    for (int j = 0; j < D; j++)
        want[j] = (a[j] - w[j]) / v[j] * w[j] + a[j];
    pons_vector_subtract(D, a, w, out);
    pons_vector_divide(D, out, v, out);
    pons_vector_multiply(D, out, w, out);
    pons_vector_add(D, a, out);
    assert_memory_equal(out, want, sizeof want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solves),      cmocka_unit_test(products),
        cmocka_unit_test(tridiagonal), cmocka_unit_test(indefinite_matrices),
        cmocka_unit_test(tiles),       cmocka_unit_test(vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
