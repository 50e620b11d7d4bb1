/**
 * Improve finished codes under the Hessian; pruned entries stay pruned. First the scales for the
 * given codes, then one code at a time. Internal to the room.
 *
 * Rows are processed in panels with their gradient G = (Q - W) H; the effect of a block of columns
 * on the other columns is one product with rows of H. A row's bits depend on it alone.
 */
#ifndef PONS_OBR_POLISH_H
#define PONS_OBR_POLISH_H

#include "obr/compress.h"
#include "obr/gptq.h"

/** What is polished; everything is borrowed. */
typedef struct pons_polish {
    const pons_hessian_factor *factor;
    int64_t row, rows, d; /* row: index of the first one in its linear */
    int bits;
    int64_t group_size, groups;
    const float *W;      /* [rows, d] dense, dead columns zeroed */
    const uint8_t *mask; /* [rows, d], or NULL: nothing pruned */
    int8_t *codes;       /* [rows, d] changed */
    float *scale;        /* [rows, groups] changed by a refit */
    const int8_t *zero;  /* [rows, groups] */
} pons_polish;

/**
 * Refit and sweep.
 *
 * Refit: each group's scale in turn becomes the one of least error for its codes, s += -(c G) / (c
 * H c) with c the codes of the group. Sweep: each code in turn becomes the one of least error given
 * the others, round(q - G_j / H_jj); a row ends when a sweep changes no code. The error (Q - W) H
 * (Q - W)^T, with the damped H, never grows.
 * @param refit whether scales are refitted, before the first sweep; @param sweeps at most
 * @param metrics products and moved are added to, polish_seconds
 * @return PONS_OK, PONS_ERR_NOMEM. Cost: one product for G, one for a refit, and for each sweep
 * what moves: at most one. Memory: 8 rows d bytes, and 4 d for each of 64 rows per thread.
 */
pons_status pons_polish_codes(const pons_polish *polish, bool refit, int sweeps,
                              pons_row_metrics *metrics);

#endif
