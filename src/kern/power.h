/**
 * |x|^2.4 without powf: the clip search evaluates it 80 times per weight.
 *
 * With a = x^2 and r = a^(-1/5), x^2.4 = (a r^2)^2. r starts from the exponent bits (within 3.2 %),
 * then one step of order four and one of order two in h = 1 - a r^5. Straight-line arithmetic, so
 * loops around it vectorise. Relative error below 1e-6 wherever x^2 is a normal number; 0 at 0.
 */
#ifndef PONS_KERN_POWER_H
#define PONS_KERN_POWER_H

#include "base/half.h"

/** |x|^2.4 for finite |x| below 1e15. Local. */
static inline float pons_power_2_4(float x)
{
    float a = x * x;
    /* bits(a^(-1/5)) ~ 1.2 * bits(1) - bits(a) / 5; the constant balances the error */
    int32_t bits = (int32_t)pons_float_bits(a);
    int32_t guess = (int32_t)(1277928960.0f - 0.2f * (float)bits);
    float r = pons_bits_float((uint32_t)guess);
    float r2 = r * r;
    float h = 1.0f - a * r2 * r2 * r;
    r *= 1.0f + h * (0.2f + h * (0.12f + h * 0.088f));
    r2 = r * r;
    h = 1.0f - a * r2 * r2 * r;
    r *= 1.0f + h * 0.2f;
    float y = a * (r * r);
    return y * y;
}

#endif
