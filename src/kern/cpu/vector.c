/* Vectors of floats. Owns the order of additions in sums: fixed lanes, then the lanes from the
 * first to the last. */
#include "kern/vector.h"

#include <math.h>
#include <string.h>

#include "kern/simd.h"

#define LANES PONS_LANES

double pons_vector_dot(int64_t n, const float *a, const float *b)
{
    enum { HALF = PONS_WIDTH / 2 };
    pons_dvec part[LANES / HALF] = {{0}};
    double sum = 0.0, lane[LANES];
    int64_t whole = n / LANES * LANES;
    for (int64_t j = 0; j < whole; j += LANES)
        for (int p = 0; p < LANES / HALF; p++)
            part[p] += pons_load_double(a + j + p * HALF) * pons_load_double(b + j + p * HALF);
    memcpy(lane, part, sizeof lane);
    for (int64_t j = whole; j < n; j++)
        sum += (double)a[j] * (double)b[j];
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

double pons_vector_weighted_square(int64_t n, const float *a, const float *w)
{
    pons_vec lanes[PONS_PARTS] = {{0}};
    for (int64_t j = 0; j < n; j += LANES)
        for (int p = 0; p < PONS_PARTS; p++) {
            int64_t at = j + p * PONS_WIDTH;
            pons_vec x = pons_load(a + at) * pons_load(w + at);
            lanes[p] += x * x;
        }
    return pons_total(lanes);
}

double pons_vector_square(int64_t n, const float *a)
{
    pons_vec lanes[PONS_PARTS] = {{0}};
    for (int64_t j = 0; j < n; j += LANES)
        for (int p = 0; p < PONS_PARTS; p++) {
            pons_vec x = pons_load(a + j + p * PONS_WIDTH);
            lanes[p] += x * x;
        }
    return pons_total(lanes);
}

void pons_vector_weighted_squares(int64_t n, const float *a, const float *w, const float *v,
                                  double *sum)
{
    pons_vec all[PONS_PARTS] = {{0}}, weighed[PONS_PARTS] = {{0}};
    for (int64_t j = 0; j < n; j += LANES)
        for (int p = 0; p < PONS_PARTS; p++) {
            int64_t at = j + p * PONS_WIDTH;
            pons_vec x = pons_load(a + at) * pons_load(w + at), y = x * pons_load(v + at);
            all[p] += x * x;
            weighed[p] += y * y;
        }
    sum[0] = pons_total(all);
    sum[1] = pons_total(weighed);
}

void pons_vector_subtract(int64_t n, const float *a, const float *b, float *out)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        out[j] = a[j] - b[j];
}

void pons_vector_divide(int64_t n, const float *a, const float *b, float *out)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        out[j] = a[j] / b[j];
}

void pons_vector_multiply(int64_t n, const float *a, const float *b, float *out)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        out[j] = a[j] * b[j];
}

void pons_vector_add(int64_t n, const float *a, float *out)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++)
        out[j] += a[j];
}

void pons_row_norms(int64_t rows, int64_t n, const float *A, float *norm)
{
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++)
        norm[i] = (float)sqrt(pons_vector_dot(n, A + i * n, A + i * n));
}
