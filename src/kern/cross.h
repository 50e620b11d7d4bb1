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
    const float *X;     /* [S, d], ld = d */
    const float *scale; /* [d] powers of two such that the scaled columns have norms of at most 1 */
} pons_cross_side;

/** A running sum. Opaque. */
typedef struct pons_cross_sum pons_cross_sum;

/**
 * A sum of L^T R over windows, L and R the left and right columns scaled, into a running fp64 sum, exactly
 * reproducibly.
 *
 * Local. @param S tokens of every window; @param p left columns; @param d right columns
 * @param bf16 products with both operands rounded to it, accumulated in fp32; else in fp32
 * @param quantum of which every entry is rounded to a multiple before it is added, as in pons_gram_add
 * @param C [p, d] fp64, ld = d; borrowed
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED. Memory: pons_cross_sum_bytes.
 */
pons_status pons_cross_sum_create(int64_t S, int64_t p, int64_t d, bool bf16, double quantum,
                                  double *C, pons_cross_sum **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_cross_sum_destroy(pons_cross_sum **sum);

/** Add a window. Local, in tiles over OpenMP. @return PONS_OK, PONS_ERR_BUG (the library refused a product). Cost
 * 2 S p d flop. */
pons_status pons_cross_sum_add(pons_cross_sum *sum, pons_cross_side left, pons_cross_side right);

/** Bytes of its memory: both operands of a window once more, in bf16 of half the size, and tiles of each thread. Local. */
double pons_cross_sum_bytes(int64_t S, int64_t p, int64_t d, bool bf16, int threads);

#endif
