/* The loops of quantizers. Owns rounding and the order of sums; which groups there are is in quant. */
#include "kern/quantize.h"

#include <math.h>

#include "kern/power.h"

#define CHUNK 256
#define LANES 16

/* Bounds of x[0..n), not above / below the start value `low` / `high`; NaN is skipped. */
static void bounds(const float *x, int64_t n, float *low, float *high)
{
    float minimum = *low, maximum = *high;
#pragma omp simd reduction(min : minimum) reduction(max : maximum)
    for (int64_t j = 0; j < n; j++) {
        minimum = x[j] < minimum ? x[j] : minimum;
        maximum = x[j] > maximum ? x[j] : maximum;
    }
    *low = minimum;
    *high = maximum;
}

/* x <- scale (clamp(rint(x / scale) + zero, least, most) - zero); the comparisons keep NaN. */
static void snap(float *x, int64_t n, float scale, float zero, float minimum, float maximum)
{
    for (int64_t j = 0; j < n; j++) {
        float code = rintf(x[j] / scale) + zero;
        code = code < minimum ? minimum : code;
        code = code > maximum ? maximum : code;
        x[j] = scale * (code - zero);
    }
}

static void quantize_group(const pons_quantize_rule *rule, float *x, int64_t n)
{
    bool whole = rule->from_zero;
    float low = whole ? 0 : INFINITY, high = whole ? 0 : -INFINITY;
    bounds(x, n, &low, &high);
    low *= rule->clip[1];
    high *= rule->clip[0];
    if (rule->symmetric) {
        float maximum = (float)((1 << (rule->bits - 1)) - 1);
        float scale = (fabsf(low) > high ? fabsf(low) : high) / maximum;
        if (scale == 0) scale = 1; /* all zero, or so small that the step underflows */
        snap(x, n, scale, 0, -maximum - 1, maximum);
        return;
    }
    float maximum = (float)((1 << rule->bits) - 1);
    float scale = (high - low) / maximum;
    if (scale == 0) { /* one point */
        for (int64_t j = 0; j < n; j++)
            x[j] = isnan(x[j]) ? x[j] : whole ? 0 : low;
        return;
    }
    snap(x, n, scale, rintf(-low / scale), 0, maximum);
}

void pons_quantize_rows(const pons_quantize_rule *rule, int64_t T, int64_t d, int64_t width,
                        float *x, int64_t ld)
{
#pragma omp parallel for schedule(static) if (T > 1)
    for (int64_t t = 0; t < T; t++)
        for (int64_t j = 0; j < d; j += width)
            quantize_group(rule, x + t * ld + j, width);
}

double pons_quantize_error(int64_t n, const float *w, pons_quantize_grid g, double limit)
{
    /* In units of the scale, so that nothing under- or overflows. */
    float inverse = 1.0f / g.scale, low = g.low - g.zero, high = g.high - g.zero;
    double unit = pow((double)g.scale, 2.4), sum = 0.0;
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        int64_t count = n - begin < CHUNK ? n - begin : CHUNK;
        float term[CHUNK], lane[LANES] = {0};
        for (int64_t j = 0; j < count; j++) {
            float t = w[begin + j] * inverse;
            float q = rintf(t);
            q = q < low ? low : q;
            q = q > high ? high : q;
            term[j] = pons_power_2_4(q - t);
        }
        int64_t whole = (count + LANES - 1) / LANES * LANES;
        for (int64_t j = count; j < whole; j++)
            term[j] = 0.0f;
        for (int64_t j = 0; j < whole; j += LANES)
            for (int l = 0; l < LANES; l++)
                lane[l] += term[j + l];
        for (int l = 0; l < LANES; l++)
            sum += (double)lane[l];
        if (sum * unit >= limit) return limit;
    }
    return sum * unit;
}
