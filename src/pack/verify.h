/**
 * Proving that what was written is what was given: checksums of the given numbers, and of the same
 * numbers read back from disk. Internal to the room; all Local.
 */
#ifndef PONS_PACK_VERIFY_H
#define PONS_PACK_VERIFY_H

#include "pack/writer.h"

/** Checksum of one block as given (rounded to the output dtype where that is what is stored). */
pons_status pons_verify_given(const pons_model_config *config, pons_dtype dtype,
                              const pons_pack_linear *linears, const float *gains, uint64_t *sum);

/** Checksum of the same block as read back. */
pons_status pons_verify_read(const pons_model *model, int64_t layer, uint64_t *sum);

#endif
