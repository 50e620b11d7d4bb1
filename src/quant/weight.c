/* Scales, codes and values of weights. Owns the clip search; masks and compensation are decided
 * elsewhere. Specification 4.1. */
#include "quant/weight.h"

#include <float.h>
#include <math.h>

#include "kern/quantize.h"

/* Clip search: candidates 1 - i/100, i < 80 (grid 100, maxshrink 0.8), error norm 2.4. */
#define CANDIDATES 80

int64_t pons_weight_group_size(const pons_weight_quant *quant, int64_t d)
{
    return quant->group_size > 0 && quant->group_size < d ? quant->group_size : d;
}

int64_t pons_weight_groups(const pons_weight_quant *quant, int64_t d)
{
    int64_t size = pons_weight_group_size(quant, d);
    return (d + size - 1) / size;
}

typedef struct range {
    float low, high; /* low <= 0 <= high */
} range;

static range range_of(int64_t n, const float *w)
{
    range r = {0.0f, 0.0f};
    for (int64_t j = 0; j < n; j++) {
        r.low = w[j] < r.low ? w[j] : r.low;
        r.high = w[j] > r.high ? w[j] : r.high;
    }
    return r;
}

/* Before the zero point is moved to the signed range of codes. */
static pons_quantize_grid grid_of(bool symmetric, int bits, range r, float shrink)
{
    pons_quantize_grid g;
    if (symmetric) {
        float largest = fmaxf(fmaxf(-r.low, r.high), 1e-5f);
        g.high = (float)((1 << (bits - 1)) - 1);
        g.low = -g.high - 1.0f;
        g.scale = shrink * largest / g.high;
        g.zero = 0.0f;
        return g;
    }
    if (r.low == 0.0f && r.high == 0.0f) r = (range){-1.0f, 1.0f};
    float low = shrink * r.low, high = shrink * r.high;
    g.low = 0.0f;
    g.high = (float)((1 << bits) - 1);
    g.scale = fmaxf(high - low, 1e-5f) / g.high;
    g.zero = fminf(rintf(-low / g.scale), g.high);
    return g;
}

static void group_scale(const pons_weight_quant *quant, int bits, int64_t n, const float *w,
                        float *scale, int8_t *zero)
{
    range r = range_of(n, w);
    pons_quantize_grid best = grid_of(quant->symmetric, bits, r, 1.0f);
    if (quant->mse_clip) {
        double minimum = pons_quantize_error(n, w, best, DBL_MAX);
        for (int i = 1; i < CANDIDATES; i++) {
            pons_quantize_grid g = grid_of(quant->symmetric, bits, r, (float)(1.0 - i / 100.0));
            double error = pons_quantize_error(n, w, g, minimum);
            if (error < minimum) {
                minimum = error;
                best = g;
            }
        }
    }
    *scale = best.scale;
    *zero = quant->symmetric ? 0 : (int8_t)(best.zero - (float)(1 << (bits - 1)));
}

void pons_weight_scales(const pons_weight_quant *quant, int bits, int64_t n, int64_t d,
                        const float *W, int64_t ldw, float *scale, int8_t *zero)
{
    int64_t size = pons_weight_group_size(quant, d), groups = pons_weight_groups(quant, d);
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < n * groups; item++) {
        int64_t i = item / groups, g = item % groups, begin = g * size;
        int64_t count = d - begin < size ? d - begin : size;
        group_scale(quant, bits, count, W + i * ldw + begin, &scale[item], &zero[item]);
    }
}

void pons_weight_round(const pons_weight_quant *quant, int bits, int64_t n, int64_t d,
                       const float *W, int64_t ldw, const float *scale, const int8_t *zero,
                       int8_t *codes)
{
    int64_t size = pons_weight_group_size(quant, d), groups = pons_weight_groups(quant, d);
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++)
        for (int64_t g = 0; g < groups; g++) {
            float s = scale[i * groups + g];
            int8_t z = zero[i * groups + g];
            int64_t end = (g + 1) * size < d ? (g + 1) * size : d;
            for (int64_t j = g * size; j < end; j++)
                codes[i * d + j] = pons_weight_code(bits, W[i * ldw + j], s, z);
        }
}

void pons_weight_dequantize(int64_t group_size, int64_t n, int64_t d, const int8_t *codes,
                            const float *scale, const int8_t *zero, float *W)
{
    int64_t size = group_size > 0 && group_size < d ? group_size : d;
    int64_t groups = (d + size - 1) / size;
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < d; j++) {
            int64_t g = i * groups + j / size;
            W[i * d + j] = pons_weight_value(codes[i * d + j], scale[g], zero[g]);
        }
}
