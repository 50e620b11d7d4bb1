/* Fast Hadamard transforms. Owns the butterflies and the mixing with H_K; the matrices H_K come
 * from hadamard_matrix.c.
 *
 * A vector of length n = K L m is seen as [K, L, m]: butterflies along m, then H_L and H_K from the left. */
#include <math.h>
#include <string.h>

#include "kern/block.h"
#include "kern/hadamard.h"
#include "kern/hadamard_matrix.h"
#include "kern/simd.h"
#include "kern/threads.h"

/* Columns of [K, N] mixed at once: K of them fit in L1 or nearly (172 x 64 x 4 bytes = 44 KiB). */
enum { MIX_COLUMNS = 64 };

/* Floats whose first strides need no memory. */
enum { IN_REGISTERS = 4 * PONS_LANES };

/* The lane that lane l meets at stride h, and the sign of l there. */
#define PARTNER(h, l) ((l) ^ (h))
#define SIGN(h, l) ((l) & (h) ? -1.0f : 1.0f)

/* Stride h inside a vector. The product with the sign is exact, so that it may be fused. */
#define STRIDE(v, h)                                                                               \
    pons_fma_vec(v, (pons_vec){PONS_ALL_LANES(SIGN, h)},                                           \
                 __builtin_shufflevector(v, v, PONS_ALL_LANES(PARTNER, h)))

static inline pons_vec butterflies_in_vector(pons_vec v)
{
    v = STRIDE(v, 1);
    v = STRIDE(v, 2);
#if PONS_WIDTH >= 8
    v = STRIDE(v, 4);
#endif
#if PONS_WIDTH >= 16
    v = STRIDE(v, 8);
#endif
    return v;
}

/* All strides of `count` vectors, a power of two; count is a constant where this is called. */
static inline void butterflies_in_registers(float *x, int count)
{
    pons_vec v[IN_REGISTERS / PONS_WIDTH];
    for (int i = 0; i < count; i++)
        v[i] = butterflies_in_vector(pons_load(x + i * PONS_WIDTH));
    for (int h = 1; h < count; h *= 2)
        for (int i = 0; i < count; i++) {
            if (i & h) continue;
            pons_vec a = v[i], b = v[i + h];
            v[i] = a + b;
            v[i + h] = a - b;
        }
    for (int i = 0; i < count; i++)
        pons_store(x + i * PONS_WIDTH, v[i]);
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
            butterflies_in_registers(x + i, IN_REGISTERS / PONS_WIDTH);
        h = IN_REGISTERS;
    } else if (width == 1 && m >= PONS_LANES) {
        for (int64_t i = 0; i < m; i += PONS_LANES)
            butterflies_in_registers(x + i, PONS_PARTS);
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
    for (int64_t j = 0; j < N; j += MIX_COLUMNS) {
        int64_t n = N - j < MIX_COLUMNS ? N - j : MIX_COLUMNS;
        for (int k = 0; k < K; k++)
            for (int64_t i = 0; i < n; i++)
                part[k * n + i] = x[k * N + j + i] * scale;
        pons_block_nn(K, n, K, H, K, part, n, x + j, N, false);
    }
}

/* Had_n along the first index of x [n, width]. */
static void transform(float *x, int64_t n, const pons_hadamard_shape *s, int64_t width)
{
    float scale = (float)(1.0 / sqrt((double)(n / s->blocks)));
    int64_t inner = s->power * width;
    for (int64_t i = 0; i < n * width; i += inner)
        walsh(x + i, s->power, width);
    for (int f = s->count - 1; f >= 0; f--) {
        int64_t outer = inner * s->factor[f];
        for (int64_t i = 0; i < n * width; i += outer)
            mix(x + i, s->factor[f], inner, f == 0 ? scale : 1.0f);
        inner = outer;
    }
    for (int64_t i = 0; s->count == 0 && i < n * width; i++)
        x[i] *= scale;
}

void pons_hadamard_rows(float *x, int64_t rows, int64_t n, int64_t ld)
{
    pons_hadamard_shape s = pons_hadamard_shape_of(n);
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < rows; r++)
        transform(x + r * ld, n, &s, 1);
}

void pons_hadamard_heads(float *x, int64_t T, int64_t nh, int64_t hd, int64_t ld)
{
    pons_hadamard_shape s = pons_hadamard_shape_of(nh);
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; t++)
        transform(x + t * ld, nh, &s, hd);
}
