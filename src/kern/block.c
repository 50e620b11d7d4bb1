/* Small fp32 products in registers. Owns the micro-kernels; does not thread, pack or block for
 * cache: callers hand over blocks that fit. */
#include "kern/block.h"
#include "kern/simd.h"

/* Rows and vectors of C that stay in registers over the whole of K: as many as there are registers for, so that the
 * latency of a multiply-add is hidden and each load is used several times. */
#if PONS_WIDTH == 16
enum { ROWS = 4, VECTORS = 4 };
#else
enum { ROWS = 6, VECTORS = 2 };
#endif
enum { WIDE = VECTORS * PONS_WIDTH };

#define KERNEL(name, R, V)                                                                         \
    static void name(int64_t K, const float *A, int64_t lda, const float *B, int64_t ldb,          \
                     float *C, int64_t ldc, bool add)                                              \
    {                                                                                              \
        pons_vec c[R][V] = {{{0}}};                                                                \
        for (int r = 0; add && r < R; r++)                                                         \
            for (int v = 0; v < V; v++)                                                            \
                c[r][v] = pons_load(C + r * ldc + v * PONS_WIDTH);                                 \
        for (int64_t k = 0; k < K; k++) {                                                          \
            pons_vec b[V];                                                                         \
            for (int v = 0; v < V; v++)                                                            \
                b[v] = pons_load(B + k * ldb + v * PONS_WIDTH);                                    \
            for (int r = 0; r < R; r++) {                                                          \
                pons_vec a = pons_splat(A[r * lda + k]);                                           \
                for (int v = 0; v < V; v++)                                                        \
                    c[r][v] = pons_fma_vec(b[v], a, c[r][v]);                                      \
            }                                                                                      \
        }                                                                                          \
        for (int r = 0; r < R; r++)                                                                \
            for (int v = 0; v < V; v++)                                                            \
                pons_store(C + r * ldc + v * PONS_WIDTH, c[r][v]);                                 \
    }

typedef void kernel(int64_t K, const float *A, int64_t lda, const float *B, int64_t ldb, float *C,
                    int64_t ldc, bool add);

KERNEL(most_wide, ROWS, VECTORS)
KERNEL(four_wide, 4, VECTORS)
KERNEL(one_wide, 1, VECTORS)
KERNEL(most_narrow, ROWS, 1)
KERNEL(four_narrow, 4, 1)
KERNEL(one_narrow, 1, 1)

/* Rows of the next kernel where `left` are left: what remains at the end goes four at a time. */
static int64_t rows_of(int64_t left)
{
    if (left >= ROWS && left != 8) return ROWS;
    return left >= 4 ? 4 : 1;
}

void pons_block_nn(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float *C, int64_t ldc, bool add)
{
    int64_t j = 0;
    for (int64_t width = WIDE; width >= PONS_WIDTH; width -= WIDE - PONS_WIDTH)
        for (; j + width <= N; j += width) {
            bool wide = width > PONS_WIDTH;
            kernel *most = wide ? most_wide : most_narrow, *four = wide ? four_wide : four_narrow;
            kernel *one = wide ? one_wide : one_narrow;
            for (int64_t i = 0, rows; i < M; i += rows) {
                rows = rows_of(M - i);
                (rows == ROWS ? most
                 : rows == 4  ? four
                              : one)(K, A + i * lda, lda, B + j, ldb, C + i * ldc + j, ldc, add);
            }
        }
    for (int64_t i = 0; i < M; i++)
        for (int64_t l = j; l < N; l++) {
            float c = add ? C[i * ldc + l] : 0.0f;
            for (int64_t k = 0; k < K; k++)
                c = pons_fma(B[k * ldb + l], A[i * lda + k], c);
            C[i * ldc + l] = c;
        }
}
