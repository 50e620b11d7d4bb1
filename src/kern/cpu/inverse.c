/* The inverse of a matrix from its inverse factor by BLAS, and its scaling. Owns the tiles and who
 * computes which. */
#include "kern/inverse.h"

#include <cblas.h>

#include "kern/simd.h"

#define TILE 256

/* Tiles side by side that take the same columns of U one after the other: where U streams from disk
 * it is read n / (TILE BAND) times. */
#define BAND 8

void pons_inverse_from_factor(int64_t n, const float *U, int64_t ldu, const pons_shared *deal,
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

/* A square block of entries above the diagonal, from (i, j) on, and their mirror image. */
static void scale_block(int64_t n, const float *unit, int64_t i, int64_t j, float *K)
{
    pons_vec x[PONS_WIDTH], across = pons_load(unit + j);
    for (int r = 0; r < PONS_WIDTH; r++) {
        x[r] = pons_load(K + (i + r) * n + j) / (unit[i + r] * across);
        pons_store(K + (i + r) * n + j, x[r]);
    }
    pons_transpose(x);
    for (int r = 0; r < PONS_WIDTH; r++)
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

void pons_inverse_scale(int64_t n, const float *unit, const pons_shared *deal, float *K)
{
    int64_t tiles = (n + TILE - 1) / TILE;
    int rank = pons_shared_rank(deal), ranks = pons_shared_size(deal);
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = rank; item < tiles * tiles; item += ranks) {
        int64_t i0 = item % tiles * TILE, j0 = item / tiles * TILE;
        int64_t i1 = i0 + TILE < n ? i0 + TILE : n, j1 = j0 + TILE < n ? j0 + TILE : n;
        if (i0 > j0) continue;
        for (int64_t i = i0; i < i1; i += PONS_WIDTH)
            for (int64_t j = j0 > i ? j0 : i; j < j1; j += PONS_WIDTH) {
                int64_t i2 = i + PONS_WIDTH, j2 = j + PONS_WIDTH;
                if (j > i && i2 <= i1 && j2 <= j1)
                    scale_block(n, unit, i, j, K);
                else
                    scale_entries(n, unit, i, i2 < i1 ? i2 : i1, j, j2 < j1 ? j2 : j1, K);
            }
    }
}
