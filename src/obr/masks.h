/**
 * Masks that need the Hessian or its factor. Internal to the room. Rows are independent in all of
 * them, also where the published method uses one threshold for several rows: same bits for any
 * split of the rows.
 */
#ifndef PONS_OBR_MASKS_H
#define PONS_OBR_MASKS_H

#include "obr/shared.h"
#include "obr/solver.h"
#include "prune/mask.h"

/** Prepare the data of the recipe's mask that rows share. Collective on the comm of the factor.
 * @param shared `whole` is made
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_NUMERIC, PONS_ERR_UNSUPPORTED, the same on every rank. */
pons_status pons_mask_prepare(const pons_hessian_factor *factor, const pons_recipe *recipe,
                              bool bf16, pons_row_shared *shared);

/** The recipe's mask of some rows. Local, parallel over rows.
 * @param panel W and factor of the rows; its mask is not looked at; @param mask [rows, d] out
 * @param metrics products and solve_seconds are added to
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_SHAPE (m does not divide d). */
pons_status pons_mask_choose(const pons_row_shared *shared, const pons_recipe *recipe,
                             const pons_solve_panel *panel, uint8_t *mask,
                             pons_row_metrics *metrics);

/**
 * By alternating directions: S <- W + (Z - U - W) P + U, Z the entries of S that are kept (largest
 * of the row), U the others; P = rho (H + rho I)^-1, rho grows. Z is sparse, W + (Z - U - W) P near
 * the least error around it, and where the two agree the mask accounts for all compensations.
 * @param shared shrink; @param mask in: to start from, out
 * Cost: PONS_ADMM_STAGES * PONS_ADMM_STEPS products. Source: Boza 2024, ALPS 2024 (alternating
 * directions with a shared factor); design notes on the solver, section 6.
 */
pons_status pons_mask_admm(const pons_row_shared *shared, pons_mask_rule rule,
                           const pons_solve_panel *panel, uint8_t *mask, pons_row_metrics *metrics);

/**
 * Means that price swaps, of a drawn set of n columns that stands for the kept ones: shared->kept
 * and shared->pruned. Collective on the comm of the factor.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_NUMERIC, the same on every rank.
 * Cost 2 n^3 / 3 flop over the ranks; memory while it runs 8 n^2 bytes per node and 4 n^2 over the
 * ranks.
 */
pons_status pons_mask_swap_prepare(const pons_hessian_factor *factor, double sparsity,
                                   pons_row_shared *shared);

/**
 * Swaps on the solved problem. With x the compensated weights and g the gradient (x - w) H, pruning
 * a kept j costs x_j^2 / [H_RR^-1]_jj, keeping a pruned i gains g_i^2 / [(H^-1)_EE^-1]_ii; both
 * diagonals are taken as their drawn means times those of H^-1 and H. The best few percent of the
 * pairs that gain are swapped, the problem is solved again, a few times. n:m: one pair per group.
 * @param mask in: to start from, out. Cost: 40 to 50 products. Source: design notes on the solver,
 * 6.
 */
pons_status pons_mask_swap(const pons_row_shared *shared, pons_mask_rule rule,
                           const pons_solve_panel *panel, uint8_t *mask, pons_row_metrics *metrics);

/**
 * Block by block from the left: the entries of least w_j^2 / U_jj^2 of each row and block are
 * pruned, and their errors fed forward, before the next block is looked at. The published method
 * takes one threshold for all rows of a block; here every row keeps its share, so that rows are
 * independent. Cost: half a product. Source: SparseGPT 2023.
 */
pons_status pons_mask_sparsegpt(pons_mask_rule rule, const pons_solve_panel *panel, uint8_t *mask,
                                pons_row_metrics *metrics);

#endif
