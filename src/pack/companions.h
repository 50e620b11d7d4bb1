/**
 * Files beside the weights: tokenizer, generation settings, licence. Internal to the room; all Local.
 */
#ifndef PONS_PACK_COMPANIONS_H
#define PONS_PACK_COMPANIONS_H

#include "model/model.h"

/** Copy those that are in directory `from` to `dir`. @return PONS_ERR_IO. */
pons_status pons_companions_copy(const char *dir, const char *from);

/** Copy them from a Hugging Face model, or make them from GGUF metadata. */
pons_status pons_companions_make(const char *dir, const pons_model *source);

#endif
