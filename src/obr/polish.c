/* Coordinate descent over scales and codes. Owns the order of coordinates and the gradient; the
 * grid is defined in quant. */
#include "obr/polish.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kern/block.h"
#include "kern/panel.h"
#include "quant/weight.h"

enum { PANEL = 64, BLOCK = 64 }; /* rows that share a product, columns between two of them */

/* Rows [first, first + rows) on their way. */
typedef struct panel {
    int64_t first, rows;
    float *G;          /* [rows, d] gradient (Q - W) H */
    float *D;          /* [PANEL, BLOCK] what a block moved, in weights */
    float *T;          /* [PANEL, d] what a scale moves in the gradient */
    bool still[PANEL]; /* nothing moved in the last sweep */
    int64_t moved;     /* codes */
    double row_sweeps; /* sweeps of a row */
} panel;

static float value_at(const pons_polish *p, int64_t i, int64_t j)
{
    int64_t g = i * p->groups + j / p->group_size;
    return pons_weight_value(p->codes[i * p->d + j], p->scale[g], p->zero[g]);
}

/* One row's codes in columns [begin, end), its moves to D [end - begin]. */
static bool sweep_block(const pons_polish *p, panel *at, int64_t r, int64_t begin, int64_t end)
{
    int64_t i = at->first + r, d = p->d;
    const float *H = p->factor->H;
    const uint8_t *mask = p->mask ? p->mask + i * d : NULL;
    int8_t *codes = p->codes + i * d;
    float g[BLOCK], *D = at->D + r * BLOCK;
    bool moved = false;
    memcpy(g, at->G + r * d + begin, (size_t)(end - begin) * sizeof *g);
    memset(D, 0, BLOCK * sizeof *D);
    for (int64_t j = begin; j < end; j++) {
        if (mask && !mask[j]) continue;
        const float *h = H + j * d;
        int64_t group = i * p->groups + j / p->group_size;
        float scale = p->scale[group], old = value_at(p, i, j);
        int8_t zero = p->zero[group];
        int8_t code = pons_weight_code(p->bits, old - g[j - begin] / h[j], scale, zero);
        if (code == codes[j]) continue;
        float move = pons_weight_value(code, scale, zero) - old;
        /* without this, rounding errors could move a code that lies half-way back and forth */
        if (!(move * (2.0f * g[j - begin] + move * h[j]) < 0.0f)) continue;
        codes[j] = code;
        D[j - begin] = move;
        for (int64_t k = begin; k < end; k++)
            g[k - begin] += move * h[k];
        at->moved++;
        moved = true;
    }
    return moved;
}

/* One sweep of every row that still moves. @return whether any did */
static bool sweep_panel(const pons_polish *p, panel *at)
{
    int64_t d = p->d;
    bool any = false, moved[PANEL] = {0};
    for (int64_t begin = 0; begin < d; begin += BLOCK) {
        int64_t end = begin + BLOCK < d ? begin + BLOCK : d;
        bool changed = false;
        for (int64_t r = 0; r < at->rows; r++) {
            if (at->still[r]) {
                memset(at->D + r * BLOCK, 0, BLOCK * sizeof *at->D);
            } else if (sweep_block(p, at, r, begin, end)) {
                moved[r] = changed = true;
            }
        }
        if (changed)
            pons_block_nn(at->rows, d, end - begin, at->D, BLOCK, p->factor->H + begin * d, d,
                          at->G, d, true);
    }
    for (int64_t r = 0; r < at->rows; r++) {
        at->row_sweeps += !at->still[r];
        at->still[r] = !moved[r];
        any |= moved[r];
    }
    return any;
}

/* Group g of every row: T <- c H, then the step along it. */
static void refit_group(const pons_polish *p, panel *at, int64_t g)
{
    int64_t d = p->d, from = g * p->group_size, to = from + p->group_size;
    if (to > d) to = d;
    memset(at->T, 0, (size_t)(at->rows * d) * sizeof *at->T);
    for (int64_t begin = from; begin < to; begin += BLOCK) {
        int64_t end = begin + BLOCK < to ? begin + BLOCK : to;
        for (int64_t r = 0; r < at->rows; r++)
            for (int64_t j = begin; j < end; j++) {
                int64_t i = at->first + r;
                at->D[r * BLOCK + j - begin] =
                    (float)(p->codes[i * d + j] - p->zero[i * p->groups + g]);
            }
        pons_block_nn(at->rows, d, end - begin, at->D, BLOCK, p->factor->H + begin * d, d, at->T, d,
                      true);
    }
    for (int64_t r = 0; r < at->rows; r++) {
        int64_t i = at->first + r;
        float *scale = p->scale + i * p->groups + g;
        double slope = 0.0, curve = 0.0;
        for (int64_t j = from; j < to; j++) {
            double c = (double)p->codes[i * d + j] - (double)p->zero[i * p->groups + g];
            slope += c * (double)at->G[r * d + j];
            curve += c * (double)at->T[r * d + j];
        }
        float fitted = (float)((double)*scale - slope / curve);
        if (!(curve > 0.0) || !(fitted > 0.0f) || !isfinite(fitted)) continue;
        float step = fitted - *scale;
        *scale = fitted;
        for (int64_t j = 0; j < d; j++)
            at->G[r * d + j] += step * at->T[r * d + j];
    }
}

pons_status pons_polish_codes(const pons_polish *p, bool refit, int sweeps,
                              pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    int64_t rows = p->rows, d = p->d, own = PANEL * (d + BLOCK), moved = 0;
    float *G = NULL, *D = NULL, *space = NULL;
    double begin = pons_clock(), row_sweeps = 0.0;
    if (rows == 0 || (!refit && sweeps == 0)) return PONS_OK;
    PONS_ALLOC(st, D, rows * d);
    PONS_ALLOC(st, G, rows * d);
    PONS_ALLOC(st, space, omp_get_max_threads() * own);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < d; j++)
            D[i * d + j] = value_at(p, i, j) - p->W[i * d + j];
    PONS_TRY(st, pons_panel_multiply(p->row, rows, d, D, p->factor->H, G));
#pragma omp parallel for schedule(dynamic) reduction(+ : moved)
    for (int64_t first = 0; first < rows; first += PANEL) {
        float *work = space + omp_get_thread_num() * own;
        panel at = {.first = first,
                    .rows = rows - first < PANEL ? rows - first : PANEL,
                    .G = G + first * d,
                    .T = work,
                    .D = work + PANEL * d};
        for (int64_t g = 0; refit && g < p->groups; g++)
            refit_group(p, &at, g);
        for (int k = 0; k < sweeps && sweep_panel(p, &at); k++)
            ;
        moved += at.moved;
#pragma omp critical(pons_polish_codes)
        row_sweeps += at.row_sweeps; /* whole numbers: exact in any order */
    }
    metrics->moved += moved;
    metrics->products += row_sweeps + (double)rows * (refit ? 2.0 : 1.0);
    metrics->polish_seconds += pons_clock() - begin;
done:
    pons_mem_free(space);
    pons_mem_free(G);
    pons_mem_free(D);
    return st;
}
