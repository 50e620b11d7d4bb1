/* SparseGPT + GPTQ in one pass. Owns the choice of masks inside the sweep; the arithmetic of the
 * sweep is gptq.c's. Specification 3.6. */
#include "obr/gptq.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "obr/panel.h"
#include "prune/mask.h"
#include "prune/select.h"

static float metric_of(const pons_sweep *sweep, const float *w, int64_t j)
{
    float u = sweep->U[j * sweep->d + j];
    return w[j] * w[j] / (u * u);
}

/* Masks of columns [begin, end) of every row by one threshold. @param metric [rows, end - begin] */
static void mask_block(const pons_sweep *sweep, int64_t begin, int64_t end, const float *W,
                       double sparsity, float *metric, uint8_t *mask)
{
    int64_t width = end - begin, count = sweep->rows * width, lead = sweep->row % PONS_ROW_PANEL;
#pragma omp parallel for
    for (int64_t i = 0; i < sweep->rows; i++)
        for (int64_t j = begin; j < end; j++)
            metric[i * width + j - begin] = metric_of(sweep, W + (lead + i) * sweep->d, j);
    int64_t index = (int64_t)((double)count * sparsity);
    float threshold = pons_select_kth(count, metric, index < count ? index : count - 1, NULL);
#pragma omp parallel for
    for (int64_t i = 0; i < sweep->rows; i++)
        for (int64_t j = begin; j < end; j++)
            mask[i * sweep->d + j] = metric[i * width + j - begin] > threshold;
}

/* Columns [begin, end) of one row, choosing each n:m group when the sweep reaches it. */
static void sweep_groups(const pons_sweep *sweep, int64_t i, int64_t begin, int64_t end, float *w,
                         int n, int m, float *metric, uint8_t *mask, float *error, int8_t *codes)
{
    for (int64_t j = begin; j < end; j += m) {
        for (int64_t k = 0; k < m; k++)
            metric[k] = metric_of(sweep, w, j + k);
        pons_mask_smallest(m, metric, n, mask + j);
        pons_gptq_columns(sweep, i, j, j + m, end, w, mask, error + j - begin, codes);
    }
}

pons_status pons_sparsegpt_sweep(const pons_sweep *sweep, const float *W, double sparsity, int n,
                                 int m, uint8_t *mask, int8_t *codes)
{
    pons_status st = PONS_OK;
    int64_t rows = sweep->rows, d = sweep->d, block = sweep->block;
    int64_t panels = pons_panel_count(sweep->row, rows), lead = sweep->row % PONS_ROW_PANEL;
    float *current = NULL, *E = NULL, *metric = NULL;
    /* Padded to whole panels, so that every update has the same shape. */
    PONS_CALLOC(st, current, panels * PONS_ROW_PANEL * d);
    PONS_CALLOC(st, E, panels * PONS_ROW_PANEL * block);
    PONS_ALLOC(st, metric, rows * block);
    memset(mask, 1, (size_t)(rows * d)); /* sparsity 0 prunes nothing */
    memcpy(current + lead * d, W, (size_t)(rows * d) * sizeof *W);
    for (int64_t begin = 0; begin < d; begin += block) {
        int64_t end = begin + block < d ? begin + block : d;
        if (n == 0 && sparsity > 0.0)
            mask_block(sweep, begin, end, current, sparsity, metric, mask);
#pragma omp parallel for schedule(dynamic)
        for (int64_t item = 0; item < panels; item++) {
            pons_panel p = pons_panel_at(sweep->row, rows, item);
            float *panel_E = E + item * PONS_ROW_PANEL * block;
            float *panel_W = current + item * PONS_ROW_PANEL * d;
            for (int64_t r = 0; r < p.count; r++) {
                int64_t i = p.first + r, at = p.offset + r;
                float *w = panel_W + at * d, *e = panel_E + at * block;
                if (n > 0)
                    sweep_groups(sweep, i, begin, end, w, n, m, metric + i * block, mask + i * d, e,
                                 codes + i * d);
                else
                    pons_gptq_columns(sweep, i, begin, end, end, w, mask + i * d, e, codes + i * d);
            }
            pons_gptq_update(sweep, begin, end, panel_E, panel_W);
        }
    }
done:
    pons_mem_free(metric);
    pons_mem_free(E);
    pons_mem_free(current);
    return st;
}
