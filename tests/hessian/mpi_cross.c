/*
 * The cross Hessian against a plain fp64 sum over windows, and the claim that its bits do not depend on
 * who holds which window: rank 0 alone sums all of them backwards and the bits must be the same.
 */
#include <math.h>
#include <string.h>

#include "base/mt19937.h"
#include "hessian/cross.h"
#include "kern/gemm.h"
#include "support/mpi_harness.h"

/* Widths of several tiles, of none that divides, and of one; tokens of more than one product. */
enum { WINDOWS = 7, TOKENS = 530, P = 83, D = 1101 };

/* Columns span ten orders of magnitude; one of them is dead. */
static void columns(uint32_t seed, int n, int dead, float *X)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, seed);
    for (int s = 0; s < TOKENS; s++)
        for (int j = 0; j < n; j++) {
            double u = pons_mt19937_next(&rng) / 4294967296.0 - 0.5;
            X[s * n + j] = j == dead ? 0.0f : (float)(u * pow(10.0, (j % 11) - 5));
        }
}

static void window(int t, float *A, float *X)
{
    columns(1000 + (uint32_t)t, P, 4, A);
    columns((uint32_t)t, D, 7, X);
}

static void accumulate(pons_comm *comm, int first, int last, int step, pons_cross *c)
{
    float *A = pons_mem_alloc(TOKENS * P, sizeof *A), *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    for (int t = first; t != last; t += step) {
        window(t, A, X);
        CHECK(pons_cross_observe(c, t, TOKENS, A, X) == PONS_OK);
    }
    pons_cross_agree(c, comm);
    for (int t = first; t != last; t += step) {
        window(t, A, X);
        CHECK(pons_cross_accumulate(c, TOKENS, A, X) == PONS_OK);
    }
    pons_cross_reduce(c, comm);
    pons_mem_free(A);
    pons_mem_free(X);
}

static void compare(const double *C, double tolerance)
{
    double *naive = pons_mem_calloc(P * D, sizeof *naive), *a = pons_mem_calloc(P, sizeof *a);
    double *x = pons_mem_calloc(D, sizeof *x), worst = 0;
    float *A = pons_mem_alloc(TOKENS * P, sizeof *A), *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    for (int t = 0; t < WINDOWS; t++) {
        window(t, A, X);
        for (int s = 0; s < TOKENS; s++) {
            for (int i = 0; i < P; i++)
                for (int j = 0; j < D; j++)
                    naive[i * D + j] += 2.0 / WINDOWS * A[s * P + i] * X[s * D + j];
            for (int i = 0; i < P; i++)
                a[i] += 2.0 / WINDOWS * A[s * P + i] * A[s * P + i];
            for (int j = 0; j < D; j++)
                x[j] += 2.0 / WINDOWS * X[s * D + j] * X[s * D + j];
        }
    }
    for (int i = 0; i < P; i++)
        for (int j = 0; j < D; j++) {
            double bound = sqrt(a[i] * x[j]), error = fabs(C[i * D + j] - naive[i * D + j]);
            if (bound > 0)
                worst = fmax(worst, error / bound);
            else
                CHECK(C[i * D + j] == 0);
        }
    CHECK(worst < tolerance);
    pons_mem_free(naive);
    pons_mem_free(a);
    pons_mem_free(x);
    pons_mem_free(A);
    pons_mem_free(X);
}

static void check(pons_comm *comm, bool bf16, double tolerance)
{
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    pons_cross *shared = NULL, *alone = NULL;
    CHECK(pons_cross_create(P, D, WINDOWS, bf16, &shared) == PONS_OK);
    accumulate(comm, (int)pons_share_begin(WINDOWS, size, rank),
               (int)pons_share_begin(WINDOWS, size, rank + 1), 1, shared);
    CHECK(pons_cross_create(P, D, WINDOWS, bf16, &alone) == PONS_OK);
    accumulate(comm, rank == 0 ? WINDOWS - 1 : 0, rank == 0 ? -1 : 0, -1, alone);
    CHECK(!memcmp(pons_cross_matrix(shared), pons_cross_matrix(alone), P * D * sizeof(double)));
    compare(pons_cross_matrix(shared), tolerance);
    pons_cross_destroy(&shared);
    pons_cross_destroy(&alone);
}

static void test(pons_comm *comm)
{
    check(comm, false, 2e-6); /* fp32 products over 37 tokens */
    /* each operand 2^-9 from what it is, 259 independent terms */
    if (pons_comm_all(comm, pons_kern_has_bf16())) check(comm, true, 4e-3);

    pons_cross *bad = NULL;
    float *A = pons_mem_alloc(TOKENS * P, sizeof *A), *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    window(0, A, X);
    A[3 * P + 5] = NAN;
    CHECK(pons_cross_create(P, D, WINDOWS, false, &bad) == PONS_OK);
    CHECK(pons_cross_observe(bad, 6, TOKENS, A, X) == PONS_ERR_NUMERIC);
    CHECK(strstr(pons_error_message(), "window 6: column 5"));
    pons_cross_destroy(&bad);
    pons_mem_free(A);
    pons_mem_free(X);
    CHECK(pons_mem_outstanding() == 0);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
