/* Rounds floats to bf16, once or term by term. Knows nothing of products. */
#include "kern/round_bf16.h"

#include "base/half.h"

static inline uint16_t nearest(float x)
{
    uint32_t u = pons_float_bits(x);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, quiet = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

void pons_bf16_convert(int64_t n, const float *x, uint16_t *y)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = nearest(x[i]);
}

void pons_bf16_peel(int64_t n, float *rest, uint16_t *y)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = nearest(rest[i]);
        rest[i] -= pons_bits_float((uint32_t)y[i] << 16);
    }
}
