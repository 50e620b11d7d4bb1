/* Effective dimensions of a Hessian by Lanczos quadrature. The result is one number. For a random
 * vector v of unit length, v f(H) v^T is about tr f(H) / d, and the Lanczos process from v gives
 * Gauss' quadrature of it: nodes are the eigenvalues of a small tridiagonal matrix, weights the
 * squared first entries of its eigenvectors. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "hessian/shrink.h"
#include "kern/dense.h"
#include "kern/vector.h"

enum { PROBES = 2, STEPS = 40, BISECTIONS = 60, SEED = 20 };

typedef struct quadrature {
    int64_t count;
    double node[PROBES * STEPS], weight[PROBES * STEPS];
} quadrature;

static void normalise(int64_t n, float *x)
{
    double size = sqrt(pons_vector_dot(n, x, x));
    for (int64_t j = 0; j < n; j++)
        x[j] = (float)(x[j] / size);
}

/* Lanczos from V[0] with full reorthogonalisation. Returns the number of steps. */
static int lanczos(const pons_hessian_factor *f, float *V, double *diagonal, double *beside)
{
    int64_t d = f->d;
    for (int k = 0; k < STEPS; k++) {
        float *next = V + (k + 1) * d;
#pragma omp parallel for
        for (int64_t i = 0; i < d; i++)
            next[i] = (float)pons_vector_dot(d, f->H + i * d, V + k * d);
        diagonal[k] = pons_vector_dot(d, V + k * d, next);
        double before = sqrt(pons_vector_dot(d, next, next));
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i <= k; i++) {
                float part = (float)pons_vector_dot(d, V + i * d, next);
                for (int64_t j = 0; j < d; j++)
                    next[j] -= part * V[i * d + j];
            }
        beside[k] = sqrt(pons_vector_dot(d, next, next));
        if (k + 1 == STEPS || k + 1 == d || !(beside[k] > 1e-5 * before)) return k + 1;
        normalise(d, next);
    }
    return STEPS;
}

static pons_status add_nodes(const pons_hessian_factor *f, float *V, quadrature *q)
{
    double diagonal[STEPS], beside[STEPS], vectors[STEPS * STEPS], work[2 * STEPS];
    int steps = lanczos(f, V, diagonal, beside);
    int64_t info = pons_dense_tridiagonal(steps, diagonal, beside, vectors, work);
    if (info != 0)
        return pons_fail(PONS_ERR_NUMERIC, "no eigenvalues of a Hessian's Lanczos matrix (%lld)",
                         (long long)info);
    for (int k = 0; k < steps; k++) {
        double first = vectors[k * steps];
        q->node[q->count] = fmax(diagonal[k], 0.0);
        q->weight[q->count++] = (double)f->d / PROBES * first * first;
    }
    return PONS_OK;
}

static double effective(const quadrature *q, double tau)
{
    double sum = 0.0;
    for (int64_t k = 0; k < q->count; k++)
        sum += q->weight[k] * q->node[k] / (q->node[k] + tau);
    return sum;
}

static pons_status find_ridge(const pons_hessian_factor *factor, double count, double *tau)
{
    pons_status st = PONS_OK;
    int64_t d = factor->d;
    float *V = NULL;
    quadrature *q = NULL;
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, SEED);
    PONS_ALLOC(st, V, (STEPS + 1) * d);
    PONS_CALLOC(st, q, 1);
    for (int p = 0; p < PROBES; p++) {
        for (int64_t j = 0; j < d; j++)
            V[j] = pons_mt19937_next(&rng) & 0x80000000u ? 1.0f : -1.0f;
        normalise(d, V);
        PONS_TRY(st, add_nodes(factor, V, q));
    }
    double low = 0.0, high = 0.0; /* logarithms of tau */
    for (int64_t k = 0; k < q->count; k++)
        high = fmax(high, q->node[k]);
    low = log(high) - 40.0;
    high = log(high) + log((double)d) + 1.0;
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = 0.5 * (low + high);
        if (effective(q, exp(middle)) > count)
            low = middle;
        else
            high = middle;
    }
    *tau = exp(0.5 * (low + high));
done:
    pons_mem_free(q);
    pons_mem_free(V);
    return st;
}

pons_status pons_hessian_effective_ridge(const pons_hessian_factor *factor, double count,
                                         double *tau)
{
    pons_status st = PONS_OK;
    PONS_TRY_ALL(st, factor->comm,
                 pons_comm_rank(factor->comm) == 0 ? find_ridge(factor, count, tau) : PONS_OK);
    pons_comm_bcast(factor->comm, tau, sizeof *tau, 0);
done:
    return st;
}
