/**
 * Columns are rounded block by block, and all later columns are solved again after each block. The
 * paper does this with two halves; here the number of blocks is free. Internal to the room.
 */
#ifndef PONS_OBR_BLOCKS_H
#define PONS_OBR_BLOCKS_H

#include "obr/compress.h"
#include "obr/gptq.h"
#include "obr/shared.h"
#include "obr/solver.h"

/**
 * Round the blocks of `shared`.
 *
 * Two blocks: the first to nearest, the second by GPTQ, in the order of `shared`, or also to
 * nearest. More: each by GPTQ. Local, parallel over rows; a row's bits depend on it alone.
 * @param panel mask and dense weights; @param sweep scales of its rows
 * @param V [rows, d] in: compensated weights; out: values of codes
 * @param codes [rows, d] out
 * @param metrics products and seconds are added to
 * @return as the solvers. Cost: 2 (d - e)^2 flop per row for each of about ten products, for each
 * edge e.
 */
pons_status pons_blocks_round(const pons_row_shared *shared, const pons_solve_panel *panel,
                              const pons_sweep *sweep, bool gptq, float *V, int8_t *codes,
                              pons_row_metrics *metrics);

#endif
