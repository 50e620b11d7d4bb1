/**
 * Least-squares targets of a linear whose input differs from the dense model's.
 *
 * The dense model feeds the linear x, the compressed one x~ (after compressed layers, perhaps
 * rounded to 4 bits); where its output is added to the residual stream, that stream has changed
 * from r to r~. The weights with the least error,
 *   V = argmin E |W x + (r - r~) - V x~|^2 + lambda |V - W|^2
 *     = W + C (H + lambda I)^-1,   H = E x~ x~^T, C = E e x~^T, e = W (x - x~) + (r - r~),
 * are what is compressed under H in place of W: for any weights Q the error E |W x + r - r~ - Q
 * x~|^2 is, up to a constant and the damping, (Q - V) H (Q - V)^T. Where nothing has moved, V is W
 * to the bit.
 *
 * C comes from the errors e themselves, or, where the linears of a group have more rows than
 * columns and no residual stream to repair, from what they share: C = W Delta, Delta = E (x - x~)
 * x~^T.
 */
#ifndef PONS_OBR_TARGET_H
#define PONS_OBR_TARGET_H

#include "hessian/factor.h"

/** Data of a projection group: the factor, and Delta or nothing. Opaque. */
typedef struct pons_target pons_target;

/**
 * Local. The factor is borrowed until it is destroyed.
 * @param factor of H; @param delta [d, d] f64, in H's unit, or NULL: every row comes with its C
 * @return PONS_OK or PONS_ERR_NOMEM. Memory 8 d^2 bytes, 4 d^2 without delta.
 */
pons_status pons_target_create(const pons_hessian_factor *factor, const double *delta,
                               pons_target **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_target_destroy(pons_target **target);

/**
 * D = V - W of rows [row, row + rows) of a linear. Local, parallel over panels; a row's bits depend
 * neither on the others nor on the threads.
 * @param W [rows, d], read where the target has Delta; @param cross [rows, d] f64, in H's unit:
 * these rows of C, read where it has none; @param D [rows, d], overlapping neither
 * @return PONS_OK or PONS_ERR_NOMEM. Memory 4 rows d bytes. Cost 6 rows d^2 flop, 4 rows d^2
 * without Delta.
 */
pons_status pons_target_step(const pons_target *target, int64_t row, int64_t rows, const float *W,
                             const double *cross, float *D);

#endif
