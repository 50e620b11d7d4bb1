/* Fast Hadamard transforms. Owns the butterflies and the mixing with H_K; the matrices H_K come
 * from hadamard_matrix.c.
 *
 * A vector of length n = K m is seen as [K, m]: butterflies along m, then H_K from the left. */
#include <math.h>
#include <string.h>

#include "kern/block.h"
#include "kern/hadamard.h"
#include "kern/hadamard_matrix.h"
#include "kern/simd.h"
#include "kern/threads.h"

/* Columns of [K, N] mixed at once: K of them fit in L1 (172 x 64 x 4 bytes = 44 KiB). */
enum { MIX_COLUMNS = 64 };

/* Floats whose first strides need no memory. */
enum { IN_REGISTERS = 4 * PONS_LANES };

/* a or -a, plus b: the product is exact, so that it may be fused. */
static pons_v16 add_signed(pons_v16 a, pons_v16 sign, pons_v16 b)
{
#ifdef __AVX512F__
    return (pons_v16)_mm512_fmadd_ps((__m512)a, (__m512)sign, (__m512)b);
#else
    return a * sign + b;
#endif
}

/* Strides 1, 2, 4 and 8 inside one vector of sixteen. */
static pons_v16 butterflies_in_vector(pons_v16 v)
{
    static const pons_v16 sign1 = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
    static const pons_v16 sign2 = {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
    static const pons_v16 sign4 = {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1};
    static const pons_v16 sign8 = {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1};
    v = add_signed(
        v, sign1,
        __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    v = add_signed(
        v, sign2,
        __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    v = add_signed(
        v, sign4,
        __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    return add_signed(
        v, sign8,
        __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
}

/* Strides 1 to 32 of IN_REGISTERS floats. */
static void butterflies_in_registers(float *x)
{
    pons_v16 a = butterflies_in_vector(pons_load(x));
    pons_v16 b = butterflies_in_vector(pons_load(x + PONS_LANES));
    pons_v16 c = butterflies_in_vector(pons_load(x + 2 * PONS_LANES));
    pons_v16 d = butterflies_in_vector(pons_load(x + 3 * PONS_LANES));
    pons_v16 p = a + b, q = a - b, r = c + d, s = c - d;
    pons_store(x, p + r);
    pons_store(x + PONS_LANES, q + s);
    pons_store(x + 2 * PONS_LANES, p - r);
    pons_store(x + 3 * PONS_LANES, q - s);
}

/* a, b <- a + b, a - b over n floats. */
static void butterfly(float *restrict a, float *restrict b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float u = a[i], w = b[i];
        a[i] = u + w;
        b[i] = u - w;
    }
}

/* Two stages at once on four arrays. */
static void butterfly_pair(float *restrict a, float *restrict b, float *restrict c,
                           float *restrict d, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float p = a[i] + b[i], q = a[i] - b[i], r = c[i] + d[i], s = c[i] - d[i];
        a[i] = p + r;
        b[i] = q + s;
        c[i] = p - r;
        d[i] = q - s;
    }
}

/* Unnormalised Walsh-Hadamard transform along the first index of x [m, width], m a power of two. */
static void walsh(float *x, int64_t m, int64_t width)
{
    int64_t h = 1;
    if (width == 1 && m >= IN_REGISTERS) {
        for (int64_t i = 0; i < m; i += IN_REGISTERS)
            butterflies_in_registers(x + i);
        h = IN_REGISTERS;
    } else if (width == 1 && m >= PONS_LANES) {
        for (int64_t i = 0; i < m; i += PONS_LANES)
            pons_store(x + i, butterflies_in_vector(pons_load(x + i)));
        h = PONS_LANES;
    }
    for (; 4 * h <= m; h *= 4)
        for (int64_t i = 0; i < m; i += 4 * h) {
            float *a = x + i * width;
            int64_t n = h * width;
            butterfly_pair(a, a + n, a + 2 * n, a + 3 * n, n);
        }
    for (; 2 * h <= m; h *= 2)
        for (int64_t i = 0; i < m; i += 2 * h)
            butterfly(x + i * width, x + (i + h) * width, h * width);
}

/* x [K, N] <- scale H_K x. */
static void mix(float *x, int K, int64_t N, float scale)
{
    float part[PONS_HADAMARD_LARGEST * MIX_COLUMNS];
    const float *H = pons_hadamard_matrix_float(K);
    if (K == 1) {
        for (int64_t i = 0; i < N; i++)
            x[i] *= scale;
        return;
    }
    for (int64_t j = 0; j < N; j += MIX_COLUMNS) {
        int64_t n = N - j < MIX_COLUMNS ? N - j : MIX_COLUMNS;
        for (int k = 0; k < K; k++)
            for (int64_t i = 0; i < n; i++)
                part[k * n + i] = x[k * N + j + i] * scale;
        pons_block_nn(K, n, K, H, K, part, n, x + j, N, false);
    }
}

/* Had_n along the first index of x [n, width]. */
static void transform(float *x, int64_t n, int K, int64_t width)
{
    int64_t m = n / K;
    for (int k = 0; k < K; k++)
        walsh(x + k * m * width, m, width);
    mix(x, K, m * width, (float)(1.0 / sqrt((double)n)));
}

void pons_hadamard_rows(float *x, int64_t rows, int64_t n, int64_t ld)
{
    int K = pons_hadamard_factor(n), threads = pons_kern_threads();
    PONS_ASSERT(K > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < rows; r++)
        transform(x + r * ld, n, K, 1);
}

void pons_hadamard_heads(float *x, int64_t T, int64_t nh, int64_t hd, int64_t ld)
{
    int K = pons_hadamard_factor(nh), threads = pons_kern_threads();
    PONS_ASSERT(K > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; t++)
        transform(x + t * ld, nh, K, hd);
}
