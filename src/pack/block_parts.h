/**
 * Names and checksums of the parts of a block file, for its writer and its reader. All Local.
 */
#ifndef PONS_PACK_BLOCK_PARTS_H
#define PONS_PACK_BLOCK_PARTS_H

#include <stdio.h>

#include "base/checksum.h"
#include "model/config.h"

/** Tensors of a linear, in the order of the file but for the size of their elements. */
typedef enum pons_block_part {
    PONS_BLOCK_CODES,  /* I32: codes of the kept weights, row after row, packed as one row */
    PONS_BLOCK_SCALE,  /* F32 [rows, groups] */
    PONS_BLOCK_BIAS,   /* F32 [rows] */
    PONS_BLOCK_VALUES, /* values of the kept weights, row after row */
    PONS_BLOCK_ZERO,   /* I8 [rows, groups] */
    PONS_BLOCK_MASK, /* U8 [rows, ceil(cols / 8)]: bit j % 8 of byte j / 8 is set where weight j is kept */
    PONS_BLOCK_PARTS
} pons_block_part;

enum { PONS_BLOCK_NAME = 128 };

/** "mlp.up_proj.codes" */
static inline void pons_block_part_name(const char *linear, pons_block_part part,
                                        char name[PONS_BLOCK_NAME])
{
    static const char *const suffix[PONS_BLOCK_PARTS] = {"codes",  "scale", "bias",
                                                         "values", "zero",  "mask"};
    snprintf(name, PONS_BLOCK_NAME, "%s.%s", linear, suffix[part]);
}

/** Bytes of one row of a mask. */
static inline int64_t pons_block_mask_bytes(int64_t cols) { return (cols + 7) / 8; }

/** Checksum of the whole block from those of its linears and of biases and gains. */
static inline uint64_t pons_block_sum(uint64_t rest, int linears, const uint64_t *sums)
{
    return pons_checksum(rest, sums, (size_t)linears * sizeof *sums);
}

/** A checksum as text. */
static inline void pons_block_sum_text(uint64_t sum, char text[17])
{
    snprintf(text, 17, "%016llx", (unsigned long long)sum);
}

#endif
