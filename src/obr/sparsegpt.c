/* SparseGPT + GPTQ in one pass. Owns the choice of masks inside the sweep; the arithmetic is in
 * kern/sweep.h. Specification 3.6. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "obr/gptq.h"
#include "kern/sweep.h"
#include "prune/mask.h"
#include "prune/select.h"

enum { PANEL = 64 }; /* rows */

/* Pruned are the entries of least metric in each group of m columns of a row. */
typedef struct chooser {
    const pons_sweep *sweep;
    int n, m;
    uint8_t *mask; /* [rows, d] */
    float *metric; /* [m] */
} chooser;

/* @param w value of column j */
static float metric_of(const pons_sweep *sweep, float w, int64_t j)
{
    float u = sweep->U[j * sweep->d + j];
    return w * w / (u * u);
}

/* pons_sweep_panel.choose */
static void choose_group(void *user, int64_t row, int64_t column, const float *w)
{
    const chooser *c = user;
    for (int64_t k = 0; k < c->m; k++)
        c->metric[k] = metric_of(c->sweep, w[k], column + k);
    pons_mask_smallest(c->m, c->metric, c->n, c->mask + row * c->sweep->d + column);
}

/* Masks of columns [begin, end) of every row by one threshold. @param metric [rows, end - begin] */
static void mask_block(const pons_sweep *sweep, int64_t begin, int64_t end, const float *W,
                       int64_t ld, double sparsity, float *metric, uint8_t *mask)
{
    int64_t width = end - begin, count = sweep->rows * width;
#pragma omp parallel for
    for (int64_t i = 0; i < sweep->rows; i++)
        for (int64_t j = begin; j < end; j++)
            metric[i * width + j - begin] = metric_of(sweep, W[i * ld + j], j);
    int64_t index = (int64_t)((double)count * sparsity);
    float threshold = pons_select_kth(count, metric, index < count ? index : count - 1, NULL);
#pragma omp parallel for
    for (int64_t i = 0; i < sweep->rows; i++)
        for (int64_t j = begin; j < end; j++)
            mask[i * sweep->d + j] = metric[i * width + j - begin] > threshold;
}

pons_status pons_sparsegpt_sweep(const pons_sweep *sweep, int64_t block, const float *W,
                                 double sparsity, int n, int m, uint8_t *mask, int8_t *codes)
{
    pons_status st = PONS_OK;
    int64_t rows = sweep->rows, d = sweep->d, panels = (rows + PANEL - 1) / PANEL;
    int64_t ld = pons_sweep_stride(d), work = pons_sweep_work(PANEL);
    int64_t threads = omp_get_max_threads();
    float *current = NULL, *E = NULL, *metric = NULL;
    if (block > d) block = d;
    PONS_CALLOC(st, current, rows * ld);
    PONS_ALLOC(st, E, threads * work);
    PONS_ALLOC(st, metric, n > 0 ? threads * m : rows * block);
    memset(mask, 1, (size_t)(rows * d)); /* sparsity 0 prunes nothing */
    for (int64_t i = 0; i < rows; i++)
        memcpy(current + i * ld, W + i * d, (size_t)d * sizeof *W);
    for (int64_t begin = 0; begin < d; begin += block) {
        int64_t end = begin + block < d ? begin + block : d;
        if (n == 0 && sparsity > 0.0)
            mask_block(sweep, begin, end, current, ld, sparsity, metric, mask);
#pragma omp parallel for schedule(dynamic)
        for (int64_t item = 0; item < panels; item++) {
            int64_t first = item * PANEL, self = omp_get_thread_num();
            chooser c = {sweep, n, m, mask, metric + self * m};
            pons_sweep_panel p = {.first = first,
                                  .rows = rows - first < PANEL ? rows - first : PANEL,
                                  .ld = ld,
                                  .W = current + first * ld,
                                  .E = E + self * work,
                                  .choose = n > 0 ? choose_group : NULL,
                                  .user = &c,
                                  .every = m};
            pons_sweep_columns(sweep, &p, begin, end, mask, codes);
        }
    }
done:
    pons_mem_free(metric);
    pons_mem_free(E);
    pons_mem_free(current);
    return st;
}
