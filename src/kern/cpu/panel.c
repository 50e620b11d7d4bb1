/* Products of row panels with the Hessian. Owns the padding that makes a row's bits independent of
 * its neighbours: BLAS always sees PONS_ROW_PANEL rows, and a row always sits at the same place. */
#include "kern/panel.h"

#include <cblas.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"

#define COLUMN_TILE 256

int64_t pons_panel_count(int64_t row, int64_t rows)
{
    if (rows <= 0) return 0;
    return (row + rows - 1) / PONS_ROW_PANEL - row / PONS_ROW_PANEL + 1;
}

pons_panel pons_panel_at(int64_t row, int64_t rows, int64_t i)
{
    int64_t begin = (row / PONS_ROW_PANEL + i) * PONS_ROW_PANEL, end = begin + PONS_ROW_PANEL;
    if (end > row + rows) end = row + rows;
    int64_t from = begin > row ? begin : row;
    return (pons_panel){from - row, end - from, from - begin};
}

pons_status pons_panel_multiply(int64_t row, int64_t rows, int64_t d, const float *X,
                                const float *H, float *Y)
{
    pons_status st = PONS_OK;
    float *padded = NULL;
    int64_t panels = pons_panel_count(row, rows), tiles = (d + COLUMN_TILE - 1) / COLUMN_TILE;
    int64_t thread_size = PONS_ROW_PANEL * (d + COLUMN_TILE);
    /* Only the first and the last panel can be incomplete. */
    PONS_ALLOC(st, padded, omp_get_max_threads() * thread_size);
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < panels * tiles; item++) {
        /* all panels meet some columns of H before the next ones, which may come from disk */
        pons_panel p = pons_panel_at(row, rows, item % panels);
        int64_t begin = item / panels * COLUMN_TILE, ldc = d;
        int64_t columns = d - begin < COLUMN_TILE ? d - begin : COLUMN_TILE;
        float *A = padded + omp_get_thread_num() * thread_size, *C = A + PONS_ROW_PANEL * d;
        const float *source = X + p.first * d;
        bool whole = p.count == PONS_ROW_PANEL;
        if (whole) {
            C = Y + p.first * d + begin;
        } else {
            memset(A, 0, (size_t)(PONS_ROW_PANEL * d) * sizeof *A);
            memcpy(A + p.offset * d, source, (size_t)(p.count * d) * sizeof *A);
            source = A;
            ldc = COLUMN_TILE;
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, PONS_ROW_PANEL, (int)columns, (int)d,
                    1.0f, source, (int)d, H + begin, (int)d, 0.0f, C, (int)ldc);
        for (int64_t r = 0; !whole && r < p.count; r++)
            memcpy(Y + (p.first + r) * d + begin, C + (p.offset + r) * ldc,
                   (size_t)columns * sizeof *Y);
    }
done:
    pons_mem_free(padded);
    return st;
}
