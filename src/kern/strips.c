/* Blocking of an fp32 product for the caches. Owns the shape of strips; the arithmetic is block.c's. */
#include "kern/strips.h"

#include <string.h>

#include "kern/block.h"
#include "kern/simd.h"

/* Columns and depth of a block of B in L1; rows that meet a tile of B in turn. */
#if PONS_WIDTH == 16
enum { STRIP = 64, DEPTH = 128 };
#else
enum { STRIP = 2 * PONS_WIDTH, DEPTH = 256 };
#endif
enum { MOST_ROWS = 64 };

void pons_strips_pack(int64_t depth, int64_t width, int64_t inside, const float *B, int64_t ld,
                      float *strips)
{
    for (int64_t j = 0; j < width; j += STRIP) {
        int64_t columns = width - j < STRIP ? width - j : STRIP, count = inside - j;
        if (count > columns) count = columns;
        if (count < 0) count = 0;
        float *to = strips + j * depth;
        for (int64_t k = 0; k < depth; k++, to += columns) {
            if (count > 0) memcpy(to, B + k * ld + j, (size_t)count * sizeof *to);
            memset(to + count, 0, (size_t)(columns - count) * sizeof *to);
        }
    }
}

/* Rows that meet a tile of B while they and it are in L2. */
static void run_rows(int64_t rows, int64_t depth, int64_t width, const float *A, int64_t lda,
                     const float *strips, float *C, bool add)
{
    for (int64_t j = 0; j < width; j += STRIP) {
        int64_t columns = width - j < STRIP ? width - j : STRIP;
        const float *strip = strips + j * depth;
        for (int64_t k = 0; k < depth; k += DEPTH)
            pons_block_nn(rows, columns, depth - k < DEPTH ? depth - k : DEPTH, A + k, lda,
                          strip + k * columns, columns, C + j, width, add || k > 0);
    }
}

void pons_strips_run(int64_t rows, int64_t depth, int64_t width, const float *A, int64_t lda,
                     const float *strips, float *C, bool add)
{
    for (int64_t i = 0; i < rows; i += MOST_ROWS)
        run_rows(rows - i < MOST_ROWS ? rows - i : MOST_ROWS, depth, width, A + i * lda, lda,
                 strips, C + i * width, add);
}
