/**
 * Comparing what was written with what was given: checksums of the given numbers, and of the same numbers
 * read back from disk. Internal to the room; all Local.
 */
#ifndef PONS_PACK_VERIFY_H
#define PONS_PACK_VERIFY_H

#include "model/model.h"
#include "pack/linear.h"

/** Checksum of n floats, rounded to `dtype`, in one row. @return PONS_ERR_NOMEM. */
pons_status pons_verify_given_floats(pons_dtype dtype, const float *x, int64_t n, uint64_t *sum);

/** Checksum of a linear as given, without its bias: its codes, or its values rounded to `dtype`. */
pons_status pons_verify_given(const pons_model_config *config, int linear, pons_dtype dtype,
                              const pons_pack_linear *given, uint64_t *sum);

/** The same of a linear as read back. */
pons_status pons_verify_read(const pons_model *model, int64_t layer, int linear, uint64_t *sum);

#endif
