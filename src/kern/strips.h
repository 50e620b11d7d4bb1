/**
 * A tile of a matrix copied into strips that stay in L1, and products with it. Internal to the room.
 */
#ifndef PONS_KERN_STRIPS_H
#define PONS_KERN_STRIPS_H

#include <stdbool.h>
#include <stdint.h>

/** B [depth, width], of which `inside` columns exist and the others are zero, into strips [depth, width]. Local, one
 * thread. @param ld of B; @param width a multiple of 16 */
void pons_strips_pack(int64_t depth, int64_t width, int64_t inside, const float *B, int64_t ld,
                      float *strips);

/** C [rows, width] = A [rows, depth] B, plus C when `add`, with pons_block_nn's bits. Local, one thread. @param lda of
 * A; C is dense. Cost 2 rows depth width flop. */
void pons_strips_run(int64_t rows, int64_t depth, int64_t width, const float *A, int64_t lda,
                     const float *strips, float *C, bool add);

#endif
