/* Plain fp32 products in tiles over OpenMP. Owns pons_gemm_nt and pons_gemm_nn; packed weights are
 * matmul.c, sums of squares gram.c. The tiles depend on the shape alone, and each is one BLAS call
 * from inside a parallel region, where OpenBLAS does not thread. */
#include <cblas.h>
#include <limits.h>

#include "kern/gemm.h"
#include "kern/threads.h"

/* Rows and columns of a tile of C. */
enum { TILE = 256 };

static int narrow(int64_t n)
{
    PONS_ASSERT(n >= 0 && n <= INT_MAX);
    return (int)n;
}

static void product(CBLAS_TRANSPOSE transpose, int64_t M, int64_t N, int64_t K, float alpha,
                    const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C,
                    int64_t ldc)
{
    int64_t down = (M + TILE - 1) / TILE, across = (N + TILE - 1) / TILE;
    int64_t step =
        transpose == CblasTrans ? ldb : 1; /* from one column of the product to the next */
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t t = 0; t < down * across; t++) {
        int64_t i = t % down * TILE, j = t / down * TILE;
        int64_t m = M - i < TILE ? M - i : TILE, n = N - j < TILE ? N - j : TILE;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose, narrow(m), narrow(n), narrow(K), alpha,
                    A + i * lda, narrow(lda), B + j * step, narrow(ldb), beta, C + i * ldc + j,
                    narrow(ldc));
    }
}

void pons_gemm_nt(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
                  const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    product(CblasTrans, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
}

void pons_gemm_nn(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
                  const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    product(CblasNoTrans, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
}
