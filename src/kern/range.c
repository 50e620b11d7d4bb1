/* Owns the range of rows and its smooth form. Where the rows come from and what is done with the
 * gradient is known to rotate/learn.c. */
#include "kern/range.h"

#include <math.h>

#include "kern/simd.h"
#include "kern/threads.h"

static void bounds(int64_t d, const float *y, float *low, float *high)
{
    float least = y[0], most = y[0];
#pragma omp simd reduction(min : least) reduction(max : most)
    for (int64_t j = 1; j < d; j++) {
        least = y[j] < least ? y[j] : least;
        most = y[j] > most ? y[j] : most;
    }
    *low = least;
    *high = most;
}

/* s <- exp(b (y - top)), and the sum of it; b is negative where top is the least entry. */
static double exponentials(int64_t d, float b, float top, const float *y, float *s)
{
    double sum = 0;
    for (int64_t j = 0; j < d; j++)
        s[j] = pons_exp(b * (y[j] - top));
    for (int64_t j = 0; j < d; j++)
        sum += (double)s[j];
    return sum;
}

static double smooth_range_of_row(int64_t d, float b, const float *y, float *s)
{
    float low, high;
    bounds(d, y, &low, &high);
    double below = exponentials(d, -b, low, y, s);
    double above = exponentials(d, b, high, y, s);
    double range = (double)high - (double)low + (log(above) + log(below)) / (double)b;
    float up = (float)(2 * range / above), down = (float)(2 * range / below);
    for (int64_t j = 0; j < d; j++)
        s[j] = up * s[j] - down * pons_exp(-b * (y[j] - low));
    return range * range;
}

void pons_smooth_range(int64_t rows, int64_t d, float sharpness, const float *Y, float *S,
                       double *value)
{
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < rows; r++)
        value[r] = smooth_range_of_row(d, sharpness, Y + r * d, S + r * d);
}

void pons_square_range(int64_t rows, int64_t d, const float *Y, double *value)
{
    int threads = pons_kern_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < rows; r++) {
        float low, high;
        bounds(d, Y + r * d, &low, &high);
        value[r] = ((double)high - (double)low) * ((double)high - (double)low);
    }
}
