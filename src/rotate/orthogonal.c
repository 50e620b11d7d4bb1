/* Owns the drawing and the application of one orthogonal matrix. Where it goes in a model is known
 * to rotation.c. */
#include "rotate/orthogonal.h"

#include <math.h>

#include <omp.h>

#include "base/mem.h"
#include "kern/dense_f64.h"
#include "kern/hadamard.h"

pons_status pons_orthogonal_hadamard(int64_t n, pons_mt19937 *rng, pons_orthogonal *out)
{
    pons_status st = PONS_OK;
    PONS_ASSERT(pons_hadamard_factor(n) > 0);
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

/* Vectors reflected at once: entry i of all of them stands in two vector registers, whose sums do
 * not wait for each other. */
enum { LANES = 8, PANEL = 2 * LANES };
typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));

/* p [n, 2] <- Q^T p. */
static void reflect_panel(const pons_orthogonal *Q, lanes *p)
{
    const double *v = Q->reflector;
    for (int64_t k = 0; k < Q->n; v += Q->n - k, k++) {
        lanes dot0 = {0}, dot1 = {0}, *from = p + 2 * k;
        for (int64_t i = 0; i < Q->n - k; i++) {
            dot0 += v[i] * from[2 * i];
            dot1 += v[i] * from[2 * i + 1];
        }
        for (int64_t i = 0; i < Q->n - k; i++) {
            from[2 * i] -= v[i] * dot0;
            from[2 * i + 1] -= v[i] * dot1;
        }
    }
    for (int64_t i = 0; i < 2 * Q->n; i++)
        p[i] *= (double)Q->sign[i / 2];
}

/* `count` vectors c <- Q^T c; entry i of vector r is X[r * vector + i * entry]. */
static pons_status reflect_all(const pons_orthogonal *Q, float *X, int64_t count, int64_t vector,
                               int64_t entry)
{
    pons_status st = PONS_OK;
    int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    lanes *scratch = NULL;
    PONS_ALLOC(st, scratch, threads * Q->n * 2);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < count; first += PANEL) {
        lanes *panel = scratch + omp_get_thread_num() * Q->n * 2;
        int64_t width = count - first < PANEL ? count - first : PANEL;
        float *x = X + first * vector;
        for (int64_t i = 0; i < Q->n; i++)
            for (int64_t l = 0; l < PANEL; l++)
                panel[2 * i + l / LANES][l % LANES] = l < width ? x[l * vector + i * entry] : 0;
        reflect_panel(Q, panel);
        for (int64_t i = 0; i < Q->n; i++)
            for (int64_t l = 0; l < width; l++)
                x[l * vector + i * entry] = (float)panel[2 * i + l / LANES][l % LANES];
    }
done:
    pons_mem_free(scratch);
    return st;
}

pons_status pons_orthogonal_rows(const pons_orthogonal *Q, float *X, int64_t rows, int64_t ld)
{
    if (Q->dense) return pons_dense_vectors_f64(Q->dense, Q->n, X, rows, ld, 1);
    if (Q->reflector) return reflect_all(Q, X, rows, ld, 1);
    if (Q->sign)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < Q->n; i++)
                X[r * ld + i] *= Q->sign[i];
    return pons_hadamard_rows_f64(X, rows, Q->n, ld);
}

pons_status pons_orthogonal_columns(const pons_orthogonal *Q, float *X, int64_t cols, int64_t ld)
{
    if (Q->dense) return pons_dense_vectors_f64(Q->dense, Q->n, X, cols, 1, ld);
    if (Q->reflector) return reflect_all(Q, X, cols, 1, ld);
    if (Q->sign)
        for (int64_t i = 0; i < Q->n; i++)
            for (int64_t c = 0; c < cols; c++)
                X[i * ld + c] *= Q->sign[i];
    return pons_hadamard_columns_f64(X, Q->n, cols, ld);
}
