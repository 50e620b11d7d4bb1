/**
 * Reading the linears of a model: codes and scales of packed ones, weights of any.
 *
 * All functions are Local and need no session. An open model may be read by several threads at once.
 */
#ifndef PONS_PACKED_H
#define PONS_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "pons/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A model opened for reading. Opaque. */
typedef struct pons_packed pons_packed;

/** What one linear is. */
typedef struct pons_packed_linear {
    size_t size;        /* set by PONS_PACKED_LINEAR_INIT */
    char name[128];     /* "model.layers.3.self_attn.q_proj" */
    int64_t block;      /* transformer block, from 0 */
    int64_t rows, cols; /* outputs and inputs */
    int bits;           /* of a code; 16: not packed */
    int64_t groups;     /* scales of a row; 0: not packed */
    int symmetric;      /* not 0: all zero points are 0 */
} pons_packed_linear;

/** Initial value of pons_packed_linear. */
#define PONS_PACKED_LINEAR_INIT                                                                    \
    {                                                                                              \
        sizeof(pons_packed_linear), {0}, 0, 0, 0, 0, 0, 0                                          \
    }

/** Open a model: a Hugging Face directory, plain or written by Pons, or a GGUF file.
 * @return PONS_OK, PONS_ERR_IO, PONS_ERR_INPUT, PONS_ERR_UNSUPPORTED, PONS_ERR_NOMEM. */
PONS_API pons_status pons_packed_open(const char *path, pons_packed **model);

/** Close; takes the address, nulls it, accepts NULL. */
PONS_API void pons_packed_close(pons_packed **model);

/** Number of linears in all blocks. */
PONS_API int64_t pons_packed_count(const pons_packed *model);

/** Describe linear `index`, in block order. @return PONS_OK, PONS_ERR_USAGE when there is none. */
PONS_API pons_status pons_packed_describe(const pons_packed *model, int64_t index,
                                          pons_packed_linear *linear);

/**
 * Codes of a packed linear.
 * @param[out] codes [rows, cols] in [-2^(bits-1), 2^(bits-1) - 1]
 * @param[out] scales [rows, groups]; @param[out] zeros [rows, groups] zero points in units of codes
 * @return PONS_OK, PONS_ERR_USAGE, PONS_ERR_INPUT when the linear is not packed, PONS_ERR_IO, PONS_ERR_NOMEM.
 */
PONS_API pons_status pons_packed_read_codes(const pons_packed *model, int64_t index, int8_t *codes,
                                            float *scales, int8_t *zeros);

/**
 * Rows [row, row + count) of a linear as floats; of a packed one scale (code - zero).
 * @param[out] values [count, cols]
 * @return PONS_OK, PONS_ERR_USAGE for rows that are not there, PONS_ERR_INPUT for NaN or Inf, PONS_ERR_IO, PONS_ERR_NOMEM.
 */
PONS_API pons_status pons_packed_read_rows(const pons_packed *model, int64_t index, int64_t row,
                                           int64_t count, float *values);

#ifdef __cplusplus
}
#endif

#endif
