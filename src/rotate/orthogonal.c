/* Owns the drawing and the application of one orthogonal matrix. Where it goes in a model is known
 * to rotation.c. */
#include "rotate/orthogonal.h"

#include <math.h>

#include "base/mem.h"
#include "kern/dense_f64.h"
#include "kern/hadamard.h"
#include "kern/reflect.h"

pons_status pons_orthogonal_hadamard(int64_t n, pons_mt19937 *rng, pons_orthogonal *out)
{
    pons_status st = PONS_OK;
    PONS_ASSERT(n > 0);
    *out = (pons_orthogonal){.n = n};
    if (!rng) return PONS_OK;
    PONS_ALLOC(st, out->sign, n);
    for (int64_t i = 0; i < n; i++)
        out->sign[i] = (pons_mt19937_next(rng) & 1u) ? 1 : -1;
done:
    return st;
}

/* Two independent standard normal numbers (Box and Muller) from four draws. */
static void draw_normal_pair(pons_mt19937 *rng, double out[2])
{
    double u[2];
    for (int i = 0; i < 2; i++) { /* 53 bits, in (0, 1] */
        uint64_t high = pons_mt19937_next(rng) >> 5, low = pons_mt19937_next(rng) >> 6;
        u[i] = (double)(high * 67108864u + low + 1) / 9007199254740992.0;
    }
    double radius = sqrt(-2 * log(u[0])), angle = 2 * 3.14159265358979323846 * u[1];
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

/* v [length] <- the reflection that takes it to a multiple of e_0, scaled so that H = I - v v^T.
 * Returns the sign of that multiple. */
static int8_t make_reflector(double *v, int64_t length)
{
    double square = 0;
    for (int64_t i = 0; i < length; i++)
        square += v[i] * v[i];
    double norm = sqrt(square), first = v[0] < 0 ? v[0] - norm : v[0] + norm;
    int8_t sign = v[0] < 0 ? 1 : -1;
    /* |v - alpha e_0|^2 with alpha = sign norm, which never cancels */
    double scale = sqrt(2 / (square - v[0] * v[0] + first * first));
    v[0] = first;
    for (int64_t i = 0; i < length; i++)
        v[i] *= scale;
    return sign;
}

pons_status pons_orthogonal_random(int64_t n, pons_mt19937 *rng, pons_orthogonal *out)
{
    pons_status st = PONS_OK;
    *out = (pons_orthogonal){.n = n};
    PONS_ALLOC(st, out->sign, n);
    PONS_ALLOC(st, out->reflector, n * (n + 1) / 2);
    double *v = out->reflector;
    for (int64_t k = 0; k < n; v += n - k, k++) {
        double pair[2];
        for (int64_t i = 0; i < n - k; i++) {
            if (i % 2 == 0) draw_normal_pair(rng, pair);
            v[i] = pair[i % 2];
        }
        out->sign[k] = make_reflector(v, n - k);
    }
done:
    if (st != PONS_OK) pons_orthogonal_clear(out);
    return st;
}

/* Largest entry of |G - I|; Inf when an entry is not finite. */
static double distance_to_identity(const float *G, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n * n; i++) {
        double off = fabs((double)G[i] - (i / n == i % n));
        if (!(off <= most)) most = isfinite(off) ? off : INFINITY;
    }
    return most;
}

pons_status pons_orthogonal_given(int64_t n, const float *Q, double *deviation,
                                  pons_orthogonal *out)
{
    pons_status st = PONS_OK;
    float *gram = NULL; /* Q^T, then Q^T Q */
    *out = (pons_orthogonal){.n = n};
    PONS_ALLOC(st, out->dense, n * n);
    PONS_ALLOC(st, gram, n * n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            out->dense[i * n + j] = Q[i * n + j];
            gram[j * n + i] = Q[i * n + j];
        }
    PONS_TRY(st, pons_dense_vectors_f64(out->dense, n, gram, n, n, 1));
    *deviation = distance_to_identity(gram, n);
done:
    pons_mem_free(gram);
    if (st != PONS_OK) pons_orthogonal_clear(out);
    return st;
}

void pons_orthogonal_clear(pons_orthogonal *Q)
{
    pons_mem_free(Q->dense);
    pons_mem_free(Q->reflector);
    pons_mem_free(Q->sign);
    *Q = (pons_orthogonal){0};
}

pons_status pons_orthogonal_rows(const pons_orthogonal *Q, float *X, int64_t rows, int64_t ld)
{
    if (Q->dense) return pons_dense_vectors_f64(Q->dense, Q->n, X, rows, ld, 1);
    if (Q->reflector) return pons_reflect_vectors(Q->reflector, Q->sign, Q->n, X, rows, ld, 1);
    if (Q->sign)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < Q->n; i++)
                X[r * ld + i] *= Q->sign[i];
    return pons_hadamard_rows_f64(X, rows, Q->n, ld);
}

pons_status pons_orthogonal_columns(const pons_orthogonal *Q, float *X, int64_t cols, int64_t ld)
{
    if (Q->dense) return pons_dense_vectors_f64(Q->dense, Q->n, X, cols, 1, ld);
    if (Q->reflector) return pons_reflect_vectors(Q->reflector, Q->sign, Q->n, X, cols, 1, ld);
    if (Q->sign)
        for (int64_t i = 0; i < Q->n; i++)
            for (int64_t c = 0; c < cols; c++)
                X[i * ld + c] *= Q->sign[i];
    return pons_hadamard_columns_f64(X, Q->n, cols, ld);
}
