/**
 * Parts of reading GGUF metadata, split by job. Internal to the room; all Local.
 */
#ifndef PONS_MODEL_GGUF_H
#define PONS_MODEL_GGUF_H

#include "io/store.h"
#include "model/config.h"

/** Room for the name of a key of metadata. */
#define PONS_GGUF_KEY_BYTES 128

/** Metadata "ARCH.KEY", as "llama.block_count"; NULL: absent. @param[out] full the name */
const pons_gguf_value *pons_gguf_find(const pons_store *store, const char *arch, const char *key,
                                      char full[PONS_GGUF_KEY_BYTES]);

/** Metadata "ARCH.KEY" as an integer in 0..2^31-1; absent: `fallback`, refused when that is
 * negative. */
pons_status pons_gguf_integer(const pons_store *store, const char *arch, const char *key,
                              int64_t fallback, int64_t *out);

/** Metadata "ARCH.KEY" as a number above 0; absent: `fallback`, refused when that is not positive.
 */
pons_status pons_gguf_positive(const pons_store *store, const char *arch, const char *key,
                               double fallback, double *out);

/** Rotary settings from metadata and from the tensor rope_freqs.weight; head_dim must be set
 * already. */
pons_status pons_gguf_rope(const pons_store *store, const char *arch, pons_model_config *c);

#endif
