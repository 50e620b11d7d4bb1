/**
 * Optimal Brain Compression: one weight at a time, all others of its row adjusted exactly after
 * each. A reference for methods that choose masks and codes at
 * once. Internal to the room.
 */
#ifndef PONS_OBR_EXACT_OBS_H
#define PONS_OBR_EXACT_OBS_H

#include "obr/shared.h"
#include "obr/solver.h"
#include "prune/mask.h"

/** Widest layer it is for: a row takes d^3 operations. */
#define PONS_EXACT_OBS_WIDTH 2048

/** What is made of the rows, in buffers of the caller. */
typedef struct pons_exact_obs {
    pons_mask_rule rule;
    const pons_weight_quant *quant;
    int bits;
    bool compensated; /* scales of the pruned rows; false: scale and zero are given */
    uint8_t *mask;    /* [rows, d] out */
    int8_t *codes;    /* [rows, d] out */
    float *scale;     /* [rows, groups] */
    int8_t *zero;     /* [rows, groups] */
} pons_exact_obs;

/**
 * Prune, then round every row.
 *
 * Pruning: the weight of least w_j^2 / [H_RR^-1]_jj is pruned, R being the remaining columns, until
 * the rule is met (n:m: only in groups that do not meet it yet). Rounding: the weight of least (w_j
 * - q_j)^2 / [H_RR^-1]_jj, R being what is not yet rounded, but those off the grid by more than
 * half a step first. Local, parallel over rows; a row's bits depend on it alone.
 * @param K [d, d] inverse Hessian, upper triangle
 * @return PONS_ERR_NOMEM, PONS_ERR_SHAPE (m does not divide d), PONS_ERR_NUMERIC naming the row
 * (rounding has made its inverse indefinite).
 * Cost: d^3 / 3 multiplications and additions per row. Memory: 4 d^2 bytes per thread.
 * Source: Optimal Brain Compression, 2022.
 */
pons_status pons_exact_obs_rows(const pons_exact_obs *obs, const pons_solve_panel *panel,
                                const float *K);

#endif
