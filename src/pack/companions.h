/**
 * Files beside the weights: tokenizer, generation settings, licence. Internal to the room; all Local.
 */
#ifndef PONS_PACK_COMPANIONS_H
#define PONS_PACK_COMPANIONS_H

#include "model/model.h"

/** Copy them from a Hugging Face source when present, or make them from GGUF metadata. */
pons_status pons_companions_write(const char *dir, const pons_model *source);

#endif
