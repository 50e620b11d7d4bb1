/*
 * The Hessian against a plain fp64 sum over windows, and the claim that its bits do not depend on who
 * holds which window: rank 0 alone sums all of them in another order and the bits must be the same.
 */
#include <math.h>
#include <string.h>

#include "base/mt19937.h"
#include "hessian/accumulate.h"
#include "support/mpi_harness.h"

enum { WINDOWS = 11, TOKENS = 37, D = 83 };

/* Columns span ten orders of magnitude, as un-rotated activations do; column 7 is dead. */
static void window(int t, float *X)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, (uint32_t)t);
    for (int s = 0; s < TOKENS; s++)
        for (int j = 0; j < D; j++) {
            double u = pons_mt19937_next(&rng) / 4294967296.0 - 0.5;
            X[s * D + j] = j == 7 ? 0.0f : (float)(u * pow(10.0, (j % 11) - 5));
        }
}

static void accumulate(pons_comm *comm, int first, int last, int step, pons_hessian *h)
{
    float *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    for (int t = first; t != last; t += step) {
        window(t, X);
        CHECK(pons_hessian_observe(h, t, TOKENS, X) == PONS_OK);
    }
    CHECK(pons_hessian_agree(h, comm) == PONS_OK);
    for (int t = first; t != last; t += step) {
        window(t, X);
        CHECK(pons_hessian_add(h, TOKENS, X) == PONS_OK);
    }
    pons_mem_free(X);
}

static void test(pons_comm *comm)
{
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    pons_hessian *shared = NULL, *alone = NULL;
    CHECK(pons_hessian_create(D, WINDOWS, false, &shared) == PONS_OK);
    accumulate(comm, (int)pons_share_begin(WINDOWS, size, rank),
               (int)pons_share_begin(WINDOWS, size, rank + 1), 1, shared);
    CHECK(pons_hessian_reduce(shared, comm) == PONS_OK);

    /* The same windows all on rank 0, backwards; the other ranks hold none. */
    CHECK(pons_hessian_create(D, WINDOWS, false, &alone) == PONS_OK);
    accumulate(comm, rank == 0 ? WINDOWS - 1 : 0, rank == 0 ? -1 : 0, -1, alone);
    CHECK(pons_hessian_reduce(alone, comm) == PONS_OK);
    CHECK(!memcmp(pons_hessian_matrix(shared), pons_hessian_matrix(alone), D * D * sizeof(double)));
    CHECK(!memcmp(pons_hessian_norm(shared, false), pons_hessian_norm(alone, false),
                  D * sizeof(double)));
    CHECK(!memcmp(pons_hessian_norm(shared, true), pons_hessian_norm(alone, true),
                  D * sizeof(double)));

    const double *H = pons_hessian_matrix(shared);
    double *naive = pons_mem_calloc(D * D, sizeof *naive),
           *harmonic = pons_mem_calloc(D, sizeof *harmonic);
    float *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    for (int t = 0; t < WINDOWS; t++) {
        window(t, X);
        for (int s = 0; s < TOKENS; s++)
            for (int i = 0; i < D; i++) {
                for (int j = 0; j < D; j++)
                    naive[i * D + j] += 2.0 / WINDOWS * X[s * D + i] * X[s * D + j];
                harmonic[i] += (double)X[s * D + i] * X[s * D + i] / (t + 1);
            }
    }
    double worst = 0;
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) {
            double bound = sqrt(naive[i * D + i] * naive[j * D + j]);
            double error = fabs(H[i * D + j] - naive[i * D + j]);
            if (bound > 0)
                worst = fmax(worst, error / bound);
            else
                CHECK(H[i * D + j] == 0);
        }
    CHECK(worst < 2e-6); /* fp32 products over 37 tokens */
    for (int j = 0; j < D; j++) {
        CHECK(fabs(pons_hessian_norm(shared, true)[j] - harmonic[j]) <= 1e-9 * harmonic[j]);
        CHECK(fabs(pons_hessian_norm(shared, false)[j] - naive[j * D + j] / 2) <=
              1e-9 * naive[j * D + j]);
    }

    /* NaN on the last rank only: everyone leaves with the same sentence. */
    pons_hessian *bad = NULL;
    CHECK(pons_hessian_create(D, WINDOWS, false, &bad) == PONS_OK);
    window(0, X);
    if (rank == size - 1) X[3 * D + 5] = NAN;
    CHECK(pons_hessian_observe(bad, rank, TOKENS, X) == PONS_OK);
    CHECK(pons_hessian_agree(bad, comm) == PONS_ERR_NUMERIC);
    CHECK(strstr(pons_error_message(), "column 5"));
    pons_hessian_destroy(&bad);

    pons_hessian_destroy(&shared);
    pons_hessian_destroy(&alone);
    pons_mem_free(naive);
    pons_mem_free(harmonic);
    pons_mem_free(X);
}

/* Scales guessed from window 0: the sums are those of scales that were agreed on, as far as fp32 products
 * tell, and do not depend on who holds what; a window far larger than the first is noticed. */
static void test_guess(pons_comm *comm)
{
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    int first = (int)pons_share_begin(WINDOWS, size, rank);
    int last = (int)pons_share_begin(WINDOWS, size, rank + 1);
    pons_hessian *agreed = NULL, *guessed[2] = {NULL, NULL};
    float *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    CHECK(pons_hessian_create(D, WINDOWS, false, &agreed) == PONS_OK);
    accumulate(comm, first, last, 1, agreed);
    CHECK(pons_hessian_reduce(agreed, comm) == PONS_OK);
    for (int k = 0; k < 2; k++) { /* all ranks; this one alone */
        pons_comm *of = k ? pons_par_alone() : comm;
        CHECK(pons_hessian_create(D, WINDOWS, false, &guessed[k]) == PONS_OK);
        for (int t = k ? 0 : first; t < (k ? WINDOWS : last); t++) {
            window(t, X);
            CHECK(pons_hessian_observe(guessed[k], t, TOKENS, X) == PONS_OK);
            if (t == (k ? 0 : first)) pons_hessian_estimate_scales(guessed[k], of, 0);
            CHECK(pons_hessian_add(guessed[k], TOKENS, X) == PONS_OK);
        }
        if (!k && first == last) pons_hessian_estimate_scales(guessed[k], of, 0);
        CHECK(pons_hessian_fits(guessed[k], of));
        CHECK(pons_hessian_reduce(guessed[k], of) == PONS_OK);
    }
    const double *A = pons_hessian_matrix(agreed), *G = pons_hessian_matrix(guessed[0]);
    CHECK(!memcmp(G, pons_hessian_matrix(guessed[1]), D * D * sizeof *G));
    CHECK(!memcmp(pons_hessian_norm(guessed[0], true), pons_hessian_norm(guessed[1], true),
                  D * sizeof *G));
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++)
            CHECK(fabs(A[i * D + j] - G[i * D + j]) <= 1e-6 * sqrt(A[i * D + i] * A[j * D + j]));

    /* Then a window a thousand times as large, on the last rank. */
    window(1, X);
    for (int i = 0; i < TOKENS * D; i++)
        X[i] *= 1000;
    if (rank == size - 1) CHECK(pons_hessian_observe(guessed[0], WINDOWS, TOKENS, X) == PONS_OK);
    CHECK(!pons_hessian_fits(guessed[0], comm));
    for (int k = 0; k < 2; k++)
        pons_hessian_destroy(&guessed[k]);
    pons_hessian_destroy(&agreed);
    pons_mem_free(X);
}

static void test_all(pons_comm *comm)
{
    test(comm);
    test_guess(comm);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test_all); }
