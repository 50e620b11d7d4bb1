/**
 * The Hessian of one input of a block, summed over the windows of a team and factored. Internal to
 * pipeline.
 */
#ifndef PONS_PIPELINE_FACTOR_H
#define PONS_PIPELINE_FACTOR_H

#include "calib/stream.h"
#include "hessian/factor.h"
#include "pipeline/hessians.h"

/** Where the Hessians of a block come from. */
typedef enum pons_hessian_origin {
    PONS_HESSIAN_NONE,    /* the method needs none */
    PONS_HESSIAN_WINDOWS, /* a stream that keeps the inputs of all own windows */
    PONS_HESSIAN_SUM,     /* sums of this rank's windows, added up before (wave.c) */
    PONS_HESSIAN_FILE     /* --hessians */
} pons_hessian_origin;

typedef struct pons_hessian_source {
    pons_hessian_origin origin;
    /* windows */
    const pons_stream *stream;
    const pons_block *block; /* of the inputs of single linears */
    float *own_x;            /* [length, width] work for them; NULL where linears share inputs */
    pons_hessian **sum; /* sums: [linears] of every input, at its index; taken over when used */
} pons_hessian_source;

/** What multiplies the weights of an input's linears in a window of a stream: x, or own_x, filled.
 * Local. */
const float *pons_input_of_window(const pons_block *block, const pons_stream *stream,
                                  const pons_input *input, int64_t local, float *own_x);

/**
 * The damped factor of an input's Hessian; with ten times the damping as often as obr.damping_retries
 * allows. Collective.
 * @param file NULL, or where the Hessian is kept, too
 * @param[out] damping what obr.damping was raised to, which is logged; untouched otherwise
 * @return PONS_ERR_NUMERIC naming block and input; as pons_hessian_factor_finish, pons_hessians_read.
 */
pons_status pons_factor_input(const pons_context *context, const pons_team *team,
                              pons_account *account, int64_t layer, const pons_input *input,
                              pons_hessian_source *source, pons_hessian_file *file, double *damping,
                              pons_hessian_factor **out);

#endif
