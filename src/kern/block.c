/* Small fp32 products in registers. Owns the micro-kernels; does not thread, pack or block for
 * cache: callers hand over blocks that fit. */
#include "kern/block.h"
#include "kern/simd.h"

/* R rows x V vectors of C stay in registers over the whole of K. */
#define KERNEL(name, R, V)                                                                         \
    static void name(int64_t K, const float *A, int64_t lda, const float *B, int64_t ldb,          \
                     float *C, int64_t ldc, bool add)                                              \
    {                                                                                              \
        pons_v16 c[R][V] = {{{0}}};                                                                \
        for (int r = 0; add && r < R; r++)                                                         \
            for (int v = 0; v < V; v++)                                                            \
                c[r][v] = pons_load(C + r * ldc + v * PONS_LANES);                                 \
        for (int64_t k = 0; k < K; k++) {                                                          \
            pons_v16 b[V];                                                                         \
            for (int v = 0; v < V; v++)                                                            \
                b[v] = pons_load(B + k * ldb + v * PONS_LANES);                                    \
            for (int r = 0; r < R; r++)                                                            \
                for (int v = 0; v < V; v++)                                                        \
                    c[r][v] = pons_fma16(b[v], A[r * lda + k], c[r][v]);                           \
        }                                                                                          \
        for (int r = 0; r < R; r++)                                                                \
            for (int v = 0; v < V; v++)                                                            \
                pons_store(C + r * ldc + v * PONS_LANES, c[r][v]);                                 \
    }

KERNEL(kernel_4x4, 4, 4)
KERNEL(kernel_4x1, 4, 1)
KERNEL(kernel_1x4, 1, 4)
KERNEL(kernel_1x1, 1, 1)

void pons_block_nn(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float *C, int64_t ldc, bool add)
{
    int64_t j = 0;
    for (int64_t width = 4 * PONS_LANES; width >= PONS_LANES; width -= 3 * PONS_LANES)
        for (; j + width <= N; j += width) {
            bool wide = width > PONS_LANES;
            int64_t i = 0;
            for (; i + 4 <= M; i += 4)
                (wide ? kernel_4x4 : kernel_4x1)(K, A + i * lda, lda, B + j, ldb, C + i * ldc + j,
                                                 ldc, add);
            for (; i < M; i++)
                (wide ? kernel_1x4 : kernel_1x1)(K, A + i * lda, lda, B + j, ldb, C + i * ldc + j,
                                                 ldc, add);
        }
    for (int64_t i = 0; i < M; i++)
        for (int64_t l = j; l < N; l++) {
            float c = add ? C[i * ldc + l] : 0.0f;
            for (int64_t k = 0; k < K; k++)
                c = pons_fma(B[k * ldb + l], A[i * lda + k], c);
            C[i * ldc + l] = c;
        }
}
