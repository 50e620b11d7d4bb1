/**
 * The rectangular sibling of pons_gram_add: products of two sets of columns over the tokens of a window.
 */
#ifndef PONS_KERN_CROSS_H
#define PONS_KERN_CROSS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** Columns of one operand. Borrowed. */
typedef struct pons_cross_side {
    int64_t d;
    const float *X;     /* [S, d], ld = d */
    const float *scale; /* [d] powers of two such that the scaled columns have norms of at most 1 */
} pons_cross_side;

/**
 * Add L^T R of one window, L and R the left and right columns scaled, to a running fp64 sum, exactly
 * reproducibly.
 *
 * Local. In tiles over OpenMP, each a product in fp32 (in bf16 with fp32 accumulation when `bf16`: both
 * operands are rounded to it), every entry rounded to a multiple of `quantum` before it is added, as in
 * pons_gram_add.
 * @param C [left.d, right.d] fp64, ld = right.d
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED. Memory: both operands once more. Cost:
 * 2 S left.d right.d flop.
 */
pons_status pons_cross_add(int64_t S, pons_cross_side left, pons_cross_side right, bool bf16,
                           double quantum, double *C);

#endif
