/**
 * Vectors of floats as wide as the processor's registers: loads, stores, fused multiply-add and exp, with the same bits
 * in a vector and in a scalar tail. For loops of this room.
 *
 * A sum over a row is made in PONS_LANES partial sums whatever the width, so that it has the same bits on all
 * instruction sets with FMA: keep PONS_PARTS vectors.
 */
#ifndef PONS_KERN_SIMD_H
#define PONS_KERN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "base/half.h"

/* Vectors are passed to inlined functions only, so how other functions would pass them does not matter. */
#pragma GCC diagnostic ignored "-Wpsabi"

/** Floats of a vector: a register of the instruction set that this file is compiled for. */
#if defined(__AVX512F__)
#define PONS_WIDTH 16
#elif defined(__AVX__)
#define PONS_WIDTH 8
#else
#define PONS_WIDTH 4
#endif

/** Partial sums of a sum over a row, and the vectors that hold them. */
#define PONS_LANES 16
#define PONS_PARTS (PONS_LANES / PONS_WIDTH)

typedef float pons_vec __attribute__((vector_size(4 * PONS_WIDTH)));
typedef int32_t pons_ivec __attribute__((vector_size(4 * PONS_WIDTH)));
typedef uint32_t pons_uvec __attribute__((vector_size(4 * PONS_WIDTH)));

/** Half as many doubles as a vector has floats. */
typedef double pons_dvec __attribute__((vector_size(4 * PONS_WIDTH)));

static inline pons_vec pons_load(const float *p)
{
    pons_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void pons_store(float *p, pons_vec v) { memcpy(p, &v, sizeof v); }

static inline pons_vec pons_splat(float x) { return x - (pons_vec){0}; }

/** Floats p[0 .. PONS_WIDTH / 2) as doubles. */
static inline pons_dvec pons_load_double(const float *p)
{
    typedef float half __attribute__((vector_size(2 * PONS_WIDTH)));
    half h;
    memcpy(&h, p, sizeof h);
    return __builtin_convertvector(h, pons_dvec);
}

/** Marks of PONS_LANES entries, the first one the lowest bit. */
typedef uint16_t pons_m16;

/** Marks of those of PONS_LANES bytes that are not 0. */
static inline pons_m16 pons_mark16(const uint8_t *p)
{
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    __m128i b;
    memcpy(&b, p, sizeof b);
    return _mm_test_epi8_mask(b, b);
#elif defined(__AVX__)
    __m128i b;
    memcpy(&b, p, sizeof b);
    return (pons_m16)~_mm_movemask_epi8(_mm_cmpeq_epi8(b, _mm_setzero_si128()));
#else
    pons_m16 marks = 0;
    for (int l = 0; l < PONS_LANES; l++)
        marks |= (pons_m16)((p[l] != 0) << l);
    return marks;
#endif
}

/** x, part `part` of PONS_LANES entries, where they are marked, 0 elsewhere. */
static inline pons_vec pons_marked(pons_m16 marks, int part, pons_vec x)
{
#if PONS_WIDTH == 16
    (void)part;
    return (pons_vec)_mm512_maskz_mov_ps(marks, (__m512)x);
#else
    pons_ivec bit;
    for (int l = 0; l < PONS_WIDTH; l++)
        bit[l] = 1 << l;
    pons_ivec own = (int32_t)(marks >> (part * PONS_WIDTH)) + (pons_ivec){0};
    return (pons_vec)((pons_ivec)x & ((own & bit) != 0));
#endif
}

/** Numbers from their bits in bf16. */
static inline pons_vec pons_load_bf16(const uint16_t *p)
{
    typedef uint16_t halves __attribute__((vector_size(2 * PONS_WIDTH)));
    halves h;
    memcpy(&h, p, sizeof h);
    return (pons_vec)(__builtin_convertvector(h, pons_uvec) << 16);
}

/** Finite numbers to bf16, nearest even. */
static inline void pons_store_bf16(uint16_t *p, pons_vec x)
{
    typedef uint16_t halves __attribute__((vector_size(2 * PONS_WIDTH)));
    pons_uvec u = (pons_uvec)x;
    halves h = __builtin_convertvector((u + 0x7fffu + ((u >> 16) & 1u)) >> 16, halves);
    memcpy(p, &h, sizeof h);
}

/** a b + c, rounded once where the processor has FMA. */
static inline float pons_fma(float a, float b, float c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/** pons_fma lane by lane. */
static inline pons_vec pons_fma_vec(pons_vec a, pons_vec b, pons_vec c)
{
#if PONS_WIDTH == 16
    return (pons_vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif PONS_WIDTH == 8 && defined(__FMA__)
    return (pons_vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    pons_vec r;
    for (int l = 0; l < PONS_WIDTH; l++)
        r[l] = pons_fma(a[l], b[l], c[l]);
    return r;
#endif
}

/* Lane l of two vectors after the blocks of h lanes off the diagonal have changed places. */
#define PONS_LOWER(h, l) ((l) & (h) ? PONS_WIDTH + (l) - (h) : (l))
#define PONS_UPPER(h, l) ((l) & (h) ? PONS_WIDTH + (l) : (l) + (h))
#define PONS_LANES_4(F, h) F(h, 0), F(h, 1), F(h, 2), F(h, 3)
#define PONS_LANES_8(F, h) PONS_LANES_4(F, h), F(h, 4), F(h, 5), F(h, 6), F(h, 7)
#define PONS_LANES_16(F, h)                                                                        \
    PONS_LANES_8(F, h), F(h, 8), F(h, 9), F(h, 10), F(h, 11), F(h, 12), F(h, 13), F(h, 14), F(h, 15)
#if PONS_WIDTH == 16
#define PONS_ALL_LANES PONS_LANES_16
#elif PONS_WIDTH == 8
#define PONS_ALL_LANES PONS_LANES_8
#else
#define PONS_ALL_LANES PONS_LANES_4
#endif
#define PONS_SWAP_BLOCKS(x, h)                                                                     \
    for (int i = 0; i < PONS_WIDTH; i++) {                                                         \
        if (i & (h)) continue;                                                                     \
        pons_vec a = (x)[i], b = (x)[i + (h)];                                                     \
        (x)[i] = __builtin_shufflevector(a, b, PONS_ALL_LANES(PONS_LOWER, h));                     \
        (x)[i + (h)] = __builtin_shufflevector(a, b, PONS_ALL_LANES(PONS_UPPER, h));               \
    }

/** x[PONS_WIDTH], rows of a square block, become its columns. */
static inline void pons_transpose(pons_vec *x)
{
#if PONS_WIDTH >= 16
    PONS_SWAP_BLOCKS(x, 8)
#endif
#if PONS_WIDTH >= 8
    PONS_SWAP_BLOCKS(x, 4)
#endif
    PONS_SWAP_BLOCKS(x, 2)
    PONS_SWAP_BLOCKS(x, 1)
}

/**
 * exp(x) to about one ulp; 0 below -104, inf above 89, subnormal results kept, NaN stays NaN.
 *
 * Branch-free so that loops over it become vector code. x = n ln 2 + r with |r| <= ln 2 / 2 and ln
 * 2 in two parts; polynomial of degree 6 fitted for relative error (0.06 ulp); 2^n in two factors
 * so that the result may leave the normal range.
 */
static inline float pons_exp(float x)
{
    const float shift = 0x1.8p23f;
    float c = x < -104.0f ? -104.0f : x;
    c = c > 89.0f ? 89.0f : c;
    float t = pons_fma(c, 0x1.715476p+0f, shift), n = t - shift;
    float r = pons_fma(n, -0x1.62e4p-1f, c);
    r = pons_fma(n, -0x1.7f7d1cp-20f, r);
    float p = pons_fma(0x1.6a2416p-10f, r, 0x1.1239f4p-7f);
    p = pons_fma(p, r, 0x1.5558f2p-5f);
    p = pons_fma(p, r, 0x1.555492p-3f);
    p = pons_fma(p, r, 0x1.fffffcp-2f);
    p = pons_fma(p * r, r, r) + 1.0f;
    int32_t k = (int32_t)(pons_float_bits(t) - 0x4b400000u), half = k >> 1;
    float s = pons_bits_float((uint32_t)(half + 127) << 23);
    float u = pons_bits_float((uint32_t)(k - half + 127) << 23);
    return p * s * u;
}

/** The larger of each lane; b where one is NaN. */
static inline pons_vec pons_max(pons_vec a, pons_vec b)
{
#if PONS_WIDTH == 16
    return (pons_vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif PONS_WIDTH == 8
    return (pons_vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    pons_ivec larger = a > b;
    return (pons_vec)(((pons_ivec)a & larger) | ((pons_ivec)b & ~larger));
#endif
}

/** The smaller of each lane; b where one is NaN. */
static inline pons_vec pons_min(pons_vec a, pons_vec b)
{
#if PONS_WIDTH == 16
    return (pons_vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif PONS_WIDTH == 8
    return (pons_vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return -pons_max(-a, -b);
#endif
}

/** pons_exp lane by lane, the same bits. */
static inline pons_vec pons_exp_vec(pons_vec x)
{
    const pons_vec shift = pons_splat(0x1.8p23f);
    pons_vec c = pons_max(pons_splat(-104.0f), x);
    c = pons_min(pons_splat(89.0f), c);
    pons_vec t = pons_fma_vec(c, pons_splat(0x1.715476p+0f), shift), n = t - shift;
    pons_vec r = pons_fma_vec(n, pons_splat(-0x1.62e4p-1f), c);
    r = pons_fma_vec(n, pons_splat(-0x1.7f7d1cp-20f), r);
    pons_vec p = pons_fma_vec(pons_splat(0x1.6a2416p-10f), r, pons_splat(0x1.1239f4p-7f));
    p = pons_fma_vec(p, r, pons_splat(0x1.5558f2p-5f));
    p = pons_fma_vec(p, r, pons_splat(0x1.555492p-3f));
    p = pons_fma_vec(p, r, pons_splat(0x1.fffffcp-2f));
    p = pons_fma_vec(p * r, r, r) + pons_splat(1.0f);
#if PONS_WIDTH == 16
    return (pons_vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    pons_ivec k = (pons_ivec)t - 0x4b400000, half = k >> 1;
    return p * (pons_vec)((half + 127) << 23) * (pons_vec)((k - half + 127) << 23);
#endif
}

/** Largest lane. */
static inline float pons_top(pons_vec v)
{
    float lane[PONS_WIDTH], top;
    pons_store(lane, v);
    top = lane[0];
    for (int l = 1; l < PONS_WIDTH; l++)
        top = lane[l] > top ? lane[l] : top;
    return top;
}

/** The sum of PONS_LANES partial sums, from the first to the last. */
static inline double pons_total(const pons_vec lanes[PONS_PARTS])
{
    double sum = 0.0;
    for (int p = 0; p < PONS_PARTS; p++)
        for (int l = 0; l < PONS_WIDTH; l++)
            sum += (double)lanes[p][l];
    return sum;
}

#endif
