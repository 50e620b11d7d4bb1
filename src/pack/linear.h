/**
 * A compressed linear in memory, and in which form it is.
 */
#ifndef PONS_PACK_LINEAR_H
#define PONS_PACK_LINEAR_H

#include <stdbool.h>
#include <stdint.h>

/** In which form a linear is. */
typedef struct pons_pack_scheme {
    int bits; /* 2..8: codes; 16: dense, plain floats */
    bool symmetric;
    int64_t group_size; /* columns with one scale; 0: a scale per row */
} pons_pack_scheme;

/** Numbers of a linear. Borrowed. A weight is zero where its code is its zero point: codes imply the mask. */
typedef struct pons_pack_linear {
    pons_pack_scheme scheme;
    const int8_t *codes; /* [rows, cols]; these three where bits < 16 */
    const float *scale;  /* [rows, groups] */
    const int8_t *zero;  /* [rows, groups]; not looked at when symmetric */
    const float *value;  /* [rows, cols] where bits = 16 */
    const float *bias;   /* [rows] or NULL */
} pons_pack_linear;

/** Scales of a row of `cols` columns. Local. */
static inline int64_t pons_pack_groups(const pons_pack_scheme *scheme, int64_t cols)
{
    return scheme->group_size ? cols / scheme->group_size : 1;
}

#endif
