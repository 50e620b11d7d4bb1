/* Norm, rotary embedding, activation and loss of a transformer. Owns what works token by token;
 * attention is attention.c, products with weights are matmul.c. */
#include <math.h>
#include <string.h>

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

/* Entries handed to a thread at once: whole vectors, a cache line each. */
enum { CHUNK = 4096 };

void pons_silu_mul(int64_t n, float *gate, const float *up)
{
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t c = 0; c < n; c += CHUNK) {
        int64_t end = n - c < CHUNK ? n : c + CHUNK, i = c;
        for (; i + PONS_LANES <= end; i += PONS_LANES) {
            pons_v16 g = pons_load(gate + i);
            pons_store(gate + i, g / (1.0f + pons_exp16(-g)) * pons_load(up + i));
        }
        for (; i < end; i++)
            gate[i] = gate[i] / (1.0f + pons_exp(-gate[i])) * up[i];
    }
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
    typedef float eight __attribute__((vector_size(32)));
    typedef double eight_f64 __attribute__((vector_size(64)));
    eight_f64 low_half = {0}, high_half = {0};
    int64_t whole = n - n % PONS_LANES, i;
    pons_v16 high = pons_splat(x[0]);
    double lane[PONS_LANES], sum = 0;
    for (i = 0; i < whole; i += PONS_LANES)
        high = pons_max16(pons_load(x + i), high);
    float top = pons_top16(high);
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;

    for (i = 0; i < whole; i += PONS_LANES) {
        pons_v16 e = pons_exp16(pons_load(x + i) - top);
        eight part[2];
        memcpy(part, &e, sizeof e);
        low_half += __builtin_convertvector(part[0], eight_f64);
        high_half += __builtin_convertvector(part[1], eight_f64);
    }
    memcpy(lane, &low_half, sizeof low_half);
    memcpy(lane + PONS_LANES / 2, &high_half, sizeof high_half);
    for (; i < n; i++)
        lane[i - whole] += (double)pons_exp(x[i] - top);
    for (int l = 0; l < PONS_LANES; l++)
        sum += lane[l];
    return (double)top + log(sum);
}

double pons_cross_entropy(int64_t T, int64_t V, const float *logits, const int32_t *target)
{
    enum { TERMS = 512 };
    double term[TERMS], sum = 0;
    int threads = pons_kern_threads();
    for (int64_t t0 = 0; t0 < T; t0 += TERMS) {
        int64_t count = T - t0 < TERMS ? T - t0 : TERMS;
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
