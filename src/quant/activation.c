/* Owns the fake quantization of activations, keys and values. Does not decide when it applies: the
 * forward pass does. */
#include "quant/activation.h"

#include <math.h>

/* Bounds of x[0..n), not above / below the start value `low` / `high`; NaN is skipped. */
static void bounds(const float *x, int64_t n, float *low, float *high)
{
    float least = *low, most = *high;
#pragma omp simd reduction(min : least) reduction(max : most)
    for (int64_t j = 0; j < n; j++) {
        least = x[j] < least ? x[j] : least;
        most = x[j] > most ? x[j] : most;
    }
    *low = least;
    *high = most;
}

/* x <- scale (clamp(rint(x / scale) + zero, least, most) - zero); the comparisons keep NaN. */
static void snap(float *x, int64_t n, float scale, float zero, float least, float most)
{
    for (int64_t j = 0; j < n; j++) {
        float code = rintf(x[j] / scale) + zero;
        code = code < least ? least : code;
        code = code > most ? most : code;
        x[j] = scale * (code - zero);
    }
}

/* @param clip of the largest and of the least value */
static void quantize_group(int bits, bool symmetric, const float clip[2], bool whole, float *x,
                           int64_t n)
{
    float low = whole ? 0 : INFINITY, high = whole ? 0 : -INFINITY;
    bounds(x, n, &low, &high);
    low *= clip[1];
    high *= clip[0];
    if (symmetric) {
        float most = (float)((1 << (bits - 1)) - 1);
        float scale = (fabsf(low) > high ? fabsf(low) : high) / most;
        if (scale == 0) scale = 1; /* all zero, or so small that the step underflows */
        snap(x, n, scale, 0, -most - 1, most);
        return;
    }
    float most = (float)((1 << bits) - 1);
    float scale = (high - low) / most;
    if (scale == 0) { /* one point */
        for (int64_t j = 0; j < n; j++)
            x[j] = isnan(x[j]) ? x[j] : whole ? 0 : low;
        return;
    }
    snap(x, n, scale, rintf(-low / scale), 0, most);
}

void pons_activation_quantize(int bits, bool symmetric, float clip_ratio, int64_t group, int64_t T,
                              int64_t d, float *x, int64_t ld)
{
    if (bits == 16 || d == 0) return;
    PONS_ASSERT(bits >= 2 && bits <= 8);
    PONS_ASSERT(group >= 0 && (group == 0 || d % group == 0));
    bool whole = group == 0;
    int64_t width = whole ? d : group;
    const float clip[2] = {clip_ratio, clip_ratio};
#pragma omp parallel for schedule(static) if (T > 1)
    for (int64_t t = 0; t < T; t++)
        for (int64_t j = 0; j < d; j += width)
            quantize_group(bits, symmetric, clip, whole, x + t * ld + j, width);
}

void pons_activation_quantize_learned(int bits, bool symmetric, const float clip[2], int64_t T,
                                      int64_t d, float *x)
{
    if (bits == 16 || d == 0) return;
    PONS_ASSERT(bits >= 2 && bits <= 8);
#pragma omp parallel for schedule(static) if (T > 1)
    for (int64_t t = 0; t < T; t++)
        quantize_group(bits, symmetric, clip, true, x + t * d, d);
}

void pons_activation_layout(const pons_act_quant *quant, int64_t hidden, int64_t head_dim,
                            int64_t dim, bool is_o_proj, bool is_down_proj, int *bits,
                            int64_t *group)
{
    *bits = quant->bits;
    *group = quant->group_size;
    if (is_down_proj && quant->bits < 16 && quant->down_proj_bits) *bits = quant->down_proj_bits;
    if (is_o_proj && quant->o_proj_head_groups) *group = head_dim;
    /* as many groups as the hidden width has, when the size itself does not fit */
    if (is_down_proj && *group > 0 && dim % *group != 0 && hidden / *group > 0)
        *group = dim / (hidden / *group);
}

pons_status pons_activation_check(const pons_act_quant *quant, int64_t hidden, int64_t head_dim,
                                  int64_t heads_dim, int64_t intermediate)
{
    const struct {
        const char *name;
        int64_t dim;
    } inputs[] = {{"q_proj", hidden}, {"o_proj", heads_dim}, {"down_proj", intermediate}};
    for (int i = 0; i < 3; i++) {
        int bits;
        int64_t group;
        pons_activation_layout(quant, hidden, head_dim, inputs[i].dim, i == 1, i == 2, &bits,
                               &group);
        if (bits == 16 || group == 0 || inputs[i].dim % group == 0) continue;
        return pons_fail(PONS_ERR_CONFIG,
                         "activations.group_size: found %lld, allowed: a divisor of the model's "
                         "widths (the input of %s has %lld channels)",
                         (long long)quant->group_size, inputs[i].name, (long long)inputs[i].dim);
    }
    return PONS_OK;
}
