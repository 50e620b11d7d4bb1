/**
 * Least-squares targets of a linear whose input differs from the dense model's.
 *
 * The dense model feeds the linear x, the compressed one x~ (after compressed layers, perhaps rounded to
 * 4 bits); where its output joins the residual stream, that has moved from r to r~. The weights that
 * repair most,
 *   V = argmin E |W x + (r - r~) - V x~|^2 + lambda |V - W|^2
 *     = W + (W Delta + P) (H + lambda I)^-1,   H = E x~ x~^T, Delta = E (x - x~) x~^T,
 *                                              P = E (r - r~) x~^T,
 * are what is compressed under H in place of W: for any weights Q the error E |W x + r - r~ - Q x~|^2
 * is, up to a constant and the damping, (Q - V) H (Q - V)^T. Where nothing has moved, V is W to the bit.
 */
#ifndef PONS_OBR_TARGET_H
#define PONS_OBR_TARGET_H

#include "hessian/factor.h"

/** What the linears of a group share for this. Opaque. */
typedef struct pons_target pons_target;

/**
 * Local. The factor is borrowed until it is destroyed.
 * @param factor of H; @param delta [d, d] f64, in H's unit
 * @return PONS_OK or PONS_ERR_NOMEM. Memory 8 d^2 bytes.
 */
pons_status pons_target_create(const pons_hessian_factor *factor, const double *delta,
                               pons_target **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_target_destroy(pons_target **target);

/**
 * D = V - W of rows [row, row + rows) of a linear. Local, parallel over panels; a row's bits depend
 * neither on the others nor on the threads.
 * @param W [rows, d]; @param pull [rows, d] f64: these rows of P, or NULL: the residual stream is left
 * out; @param D [rows, d], not overlapping W
 * @return PONS_OK or PONS_ERR_NOMEM. Memory 4 rows d bytes. Cost 6 rows d^2 flop.
 */
pons_status pons_target_step(const pons_target *target, int64_t row, int64_t rows, const float *W,
                             const double *pull, float *D);

#endif
