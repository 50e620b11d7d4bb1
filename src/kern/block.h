/**
 * Small fp32 products of blocks that lie in cache, for loops that keep them there.
 */
#ifndef PONS_KERN_BLOCK_H
#define PONS_KERN_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

/**
 * C[M, N] = A[M, K] B[K, N], plus C when `add`. Local, one thread, allocates nothing.
 *
 * Every entry is one chain of fused multiply-adds over k = 0..K-1 starting from 0 or C, whatever
 * M, N and its place in the block. Best with N a multiple of 64 and M of 4. C must not overlap A
 * or B. Cost 2 M N K flop.
 */
void pons_block_nn(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B,
                   int64_t ldb, float *C, int64_t ldc, bool add);

#endif
