/* SparseGPT's mask without its codes. Owns the pass from left to right. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "kern/block.h"
#include "obr/masks.h"

enum { PANEL = 64, BLOCK = 128 };

/* Mask of columns [begin, end) of a row and their errors, fed forward inside the block.
 * @param metric [end - begin] work */
static void prune_block(const pons_hessian_factor *f, pons_mask_rule rule, int64_t begin,
                        int64_t end, float *w, uint8_t *mask, float *error, float *metric)
{
    int64_t d = f->d, width = end - begin;
    for (int64_t j = begin; j < end; j++)
        metric[j - begin] = fabsf(w[j] / f->U[j * d + j]);
    pons_mask_row(rule, width, metric, mask + begin);
    for (int64_t j = begin; j < end; j++) {
        const float *u = f->U + j * d;
        float e = mask[j] ? 0.0f : -w[j] / u[j];
        error[j - begin] = e;
        for (int64_t k = j + 1; e != 0.0f && k < end; k++)
            w[k] += e * u[k];
    }
}

pons_status pons_mask_sparsegpt(pons_mask_rule rule, const pons_solve_panel *panel, uint8_t *mask,
                                pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    const pons_hessian_factor *f = panel->factor;
    int64_t rows = panel->rows, d = panel->d;
    int64_t block = rule.n > 0 ? (BLOCK + rule.m - 1) / rule.m * rule.m : BLOCK;
    int64_t own = PANEL * (d + block) + block;
    float *space = NULL;
    PONS_ALLOC(st, space, omp_get_max_threads() * own);
#pragma omp parallel for schedule(dynamic)
    for (int64_t first = 0; first < rows; first += PANEL) {
        int64_t n = rows - first < PANEL ? rows - first : PANEL;
        float *W = space + omp_get_thread_num() * own, *E = W + PANEL * d;
        memcpy(W, panel->W + first * d, (size_t)(n * d) * sizeof *W);
        for (int64_t begin = 0; begin < d; begin += block) {
            int64_t end = begin + block < d ? begin + block : d;
            for (int64_t i = 0; i < n; i++)
                prune_block(f, rule, begin, end, W + i * d, mask + (first + i) * d, E + i * block,
                            E + PANEL * block);
            pons_block_nn(n, d - end, end - begin, E, block, f->U + begin * d + end, d, W + end, d,
                          true);
        }
    }
    metrics->products += 0.5 * (double)rows;
done:
    pons_mem_free(space);
    return st;
}
