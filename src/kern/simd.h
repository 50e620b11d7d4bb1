/**
 * Sixteen floats at a time: loads, stores, fused multiply-add and exp, with the same bits in a
 * vector and in a scalar tail. For rooms that keep their own loops over vectors.
 */
#ifndef PONS_KERN_SIMD_H
#define PONS_KERN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "base/half.h"

/* Vectors are passed to inlined functions only: how narrower processors would pass them is moot. */
#pragma GCC diagnostic ignored "-Wpsabi"

#define PONS_LANES 16

/** Sixteen floats; the compiler splits it where registers are narrower. */
typedef float pons_v16 __attribute__((vector_size(64)));

static inline pons_v16 pons_load(const float *p)
{
    pons_v16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void pons_store(float *p, pons_v16 v) { memcpy(p, &v, sizeof v); }

static inline pons_v16 pons_splat(float x) { return x - (pons_v16){0}; }

/** Marks of sixteen lanes, the first one the lowest bit. */
typedef uint16_t pons_m16;

/** Marks of those of sixteen bytes that are not 0. */
static inline pons_m16 pons_mark16(const uint8_t *p)
{
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    __m128i b;
    memcpy(&b, p, sizeof b);
    return _mm_test_epi8_mask(b, b);
#else
    pons_m16 marks = 0;
    for (int l = 0; l < PONS_LANES; l++)
        marks |= (pons_m16)((p[l] != 0) << l);
    return marks;
#endif
}

/** x where it is marked, 0 elsewhere. */
static inline pons_v16 pons_marked16(pons_m16 marks, pons_v16 x)
{
#ifdef __AVX512F__
    return (pons_v16)_mm512_maskz_mov_ps(marks, (__m512)x);
#else
    typedef int32_t words __attribute__((vector_size(64)));
    words on;
    for (int l = 0; l < PONS_LANES; l++)
        on[l] = -((marks >> l) & 1);
    return (pons_v16)((words)x & on);
#endif
}

/** Sixteen numbers from their bits in bf16. */
static inline pons_v16 pons_load_bf16(const uint16_t *p)
{
#ifdef __AVX512F__
    __m256i h;
    memcpy(&h, p, sizeof h);
    return (pons_v16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
#else
    pons_v16 v;
    for (int l = 0; l < PONS_LANES; l++)
        v[l] = pons_bits_float((uint32_t)p[l] << 16);
    return v;
#endif
}

/** Sixteen finite numbers to bf16, nearest even. */
static inline void pons_store_bf16(uint16_t *p, pons_v16 x)
{
    typedef uint32_t words __attribute__((vector_size(64)));
    typedef uint16_t halves __attribute__((vector_size(32)));
    words u = (words)x;
    halves h = __builtin_convertvector((u + 0x7fffu + ((u >> 16) & 1u)) >> 16, halves);
    memcpy(p, &h, sizeof h);
}

/** a b + c, rounded once where the processor has FMA. */
static inline float pons_fma(float a, float b, float c)
{
#ifdef __FMA__
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/** pons_fma lane by lane, b the same in every lane. */
static inline pons_v16 pons_fma16(pons_v16 a, float b, pons_v16 c)
{
#ifdef __AVX512F__
    return (pons_v16)_mm512_fmadd_ps((__m512)a, _mm512_set1_ps(b), (__m512)c);
#else
    pons_v16 r;
    for (int l = 0; l < PONS_LANES; l++)
        r[l] = pons_fma(a[l], b, c[l]);
    return r;
#endif
}

/* Lane l of two vectors after the blocks of h lanes off the diagonal have changed places. */
#define PONS_LOWER(h, l) ((l) & (h) ? PONS_LANES + (l) - (h) : (l))
#define PONS_UPPER(h, l) ((l) & (h) ? PONS_LANES + (l) : (l) + (h))
#define PONS_ALL_LANES(F, h)                                                                       \
    F(h, 0), F(h, 1), F(h, 2), F(h, 3), F(h, 4), F(h, 5), F(h, 6), F(h, 7), F(h, 8), F(h, 9),      \
        F(h, 10), F(h, 11), F(h, 12), F(h, 13), F(h, 14), F(h, 15)
#define PONS_SWAP_BLOCKS(x, h)                                                                     \
    for (int i = 0; i < PONS_LANES; i++) {                                                         \
        if (i & (h)) continue;                                                                     \
        pons_v16 a = (x)[i], b = (x)[i + (h)];                                                     \
        (x)[i] = __builtin_shufflevector(a, b, PONS_ALL_LANES(PONS_LOWER, h));                     \
        (x)[i + (h)] = __builtin_shufflevector(a, b, PONS_ALL_LANES(PONS_UPPER, h));               \
    }

/** x[16], rows of a 16 x 16 block, become its columns. */
static inline void pons_transpose16(pons_v16 *x)
{
    PONS_SWAP_BLOCKS(x, 8)
    PONS_SWAP_BLOCKS(x, 4)
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

/** pons_exp lane by lane, the same bits. */
static inline pons_v16 pons_exp16(pons_v16 x)
{
#ifdef __AVX512F__
    const __m512 shift = _mm512_set1_ps(0x1.8p23f);
    __m512 c = _mm512_max_ps(_mm512_set1_ps(-104.0f), (__m512)x); /* of a NaN: the second */
    c = _mm512_min_ps(_mm512_set1_ps(89.0f), c);
    __m512 n = _mm512_fmadd_ps(c, _mm512_set1_ps(0x1.715476p+0f), shift) - shift;
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0x1.62e4p-1f), c);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0x1.6a2416p-10f), r, _mm512_set1_ps(0x1.1239f4p-7f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.5558f2p-5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.555492p-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.fffffcp-2f));
    p = _mm512_fmadd_ps(p * r, r, r) + _mm512_set1_ps(1.0f);
    return (pons_v16)_mm512_scalef_ps(p, n);
#else
    pons_v16 y;
    for (int l = 0; l < PONS_LANES; l++)
        y[l] = pons_exp(x[l]);
    return y;
#endif
}

/** The larger of each lane; b where one is NaN. */
static inline pons_v16 pons_max16(pons_v16 a, pons_v16 b)
{
#ifdef __AVX512F__
    return (pons_v16)_mm512_max_ps((__m512)a, (__m512)b);
#else
    pons_v16 y;
    for (int l = 0; l < PONS_LANES; l++)
        y[l] = a[l] > b[l] ? a[l] : b[l];
    return y;
#endif
}

/** Largest lane. */
static inline float pons_top16(pons_v16 v)
{
    v = pons_max16(
        v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = pons_max16(
        v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    v = pons_max16(
        v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    return v[0] > v[1] ? v[0] : v[1];
}

#endif
