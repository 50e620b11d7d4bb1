/* Hessians with a known spectrum. Owns how eigenvectors are drawn; does not read files.
 *
 * Haar eigenvectors need a QR of d x d. Three diagonals of random signs with two Hadamards between them
 * mix as well for what is measured here, in d^2 log d. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "bench/problem.h"
#include "kern/gemm.h"
#include "kern/hadamard.h"

enum { STREAM_SIGNS = 1, STREAM_CHANNELS, STREAM_HAAR, OUTLIER_CHANNELS = 6 };

void pons_bench_gauss(uint32_t seed, uint32_t stream, int64_t n, double sigma, float *x)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, seed * 2654435761u + stream * 40503u);
    for (int64_t i = 0; i < n; i += 2) { /* Box and Muller */
        double u = (pons_mt19937_next(&rng) + 0.5) / 4294967296.0;
        double angle = 6.283185307179586 * (pons_mt19937_next(&rng) / 4294967296.0);
        double radius = sigma * sqrt(-2.0 * log(u));
        x[i] = (float)(radius * cos(angle));
        if (i + 1 < n) x[i + 1] = (float)(radius * sin(angle));
    }
}

static void draw_signs(pons_mt19937 *rng, int64_t n, float *sign)
{
    for (int64_t i = 0; i < n; i++)
        sign[i] = pons_mt19937_next(rng) & 1 ? 1.0f : -1.0f;
}

/* A <- S A S for S the diagonal of x. */
static void scale_both(int64_t d, const float *x, float *A)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            A[i * d + j] *= x[i] * x[j];
}

/* A <- Had A Had^T. */
static pons_status mix_both(int64_t d, float *A)
{
    pons_status st = pons_hadamard_rows_f64(A, d, d, d);
    return st == PONS_OK ? pons_hadamard_columns_f64(A, d, d, d) : st;
}

/* A <- Q A Q^T, A diagonal on entry, Q of signs and two Hadamards. */
static pons_status turn_signed(const pons_bench_layer *layer, float *A)
{
    pons_status st = PONS_OK;
    int64_t d = layer->d;
    pons_mt19937 rng;
    float *sign = NULL;
    PONS_ALLOC(st, sign, d);
    pons_mt19937_seed(&rng, layer->seed * 2654435761u + STREAM_SIGNS);
    for (int k = 0; k < 2; k++) {
        draw_signs(&rng, d, sign);
        scale_both(d, sign, A);
        PONS_TRY(st, mix_both(d, A));
    }
    draw_signs(&rng, d, sign);
    scale_both(d, sign, A);
done:
    pons_mem_free(sign);
    return st;
}

static double dot(int64_t n, const float *a, const float *b)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        sum += (double)a[j] * (double)b[j];
    return sum;
}

/* Rows of Q [d, d] orthonormal and uniform: Gram-Schmidt of Gaussian rows, twice for the rounding; a
 * block of finished rows is taken off by two products. */
static pons_status draw_haar(const pons_bench_layer *layer, float *Q)
{
    enum { BLOCK = 64 };
    pons_status st = PONS_OK;
    int64_t d = layer->d;
    float *C = NULL; /* [BLOCK, d] */
    PONS_ALLOC(st, C, BLOCK * d);
    pons_bench_gauss(layer->seed, STREAM_HAAR, d * d, 1.0, Q);
    for (int64_t first = 0; first < d; first += BLOCK) {
        int64_t n = d - first < BLOCK ? d - first : BLOCK;
        float *block = Q + first * d;
        for (int pass = 0; pass < 2; pass++) {
            if (first > 0) {
                pons_gemm_nt(n, first, d, 1.0f, block, d, Q, d, 0.0f, C, first);
                pons_gemm_nn(n, d, first, -1.0f, C, first, Q, d, 1.0f, block, d);
            }
            for (int64_t i = 0; i < n; i++) {
                float *q = block + i * d;
                for (int64_t k = 0; k < i; k++) {
                    double c = dot(d, q, block + k * d);
                    for (int64_t j = 0; j < d; j++)
                        q[j] -= (float)(c * (double)block[k * d + j]);
                }
                double length = sqrt(dot(d, q, q));
                for (int64_t j = 0; j < d; j++)
                    q[j] = (float)(q[j] / length);
            }
        }
    }
done:
    pons_mem_free(C);
    return st;
}

/* A <- Q diag(lambda) Q^T with Haar Q. */
static pons_status turn_haar(const pons_bench_layer *layer, const double *lambda, float *A)
{
    pons_status st = PONS_OK;
    int64_t d = layer->d;
    float *Q = NULL;
    PONS_ALLOC(st, Q, d * d); /* rows orthonormal, hence columns, too */
    PONS_TRY(st, draw_haar(layer, Q));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            Q[i * d + j] *= (float)sqrt(lambda[j]);
    pons_gemm_nt(d, d, d, 1.0f, Q, d, Q, d, 0.0f, A, d);
done:
    pons_mem_free(Q);
    return st;
}

/* Channels of unlike size, then what a rotation of the model does to them. */
static pons_status spread_channels(const pons_bench_layer *layer, float *A)
{
    pons_status st = PONS_OK;
    int64_t d = layer->d;
    pons_mt19937 rng;
    float *x = NULL;
    PONS_ALLOC(st, x, d);
    pons_bench_gauss(layer->seed, STREAM_CHANNELS, d, 0.7, x);
    for (int64_t j = 0; j < d; j++)
        x[j] = expf(x[j]);
    pons_mt19937_seed(&rng, layer->seed * 2654435761u + STREAM_CHANNELS);
    for (int k = 0; k < OUTLIER_CHANNELS; k++)
        x[pons_mt19937_below(&rng, (uint32_t)d)] *= 30.0f;
    scale_both(d, x, A);
    draw_signs(&rng, d, x);
    scale_both(d, x, A);
    PONS_TRY(st, mix_both(d, A));
done:
    pons_mem_free(x);
    return st;
}

pons_status pons_bench_spectrum(const pons_bench_layer *layer, double *H)
{
    pons_status st = PONS_OK;
    int64_t d = layer->d;
    double *lambda = NULL;
    float *A = NULL;
    bool known = pons_hadamard_block(d) == d;
    if (layer->channels && !known)
        return pons_fail(PONS_ERR_SHAPE,
                         "--spectrum channels: no Hadamard matrix of order %lld is known",
                         (long long)d);
    PONS_ALLOC(st, lambda, d);
    PONS_CALLOC(st, A, d * d);
    for (int64_t i = 0; i < d; i++) {
        lambda[i] =
            i < layer->outlier_count ? layer->outliers[i] : pow((double)i + 1, -layer->power);
        A[i * d + i] = (float)lambda[i];
    }
    if (layer->haar || !known)
        PONS_TRY(st, turn_haar(layer, lambda, A));
    else
        PONS_TRY(st, turn_signed(layer, A));
    if (layer->channels) PONS_TRY(st, spread_channels(layer, A));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            H[i * d + j] = 0.5f * (A[i * d + j] + A[j * d + i]);
done:
    pons_mem_free(A);
    pons_mem_free(lambda);
    return st;
}
