/* The operations on tiles of a Cholesky factorisation: products and solves by BLAS, the corner by
 * loops of its own, which are short. Owns no order of tiles. */
#include "kern/cholesky_tile.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

int64_t pons_cholesky_tile_factor(int64_t n, double *A, int64_t lda, double *column)
{
    for (int64_t j = 0; j < n; j++) {
        double pivot = A[j * lda + j];
        if (!(pivot > 0.0) || !isfinite(pivot)) return j + 1;
        pivot = sqrt(pivot);
        A[j * lda + j] = pivot;
        for (int64_t i = j + 1; i < n; i++) {
            double *a = A + i * lda, l = a[j] / pivot;
            column[i] = a[j] = l;
            for (int64_t k = j + 1; k <= i; k++)
                a[k] -= l * column[k];
        }
        for (int64_t i = 0; i < j; i++)
            A[i * lda + j] = 0.0;
    }
    return 0;
}

void pons_cholesky_tile_invert(int64_t n, const double *L, double *X, int64_t ld)
{
    memset(X, 0, (size_t)(ld * ld) * sizeof *X);
    for (int64_t i = 0; i < n; i++) {
        double *x = X + i * ld;
        for (int64_t k = 0; k < i; k++)
            for (int64_t j = 0; j <= k; j++)
                x[j] -= L[i * ld + k] * X[k * ld + j];
        for (int64_t j = 0; j < i; j++)
            x[j] /= L[i * ld + i];
        x[i] = 1.0 / L[i * ld + i];
    }
}

void pons_cholesky_tile_divide_right(int64_t m, int64_t n, const double *L, double *A, int64_t ld)
{
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)m, (int)n,
                1.0, L, (int)ld, A, (int)ld);
}

void pons_cholesky_tile_divide_left(int64_t m, int64_t n, const double *L, double *A, int64_t ld)
{
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, (int)m, (int)n,
                1.0, L, (int)ld, A, (int)ld);
}

void pons_cholesky_tile_update(int64_t m, int64_t n, int64_t k, const double *A, const double *B,
                               bool transposed, bool add, double *C, int64_t ld)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans, (int)m, (int)n,
                (int)k, -1.0, A, (int)ld, B, (int)ld, add ? 1.0 : 0.0, C, (int)ld);
}
