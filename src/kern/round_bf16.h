/**
 * Rounding of numbers to bf16 and to sums of bf16 numbers.
 */
#ifndef PONS_KERN_ROUND_BF16_H
#define PONS_KERN_ROUND_BF16_H

#include <stdint.h>

/** y[i] <- bf16 bits of x[i], nearest even. Local. */
void pons_bf16_convert(int64_t n, const float *x, uint16_t *y);

/** y[i] <- bf16 bits of what is left of a number, rest[i], and that much less is left. After two terms at most 2^-17
 * of it is, after three nothing of what is above 2^-110; a rest of Inf leaves NaN. Local. */
void pons_bf16_peel(int64_t n, float *rest, uint16_t *y);

#endif
