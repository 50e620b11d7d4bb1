/**
 * Rotary frequencies shared by the tables and by the reader of GGUF frequency factors. Internal to
 * the room.
 */
#ifndef PONS_MODEL_ROPE_H
#define PONS_MODEL_ROPE_H

#include "model/config.h"

/** Inverse frequency of pair i in 0..head_dim/2 - 1, in fp32 as transformers computes it, before and
 * after scaling. Source: formats.md section 8. Local. */
float pons_rope_base_frequency(const pons_model_config *config, int64_t i);
float pons_rope_frequency(const pons_model_config *config, int64_t i);

#endif
