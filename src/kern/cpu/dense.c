/* Small dense algebra by BLAS and LAPACK. Owns the calls; a row-major upper triangle is their
 * column-major lower one. */
#include "kern/dense.h"

#include <cblas.h>
#include <math.h>

#include "kern/cpu/lapack.h"

int64_t pons_dense_factor(int64_t n, float *A, int64_t ld)
{
    int order = (int)n, lda = (int)ld, info = 0;
    spotrf_("L", &order, A, &lda, &info, 1);
    for (int64_t i = 0; info == 0 && i < n; i++) /* potrf lets a NaN pivot pass */
        if (!isfinite(A[i * ld + i])) info = (int)i + 1;
    return info;
}

void pons_dense_solve(int64_t n, const float *R, int64_t ld, float *x)
{
    cblas_strsv(CblasColMajor, CblasLower, CblasNoTrans, CblasNonUnit, (int)n, R, (int)ld, x, 1);
    pons_dense_solve_upper(n, R, ld, x);
}

void pons_dense_solve_upper(int64_t n, const float *R, int64_t ld, float *x)
{
    cblas_strsv(CblasColMajor, CblasLower, CblasTrans, CblasNonUnit, (int)n, R, (int)ld, x, 1);
}

void pons_dense_multiply(int64_t rows, int64_t columns, const float *A, int64_t ld, const float *x,
                         float *y)
{
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)rows, (int)columns, 1.0f, A, (int)ld, x, 1, 0.0f,
                y, 1);
}

void pons_dense_multiply_transposed(int64_t rows, int64_t columns, const float *A, int64_t ld,
                                    const float *x, float *y)
{
    cblas_sgemv(CblasRowMajor, CblasTrans, (int)rows, (int)columns, 1.0f, A, (int)ld, x, 1, 0.0f, y,
                1);
}

void pons_dense_multiply_gram(int64_t n, const float *U, int64_t ld, float *x)
{
    cblas_strmv(CblasRowMajor, CblasUpper, CblasNoTrans, CblasNonUnit, (int)n, U, (int)ld, x, 1);
    cblas_strmv(CblasRowMajor, CblasUpper, CblasTrans, CblasNonUnit, (int)n, U, (int)ld, x, 1);
}

int64_t pons_dense_tridiagonal(int64_t n, double *diagonal, double *beside, double *vectors,
                               double *work)
{
    int order = (int)n, info = 0;
    dstev_("V", &order, diagonal, beside, vectors, &order, work, &info, 1);
    return info;
}
