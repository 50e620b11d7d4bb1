/* Norms, scales and the quantum of exact sums. Owns no sums. */
#include "hessian/columns.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"

/* Squared norms of the columns of X [n, d]. */
static void add_up(int64_t n, int64_t d, const float *X, bool bf16, double *norm)
{
    memset(norm, 0, (size_t)d * sizeof *norm);
    for (int64_t s = 0; s < n; s++)
        for (int64_t j = 0; j < d; j++) {
            double x = bf16 ? pons_bf16_round(X[s * d + j]) : X[s * d + j];
            norm[j] += x * x;
        }
}

pons_status pons_columns_norms(int64_t S, int64_t d, const float *X, bool bf16, double *norm)
{
    enum { TOKENS = 128 }; /* tokens of a partial sum */
    pons_status st = PONS_OK;
    int64_t parts = (S + TOKENS - 1) / TOKENS;
    double *part = NULL; /* [parts, d] */
    PONS_ALLOC(st, part, parts * d);
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < parts; p++)
        add_up(S - p * TOKENS < TOKENS ? S - p * TOKENS : TOKENS, d, X + p * TOKENS * d, bf16,
               part + p * d);
    memset(norm, 0, (size_t)d * sizeof *norm);
    for (int64_t p = 0; p < parts; p++)
        for (int64_t j = 0; j < d; j++)
            norm[j] += part[p * d + j];
done:
    pons_mem_free(part);
    return st;
}

int pons_columns_exponent(double largest)
{
    int exponent = 0;
    if (largest > 0) {
        frexp(sqrt(largest), &exponent);
        if (exponent < -120) exponent = -120;
    }
    return exponent;
}

double pons_columns_quantum(int64_t windows)
{
    int bits = 1; /* |sum| < 2 * windows rounded up to a power of two */
    while ((1LL << (bits - 1)) < windows)
        bits++;
    return ldexp(1.0, bits - 52);
}
