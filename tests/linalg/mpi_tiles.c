/*
 * The inverse factor: X A X^T = I, the same bits as one rank alone and at any thread count, the same
 * values as ScaLAPACK; matrices that are not positive definite are told apart on every rank.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mt19937.h"
#include "linalg/scalapack.h"
#include "support/mpi_harness.h"

/* A = S + d on the diagonal, S symmetric in [-1, 1]. The same on every rank. */
static double *make(int64_t d)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, (uint32_t)d);
    double *A = pons_mem_alloc(d * d, sizeof *A);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++)
            A[i * d + j] = A[j * d + i] =
                pons_mt19937_next(&rng) / 2147483648.0 - 1 + (i == j ? (double)d : 0);
    return A;
}

static void put(pons_tiles *t, int64_t d, const double *A)
{
    int64_t b = pons_tiles_side(d), n = (d + b - 1) / b;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double *tile = pons_tiles_at(t, i, j);
            for (int64_t r = 0; tile && r < b && i * b + r < d; r++)
                for (int64_t c = 0; c < b && j * b + c < d; c++)
                    tile[r * b + c] = A[(i * b + r) * d + j * b + c];
        }
}

typedef struct taken {
    int64_t d;
    double *X; /* [d, d] */
} taken;

static void take(void *user, int64_t i, int64_t j, const double *X)
{
    taken *to = user;
    int64_t b = pons_tiles_side(to->d);
    for (int64_t r = 0; r < b && i * b + r < to->d; r++)
        for (int64_t c = 0; c < b && j * b + c < to->d; c++)
            to->X[(i * b + r) * to->d + j * b + c] = X[r * b + c];
}

static double *inverse_factor(pons_comm *comm, int64_t d, const double *A)
{
    taken to = {d, pons_mem_calloc(d * d, sizeof(double))};
    pons_tiles *t = NULL;
    int64_t info = -7;
    CHECK(pons_tiles_create(comm, d, &t) == PONS_OK);
    put(t, d, A);
    CHECK(pons_tiles_invert_factor(t, take, &to, &info) == PONS_OK && info == 0);
    pons_tiles_destroy(&t);
    return to.X;
}

/* max |X A X^T - I| */
static double residual(int64_t d, const double *X, const double *A)
{
    double worst = 0, *y = pons_mem_alloc(d, sizeof *y);
    for (int64_t i = 0; i < d; i++) {
        memset(y, 0, (size_t)d * sizeof *y);
        for (int64_t k = 0; k <= i; k++)
            for (int64_t j = 0; j < d; j++)
                y[j] += X[i * d + k] * A[k * d + j];
        for (int64_t j = 0; j < d; j++) {
            double sum = -(i == j);
            for (int64_t k = 0; k < d; k++)
                sum += y[k] * X[j * d + k];
            worst = fmax(worst, fabs(sum));
        }
    }
    pons_mem_free(y);
    return worst;
}

static void test_scalapack(pons_comm *comm, int64_t d, const double *A, const double *X)
{
    pons_tiles *t = NULL;
    double seconds[2], worst = 0;
    int64_t info = -7, b = pons_tiles_side(d), n = (d + b - 1) / b;
    CHECK(pons_tiles_create(comm, d, &t) == PONS_OK);
    put(t, d, A);
    CHECK(pons_scalapack_invert_factor(t, seconds, &info) == PONS_OK && info == 0);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            const double *tile = pons_tiles_at(t, i, j);
            for (int64_t r = 0; tile && r < b && i * b + r < d; r++)
                for (int64_t c = 0; c < b && j * b + c < d; c++)
                    worst = fmax(worst, fabs(tile[r * b + c] - X[(i * b + r) * d + j * b + c]));
        }
    CHECK(worst < 1e-14);
    pons_tiles_destroy(&t);
}

static void test_refusals(pons_comm *comm)
{
    int64_t d = 300, info;
    double *A = make(d);
    static const double bad[] = {-1.0, NAN, INFINITY};
    for (int k = 0; k < 3; k++) {
        pons_tiles *t = NULL;
        CHECK(pons_tiles_create(comm, d, &t) == PONS_OK);
        A[200 * d + 200] = bad[k];
        put(t, d, A);
        CHECK(pons_tiles_invert_factor(t, NULL, NULL, &info) == PONS_OK);
        CHECK(info == 201);
        pons_tiles_destroy(&t);
    }
    pons_mem_free(A);
}

static void test(pons_comm *comm)
{
    static const int64_t widths[] = {1, 50, 128, 129, 500};
    int ranks = pons_comm_size(comm), before = omp_get_max_threads();
    for (size_t k = 0; k < sizeof widths / sizeof *widths; k++) {
        int64_t d = widths[k];
        double *A = make(d), *X = inverse_factor(comm, d, A);
        CHECK(residual(d, X, A) < 1e-12);
        omp_set_num_threads(2);
        double *alone = inverse_factor(pons_par_alone(), d, A);
        omp_set_num_threads(before);
        CHECK(!memcmp(X, alone, (size_t)(d * d) * sizeof *X));
        if (pons_scalapack_is_built()) test_scalapack(comm, d, A, X);
        pons_mem_free(alone);
        pons_mem_free(X);
        pons_mem_free(A);
    }
    test_refusals(comm);

    /* What a plan counts on: the shares of all ranks, and no rank far above the mean. */
    int64_t b = pons_tiles_side(28672), n = 28672 / b;
    double mean = (double)(n * (n + 1) / 2 * b * b) * sizeof(double) / ranks;
    CHECK((double)pons_tiles_bytes(28672, ranks) >= mean);
    CHECK((double)pons_tiles_bytes(28672, ranks) < 1.05 * mean);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
