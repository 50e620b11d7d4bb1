/**
 * The two masked least-squares solves of OBR behind one interface; implementations are oracles of
 * each other.
 *
 * For a row w (dense), kept set I ascending, trailing kept set I2 = I with column >= p:
 *   stage A:  v_I = argmin (v - w) H (v - w)^T with v zero off I           (specification 3.2)
 *   stage B:  the same over v_I2 with v_I1 fixed to quantized values       (specification 3.3)
 * With b = (w off the mask) H, damped H:  v_I = w_I + H_II^-1 b_I  and then, e = v_I1 - Q(v_I1),
 * v_I2 += H_I2I2^-1 H_I2I1 e.
 */
#ifndef PONS_OBR_SOLVER_H
#define PONS_OBR_SOLVER_H

#include <stdbool.h>

#include "hessian/factor.h"
#include "obr/compress.h"

/** A panel of rows to solve; borrowed. */
typedef struct pons_solve_panel {
    const char *name;
    int64_t row, rows, d, split; /* row: index of the first one in its linear; split: p, columns < p
                                    are evicted in stage B */
    const float *W;              /* [rows, d] dense, dead columns zeroed */
    const uint8_t *mask;         /* [rows, d] 1 = keep */
    const pons_hessian_factor *factor;
    bool keep_full_rows; /* rows with nothing pruned skip stage B (specification 3.5, Q5) */
} pons_solve_panel;

/** Quantizes the entries of one row in columns [0, split): value[j] <- grid(value[j]). Called
 * between the stages. */
typedef void (*pons_quantize_left)(void *user, int64_t row_in_panel, float *value);

/**
 * Both stages for every row of the panel.
 * Local, parallel over rows; a row's bits do not depend on the other rows of the panel.
 * @param V [rows, d] on exit: quantized values in columns < split (stage B's v_1), compensated
 * values after; exactly 0 off the mask. A row that keeps nothing is 0.
 * @param metrics solve_seconds is added to; may be NULL
 * @return PONS_ERR_NUMERIC naming linear and row (submatrix not SPD, NaN); PONS_ERR_NOMEM.
 * Cost per row of k kept columns: k^3 / 3 + O(k^2) flop, plus 2 d^2 for b = (w off the mask) H.
 * Memory: 4 rows d bytes, and 4 k^2 per thread. H is read once for b, and then its kept rows for
 * every row of the panel: slow where it streams from disk (par/shared.h).
 */
pons_status pons_solve_direct(const pons_solve_panel *panel, pons_quantize_left quantize,
                              void *user, float *V, pons_row_metrics *metrics);

#endif
