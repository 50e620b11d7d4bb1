/* Vectors of floats. Owns the order of additions in sums: fixed lanes, then the lanes from the
 * first to the last. */
#include "kern/vector.h"

#include <math.h>

#include "kern/simd.h"

#define LANES PONS_LANES

typedef double doubles __attribute__((vector_size(8 * LANES)));

static inline double total(pons_v16 lanes)
{
    double sum = 0.0;
    for (int l = 0; l < LANES; l++)
        sum += (double)lanes[l];
    return sum;
}

double pons_vector_dot(int64_t n, const float *a, const float *b)
{
    doubles lanes = {0};
    double sum = 0.0;
    int64_t whole = n / LANES * LANES;
    for (int64_t j = 0; j < whole; j += LANES)
        lanes += __builtin_convertvector(pons_load(a + j), doubles) *
                 __builtin_convertvector(pons_load(b + j), doubles);
    for (int64_t j = whole; j < n; j++)
        sum += (double)a[j] * (double)b[j];
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

double pons_vector_weighted_square(int64_t n, const float *a, const float *w)
{
    pons_v16 lanes = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        pons_v16 x = pons_load(a + j) * pons_load(w + j);
        lanes += x * x;
    }
    return total(lanes);
}

double pons_vector_square(int64_t n, const float *a)
{
    pons_v16 lanes = {0};
    for (int64_t j = 0; j < n; j += LANES)
        lanes += pons_load(a + j) * pons_load(a + j);
    return total(lanes);
}

void pons_vector_weighted_squares(int64_t n, const float *a, const float *w, const float *v,
                                  double *sum)
{
    pons_v16 all = {0}, weighed = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        pons_v16 x = pons_load(a + j) * pons_load(w + j), y = x * pons_load(v + j);
        all += x * x;
        weighed += y * y;
    }
    sum[0] = total(all);
    sum[1] = total(weighed);
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
