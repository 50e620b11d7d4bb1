/* Dead columns, damping and the one flipped Cholesky that gives U. Owns the tiled fp64 factorisation;
 * does not accumulate, sum or store Hessians. Specification 2.1, 3.4.
 *
 * With J the reversal of order, J H J = L L^T (L lower) is H = R R^T with R = J L J upper, and
 * U = R^-1 = J L^-1 J is upper with U^T U = H^-1. Work is cut into tiles of a fixed shape, each done
 * by one thread with single-threaded BLAS, so the bits do not depend on the number of threads. */
#include "hessian/factor.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

#define TILE 128

/* Unblocked Cholesky of the n x n lower triangle at A, zeros above it (the inversion multiplies by
 * whole tiles); 0, or the 1-based failing pivot. */
static int64_t cholesky_tile(int64_t n, double *A, int64_t lda)
{
    for (int64_t j = 0; j < n; j++) {
        double pivot = A[j * lda + j];
        for (int64_t k = 0; k < j; k++)
            pivot -= A[j * lda + k] * A[j * lda + k];
        if (!(pivot > 0.0) || !isfinite(pivot)) return j + 1;
        pivot = sqrt(pivot);
        A[j * lda + j] = pivot;
        for (int64_t i = j + 1; i < n; i++) {
            double sum = A[i * lda + j];
            for (int64_t k = 0; k < j; k++)
                sum -= A[i * lda + k] * A[j * lda + k];
            A[i * lda + j] = sum / pivot;
        }
        for (int64_t i = 0; i < j; i++)
            A[i * lda + j] = 0.0;
    }
    return 0;
}

static inline int64_t extent(int64_t d, int64_t tile)
{
    int64_t left = d - tile * TILE;
    return left < TILE ? left : TILE;
}

/* Lower triangle of A <- its Cholesky factor. */
static int64_t cholesky_lower(int64_t d, double *A)
{
    int64_t tiles = (d + TILE - 1) / TILE, info = 0;
#pragma omp parallel
    for (int64_t k = 0; k < tiles; k++) {
        double *diagonal = A + k * TILE * d + k * TILE;
        int64_t nk = extent(d, k), below = tiles - k - 1;
#pragma omp single
        {
            int64_t bad = info ? 0 : cholesky_tile(nk, diagonal, d);
            if (bad) info = k * TILE + bad;
        }
        if (info) continue; /* every thread sees it after the barrier of single; no work follows */
#pragma omp for schedule(dynamic)
        for (int64_t i = k + 1; i < tiles; i++)
            cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit,
                        (int)extent(d, i), (int)nk, 1.0, diagonal, (int)d,
                        A + i * TILE * d + k * TILE, (int)d);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < below * below; item++) {
            int64_t i = k + 1 + item / below, j = k + 1 + item % below;
            if (j > i) continue;
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)extent(d, i),
                        (int)extent(d, j), (int)nk, -1.0, A + i * TILE * d + k * TILE, (int)d,
                        A + j * TILE * d + k * TILE, (int)d, 1.0, A + i * TILE * d + j * TILE,
                        (int)d);
        }
    }
    return info;
}

/* Inverse of the n x n lower triangle at A, in place. */
static void invert_tile(int64_t n, double *A, int64_t lda)
{
    for (int64_t j = n - 1; j >= 0; j--) {
        double inverse = 1.0 / A[j * lda + j];
        A[j * lda + j] = inverse;
        for (int64_t i = n - 1; i > j; i--) {
            double sum = 0.0;
            for (int64_t k = j + 1; k <= i; k++)
                sum += A[i * lda + k] * A[k * lda + j];
            A[i * lda + j] = -sum * inverse;
        }
    }
}

/* Lower triangle of A <- its inverse, tile columns from the right. @param column [d, TILE] work */
static void invert_lower(int64_t d, double *A, double *column)
{
    int64_t tiles = (d + TILE - 1) / TILE;
#pragma omp parallel
    for (int64_t j = tiles - 1; j >= 0; j--) {
        int64_t nj = extent(d, j);
        double *diagonal = A + j * TILE * d + j * TILE;
#pragma omp single
        {
            for (int64_t i = (j + 1) * TILE; i < d; i++)
                memcpy(column + i * TILE, A + i * d + j * TILE, (size_t)nj * sizeof *A);
            invert_tile(nj, diagonal, d);
        }
        /* X_ij = -(sum over j < k <= i of X_ik L_kj) X_jj, with X_ik done in earlier rounds */
#pragma omp for schedule(dynamic)
        for (int64_t i = tiles - 1; i > j; i--) {
            double *target = A + i * TILE * d + j * TILE, sum[TILE * TILE];
            int64_t ni = extent(d, i), first = (j + 1) * TILE;
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)ni, (int)nj,
                        (int)(i * TILE + ni - first), -1.0, A + i * TILE * d + first, (int)d,
                        column + first * TILE, TILE, 0.0, sum, TILE);
            cblas_dtrmm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, (int)ni,
                        (int)nj, 1.0, diagonal, (int)d, sum, TILE);
            for (int64_t r = 0; r < ni; r++)
                memcpy(target + r * d, sum + r * TILE, (size_t)nj * sizeof *sum);
        }
    }
}

static bool all_finite(int64_t n, const double *x)
{
    bool finite = true;
    for (int64_t i = 0; i < n; i++)
        finite &= isfinite(x[i]) != 0;
    return finite;
}

pons_status pons_hessian_factor_create(int64_t d, const double *H, const double *norm,
                                       double percdamp, int64_t *info, pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *f = NULL;
    double *A = NULL, *column = NULL, mean = 0.0;
    *out = NULL;
    *info = 0;
    if (!all_finite(d * d, H) || !all_finite(d, norm)) {
        *info = -1;
        return PONS_OK;
    }
    PONS_CALLOC(st, f, 1);
    f->d = d;
    PONS_ALLOC(st, f->H, d * d);
    PONS_CALLOC(st, f->U, d * d);
    PONS_ALLOC(st, f->norm, d);
    PONS_ALLOC(st, f->dead, d);
    PONS_ALLOC(st, A, d * d);
    PONS_ALLOC(st, column, d * TILE);

    for (int64_t j = 0; j < d; j++) {
        double diagonal = H[j * d + j];
        f->dead[j] = diagonal == 0.0;
        f->dead_count += f->dead[j];
        f->norm[j] = (float)norm[j];
        mean += f->dead[j] ? 1.0 : diagonal;
    }
    f->damping = percdamp * (mean / (double)d);
#pragma omp parallel for
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double h = H[i * d + j];
            if (i == j) h = (f->dead[j] ? 1.0 : h) + f->damping;
            f->H[i * d + j] = (float)h;
            A[(d - 1 - i) * d + (d - 1 - j)] = h;
        }
    *info = cholesky_lower(d, A);
    if (*info) goto done;
    invert_lower(d, A, column);
#pragma omp parallel for
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = i; j < d; j++)
            f->U[i * d + j] = (float)A[(d - 1 - i) * d + (d - 1 - j)];
    for (int64_t j = 0; j < d && *info == 0; j++)
        if (!isfinite(f->U[j * d + j])) *info = -1;
    if (*info) goto done;
    *out = f;
    f = NULL;
done:
    pons_mem_free(column);
    pons_mem_free(A);
    pons_hessian_factor_destroy(&f);
    return st;
}

void pons_hessian_factor_destroy(pons_hessian_factor **factor)
{
    if (!*factor) return;
    pons_mem_free((*factor)->dead);
    pons_mem_free((*factor)->norm);
    pons_mem_free((*factor)->U);
    pons_mem_free((*factor)->H);
    pons_mem_free(*factor);
    *factor = NULL;
}
