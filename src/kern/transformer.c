/* Norm, rotary embedding, activation and loss of a transformer. Owns what works token by token;
 * attention is attention.c, products with weights are matmul.c. */
#include <math.h>

#include "kern/simd.h"
#include "kern/threads.h"
#include "kern/transformer.h"

void pons_rmsnorm(int64_t T, int64_t d, const float *x, const float *gain, float eps, float *y)
{
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; t++) {
        const float *a = x + t * d;
        float *b = y + t * d;
        double lane[PONS_LANES] = {0}, sum = 0;
        int64_t i = 0;
        for (; i + PONS_LANES <= d; i += PONS_LANES)
            for (int l = 0; l < PONS_LANES; l++)
                lane[l] += (double)a[i + l] * a[i + l];
        for (int l = 0; l < PONS_LANES; l++)
            sum += lane[l];
        for (; i < d; i++)
            sum += (double)a[i] * a[i];
        float scale = (float)(1.0 / sqrt(sum / (double)d + eps));
        if (gain)
            for (i = 0; i < d; i++)
                b[i] = gain[i] * (a[i] * scale);
        else
            for (i = 0; i < d; i++)
                b[i] = a[i] * scale;
    }
}

void pons_rope(int64_t T, int64_t heads, int64_t hd, float *x, int64_t ld, const float *cosine,
               const float *sine)
{
    int threads = pons_kern_threads();
    int64_t half = hd / 2;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; t++) {
        const float *c = cosine + t * half, *s = sine + t * half;
        for (int64_t h = 0; h < heads; h++) {
            float *a = x + t * ld + h * hd, *b = a + half;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                float u = a[i], w = b[i];
                a[i] = u * c[i] - w * s[i];
                b[i] = w * c[i] + u * s[i];
            }
        }
    }
}

static inline float silu(float x) { return x / (1.0f + pons_exp(-x)); }

void pons_silu_mul(int64_t n, float *gate, const float *up)
{
    int threads = pons_kern_threads();
#pragma omp parallel for simd schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i++)
        gate[i] = silu(gate[i]) * up[i];
}

void pons_add(int64_t n, const float *x, float *y)
{
    int threads = pons_kern_threads();
#pragma omp parallel for simd schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}

void pons_add_bias(int64_t T, int64_t n, const float *bias, float *y, int64_t ld)
{
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < n; i++)
            y[t * ld + i] += bias[i];
}

/* log(sum exp(x)): fp32 exponentials, added in sixteen fp64 lanes, the lanes in order. */
static double log_sum_exp(int64_t n, const float *x)
{
    float high[PONS_LANES], top = x[0], e[PONS_LANES];
    double lane[PONS_LANES] = {0}, sum = 0;
    int64_t whole = n - n % PONS_LANES, i;
    for (int l = 0; l < PONS_LANES; l++)
        high[l] = top;
    for (i = 0; i < whole; i += PONS_LANES)
        for (int l = 0; l < PONS_LANES; l++)
            high[l] = x[i + l] > high[l] ? x[i + l] : high[l];
    for (int l = 0; l < PONS_LANES; l++)
        top = high[l] > top ? high[l] : top;
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;

    for (i = 0; i < whole; i += PONS_LANES) {
#pragma omp simd
        for (int l = 0; l < PONS_LANES; l++)
            e[l] = pons_exp(x[i + l] - top);
        for (int l = 0; l < PONS_LANES; l++)
            lane[l] += (double)e[l];
    }
    for (; i < n; i++)
        lane[i - whole] += (double)pons_exp(x[i] - top);
    for (int l = 0; l < PONS_LANES; l++)
        sum += lane[l];
    return (double)top + log(sum);
}

double pons_cross_entropy(int64_t T, int64_t V, const float *logits, const int32_t *target)
{
    enum { CHUNK = 512 };
    double term[CHUNK], sum = 0;
    int threads = pons_kern_threads();
    for (int64_t t0 = 0; t0 < T; t0 += CHUNK) {
        int64_t count = T - t0 < CHUNK ? T - t0 : CHUNK;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int64_t t = 0; t < count; t++) {
            const float *x = logits + (t0 + t) * V;
            term[t] = log_sum_exp(V, x) - (double)x[target[t0 + t]];
        }
        for (int64_t t = 0; t < count; t++)
            sum += term[t];
    }
    return sum;
}
