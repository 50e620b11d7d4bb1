/**
 * Windows of one rank on their way through the blocks of a model: their hidden states, and the inputs of
 * the stage they are in.
 */
#ifndef PONS_CALIB_STREAM_H
#define PONS_CALIB_STREAM_H

#include "model/model.h"

/** Consecutive windows [begin, end) by their numbers in the whole job. */
typedef struct pons_window_range {
    int64_t begin, end;
} pons_window_range;

/**
 * The first windows of a rank are those that sums are made of; the held-out ones follow. A local index
 * counts through both.
 */
typedef struct pons_stream {
    const char *name;       /* in the files of a resume point; borrowed */
    pons_runtime runtime;   /* online transforms and quantizers of its forward pass */
    int64_t windows;        /* that sums are made of, over all ranks */
    int64_t length, hidden; /* of a window */
    int64_t width;          /* pons_block_width */
    pons_window_range own, held_out;
    int64_t inputs; /* windows whose inputs are kept: all own ones, or 1 */
    float *h;       /* [own windows, length, hidden] residual stream */
    float *x;       /* [inputs, length, width] */

    /* Several sequences in a window, one after the other (NULL: one of `length` tokens). Sequence i has the
     * tokens [begin[i], begin[i + 1]). */
    int64_t sequences;
    const int64_t *begin;
} pons_stream;

/** Memory for the hidden states of `own` and `held_out` and for the inputs of one window or all of them;
 * what the caller has set in the other fields stays. Local. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_stream_create(const pons_model_config *config, bool keep_inputs,
                               pons_stream *stream);

/** Free the arrays. Accepts a stream of zeros. Local. */
void pons_stream_free(pons_stream *stream);

/** Own windows that sums are made of, and all own windows. Local. */
static inline int64_t pons_stream_summed(const pons_stream *s) { return s->own.end - s->own.begin; }
static inline int64_t pons_stream_count(const pons_stream *s)
{
    return pons_stream_summed(s) + s->held_out.end - s->held_out.begin;
}

/** Number in the whole job of an own window. Local. */
static inline int64_t pons_stream_number(const pons_stream *s, int64_t local)
{
    int64_t summed = pons_stream_summed(s);
    return local < summed ? s->own.begin + local : s->held_out.begin + local - summed;
}

/** Residual stream [length, hidden] and inputs [length, width] of an own window. Local. */
static inline float *pons_stream_h(const pons_stream *s, int64_t local)
{
    return s->h + local * s->length * s->hidden;
}
static inline float *pons_stream_x(const pons_stream *s, int64_t local)
{
    return s->x + (s->inputs > 1 ? local * s->length * s->width : 0);
}

#endif
