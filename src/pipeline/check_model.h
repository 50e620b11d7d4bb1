/**
 * What is cheap to check of a model's numbers before the first block is compressed. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_CHECK_MODEL_H
#define PONS_PIPELINE_CHECK_MODEL_H

#include "pipeline/context.h"

/**
 * Read the tensors that are small beside a job, embedding, head, norms and biases, and refuse NaN, Inf and numbers
 * that output.dtype does not hold. Each rank reads a share. Collective on comm.
 * @return PONS_ERR_INPUT, PONS_ERR_NUMERIC, PONS_ERR_IO, PONS_ERR_NOMEM, the same on every rank.
 */
pons_status pons_check_model(pons_comm *comm, pons_context *context);

#endif
