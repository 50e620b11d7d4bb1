/* Norm and rotary embedding of a transformer. Owns what works token by token; attention is
 * attention.c, the loss is loss.c, products with weights and what ends them are matmul.c and
 * fused.c. */
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
