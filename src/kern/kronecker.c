/* Owns Kronecker transforms. What is transformed by which matrices is known to calib and rotate. */
#include "kern/kronecker.h"

#include <math.h>
#include <string.h>

#include "kern/block.h"
#include "kern/threads.h"

/* Rows of X multiplied with B at once, columns of X multiplied with A^T at once: a part of X is
 * copied aside, since the product goes where it was. */
enum { ROWS = 16, COLUMNS = 64 };

bool pons_kronecker_factors(int64_t d, int64_t *L, int64_t *R)
{
    if (d < 1 || d % 4 == 2) return false;
    int64_t u = (int64_t)sqrt((double)d);
    while (u * u < d)
        u++;
    for (;; u++) {
        int64_t v = (int64_t)(sqrt((double)(u * u - d)) + 0.5);
        if (v * v != u * u - d) continue;
        *L = u - v;
        *R = u + v;
        return *R <= PONS_KRONECKER_LARGEST;
    }
}

static void multiply_right(int64_t L, int64_t R, const float *B, float *x)
{
    float part[ROWS * PONS_KRONECKER_LARGEST];
    for (int64_t i = 0; i < L; i += ROWS) {
        int64_t n = L - i < ROWS ? L - i : ROWS;
        memcpy(part, x + i * R, (size_t)(n * R) * sizeof *x);
        pons_block_nn(n, R, R, part, R, B, R, x + i * R, R, false);
    }
}

static void multiply_left(int64_t L, int64_t R, const float *At, float *x)
{
    float part[PONS_KRONECKER_LARGEST * COLUMNS];
    for (int64_t j = 0; j < R; j += COLUMNS) {
        int64_t n = R - j < COLUMNS ? R - j : COLUMNS;
        for (int64_t i = 0; i < L; i++)
            memcpy(part + i * n, x + i * R + j, (size_t)n * sizeof *x);
        pons_block_nn(L, n, L, At, L, part, n, x + j, R, false);
    }
}

void pons_kronecker_rows(int64_t T, int64_t L, int64_t R, const float *At, const float *B, float *x,
                         int64_t ld)
{
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; t++) {
        if (B) multiply_right(L, R, B, x + t * ld);
        if (At) multiply_left(L, R, At, x + t * ld);
    }
}

void pons_kronecker_f64(int64_t L, int64_t R, const double *A, const double *B, double *w,
                        double *scratch)
{
    memset(scratch, 0, (size_t)(L * R) * sizeof *scratch);
    for (int64_t i = 0; i < L; i++) /* scratch = W B */
        for (int64_t k = 0; k < R; k++)
            for (int64_t j = 0; j < R; j++)
                scratch[i * R + j] += w[i * R + k] * B[k * R + j];
    memset(w, 0, (size_t)(L * R) * sizeof *w);
    for (int64_t i = 0; i < L; i++) /* w = A^T scratch */
        for (int64_t k = 0; k < L; k++)
            for (int64_t j = 0; j < R; j++)
                w[i * R + j] += A[k * L + i] * scratch[k * R + j];
}
