/**
 * 16-bit floats: conversions between float and bf16 / IEEE fp16, rounding to nearest even.
 *
 * NaN stays NaN, overflow becomes infinity, subnormals are kept. Local, branch-light, inline
 * because the inner loops of readers and kernels call them.
 */
#ifndef PONS_BASE_HALF_H
#define PONS_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t pons_float_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float pons_bits_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/** bf16 bits of x. */
static inline uint16_t pons_bf16_from_float(float x)
{
    uint32_t u = pons_float_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/** float of bf16 bits (exact). */
static inline float pons_bf16_to_float(uint16_t h) { return pons_bits_float((uint32_t)h << 16); }

/** x rounded to the nearest bf16 value. */
static inline float pons_bf16_round(float x) { return pons_bf16_to_float(pons_bf16_from_float(x)); }

/** float of IEEE fp16 bits (exact). */
static inline float pons_f16_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 0x1fu,
             mantissa = h & 0x3ffu;
    if (exponent == 0x1fu) return pons_bits_float(sign | 0x7f800000u | (mantissa << 13));
    if (exponent) return pons_bits_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
    float x = (float)mantissa * 0x1p-24f;
    return sign ? -x : x;
}

/** IEEE fp16 bits of x. */
static inline uint16_t pons_f16_from_float(float x)
{
    uint32_t u = pons_float_bits(x), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* subnormal half: let the float adder round at 2^-24 */
        float y = pons_bits_float(magnitude) + 0.5f;
        return (uint16_t)(sign | (pons_float_bits(y) - 0x3f000000u));
    }
    magnitude += 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((magnitude - 0x38000000u) >> 13));
}

/** x rounded to the nearest fp16 value. */
static inline float pons_f16_round(float x) { return pons_f16_to_float(pons_f16_from_float(x)); }

#endif
