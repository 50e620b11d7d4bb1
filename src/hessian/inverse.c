/* K = U^T U, its scaling and its prepared forms. Owns nothing of the factorisation, which is factor.c's,
 * nor of the iterations that use K. */
#include "hessian/inverse.h"

#include <cblas.h>
#include <math.h>

#include "base/mem.h"
#include "kern/simd.h"
#include "kern/triangle.h"

#define TILE 256

/* What a rough K does to an objective, per unit of its condition. */
#define ROUGHNESS 0x1p-18

/* Tiles side by side that meet the same columns of U one after the other: a U on disk is read n / (TILE BAND)
 * times. */
#define BAND 8

void pons_hessian_inverse_of(int64_t n, const float *U, int64_t ldu, const pons_shared *deal,
                             float *K)
{
    int64_t tiles = (n + TILE - 1) / TILE;
    int rank = pons_shared_rank(deal), ranks = pons_shared_size(deal);
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = rank; item < tiles * tiles; item += ranks) {
        int64_t band = item / (tiles * BAND) * BAND, at = item % (tiles * BAND);
        int64_t wide = tiles - band < BAND ? tiles - band : BAND;
        int64_t i = at / wide * TILE, j = (band + at % wide) * TILE;
        int64_t ni = n - i < TILE ? n - i : TILE, nj = n - j < TILE ? n - j : TILE;
        if (i > j) continue;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)ni, (int)nj, (int)(i + ni), 1.0f,
                    U + i, (int)ldu, U + j, (int)ldu, 0.0f, K + i * n + j, (int)n);
    }
}

/* The same of 16 x 16 entries above the diagonal, from (i, j) on. */
static void scale_block(int64_t n, const float *unit, int64_t i, int64_t j, float *K)
{
    pons_v16 x[PONS_LANES], across = pons_load(unit + j);
    for (int r = 0; r < PONS_LANES; r++) {
        x[r] = pons_load(K + (i + r) * n + j) / (unit[i + r] * across);
        pons_store(K + (i + r) * n + j, x[r]);
    }
    pons_transpose16(x);
    for (int r = 0; r < PONS_LANES; r++)
        pons_store(K + (j + r) * n + i, x[r]);
}

/* Entries of [i, i1) x [j, j1) on and above the diagonal, and what mirrors them. */
static void scale_entries(int64_t n, const float *unit, int64_t i, int64_t i1, int64_t j,
                          int64_t j1, float *K)
{
    for (; i < i1; i++)
        for (int64_t c = j > i ? j : i; c < j1; c++) {
            K[i * n + c] = i == c ? 1.0f : K[i * n + c] / (unit[i] * unit[c]);
            K[c * n + i] = K[i * n + c];
        }
}

/* Unit diagonal, and the lower triangle from the upper one, tile by tile. This rank's share. */
static void scale(int64_t n, const float *unit, const pons_shared *deal, float *K)
{
    int64_t tiles = (n + TILE - 1) / TILE;
    int rank = pons_shared_rank(deal), ranks = pons_shared_size(deal);
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = rank; item < tiles * tiles; item += ranks) {
        int64_t i0 = item % tiles * TILE, j0 = item / tiles * TILE;
        int64_t i1 = i0 + TILE < n ? i0 + TILE : n, j1 = j0 + TILE < n ? j0 + TILE : n;
        if (i0 > j0) continue;
        for (int64_t i = i0; i < i1; i += PONS_LANES)
            for (int64_t j = j0 > i ? j0 : i; j < j1; j += PONS_LANES) {
                int64_t i2 = i + PONS_LANES, j2 = j + PONS_LANES;
                if (j > i && i2 <= i1 && j2 <= j1)
                    scale_block(n, unit, i, j, K);
                else
                    scale_entries(n, unit, i, i2 < i1 ? i2 : i1, j, j2 < j1 ? j2 : j1, K);
            }
    }
}

/* Collective: K on every node, scaled; its ranks work on it together. */
static pons_status make_inverse(const pons_hessian_factor *factor, pons_hessian_inverse *s)
{
    pons_status st = PONS_OK;
    int64_t n = s->n, d = factor->d;
    const float *U = factor->U + s->from * d + s->from;
    if (pons_product_exact(false) == PONS_PRODUCT_TRIPLE)
        PONS_TRY(st,
                 pons_triangle_square(factor->comm, s->shared, n, U, d, s->K, s->rough ? 2 : 3));
    else
        pons_hessian_inverse_of(n, U, d, s->shared, s->K);
    pons_shared_settle(s->shared);
    for (int64_t j = 0; j < n; j++)
        s->unit[j] = sqrtf(s->K[j * n + j]);
    pons_shared_settle(s->shared); /* all have read the diagonal */
    scale(n, s->unit, s->shared, s->K);
    pons_shared_settle(s->shared);
done:
    return st;
}

/* Norms of `rows` rows of A [rows, n]. Sums run over fixed lanes. */
static void measure(int64_t rows, int64_t n, const float *A, float *size)
{
    enum { LANES = 16 };
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++) {
        const float *a = A + i * n;
        double lane[LANES] = {0}, sum = 0.0;
        int64_t whole = n / LANES * LANES;
        for (int64_t j = 0; j < whole; j += LANES)
            for (int l = 0; l < LANES; l++)
                lane[l] += (double)a[j + l] * (double)a[j + l];
        for (int64_t j = whole; j < n; j++)
            sum += (double)a[j] * (double)a[j];
        for (int l = 0; l < LANES; l++)
            sum += lane[l];
        size[i] = (float)sqrt(sum);
    }
}

/* Norms of columns, diagonals, and what they say of the condition. */
static void describe(const pons_hessian_factor *factor, pons_hessian_inverse *s)
{
    int64_t n = s->n, d = factor->d, from = s->from;
    for (int64_t j = 0; j < n; j++) {
        float h = factor->H[(from + j) * (d + 1)];
        s->reciprocal[j] = 1.0f / h;
        s->root[j] = sqrtf(h);
    }
    measure(n, d, factor->H + from * d, s->size); /* symmetric */
    measure(n, n, s->K, s->reach);
    s->blur = s->condition = 0.0;
    for (int64_t j = 0; j < n; j++) {
        double size = s->size[j], unit = s->unit[j], reach = s->reach[j];
        s->reach[j] = (float)sqrt(fmax(reach * reach - 1.0, 0.0));
        s->blur += size * unit * size * unit;
        s->condition += size * unit * unit / (double)n;
    }
}

pons_status pons_hessian_inverse_create(const pons_hessian_factor *factor, int64_t from, bool bf16,
                                        double tolerance, pons_hessian_inverse **out)
{
    pons_status st = PONS_OK;
    pons_hessian_inverse *s = pons_mem_calloc(1, sizeof *s);
    int64_t d = factor->d, n = d - from;
    PONS_ASSERT(from >= 0 && n > 0);
    if (s) {
        s->from = from;
        s->n = n;
        s->kind = pons_product_exact(bf16);
        s->rough = tolerance > 0.0 && s->kind == PONS_PRODUCT_SPLIT &&
                   pons_product_exact(false) == PONS_PRODUCT_TRIPLE;
        s->of = pons_product_tiles_of(n);
        s->unit = pons_mem_alloc(s->of.padded, sizeof *s->unit);
        s->size = pons_mem_calloc(s->of.padded, sizeof *s->size);
        s->reciprocal = pons_mem_calloc(s->of.padded, sizeof *s->reciprocal);
        s->root = pons_mem_calloc(s->of.padded, sizeof *s->root);
        s->reach = pons_mem_calloc(s->of.padded, sizeof *s->reach);
    }
    bool room = s && s->unit && s->size && s->reciprocal && s->root && s->reach;
    PONS_TRY_ALL(st, factor->comm, room ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_shared_create(factor->comm, (size_t)(n * n) * sizeof *s->K, &s->shared));
    s->K = pons_shared_data(s->shared);
    PONS_TRY(st, make_inverse(factor, s));
    describe(factor, s);
    if (s->rough && !(s->condition * ROUGHNESS <= tolerance)) {
        s->rough = false;
        pons_shared_settle(s->shared); /* all have read the rough one */
        PONS_TRY(st, make_inverse(factor, s));
        describe(factor, s);
    }
    for (int64_t j = n; j < s->of.padded; j++)
        s->unit[j] = 1.0f;
    PONS_TRY(st,
             pons_product_create_shared(factor->comm, s->kind, n, n, s->K, n, 0, 0, &s->inverse));
    if (s->kind != PONS_PRODUCT_FP32) {
        pons_shared_destroy(&s->shared);
        s->K = NULL;
    }
    PONS_TRY(st, pons_product_create_shared(factor->comm, s->kind, n, n, factor->H, d, from, from,
                                            &s->hessian));
    *out = s;
    s = NULL;
done:
    pons_hessian_inverse_destroy(&s);
    return st;
}

void pons_hessian_inverse_destroy(pons_hessian_inverse **inverse)
{
    pons_hessian_inverse *s = *inverse;
    if (!s) return;
    pons_product_destroy(&s->hessian);
    pons_product_destroy(&s->inverse);
    pons_mem_free(s->reach);
    pons_mem_free(s->root);
    pons_mem_free(s->reciprocal);
    pons_mem_free(s->size);
    pons_mem_free(s->unit);
    pons_shared_destroy(&s->shared);
    pons_mem_free(s);
    *inverse = NULL;
}
