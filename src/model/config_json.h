/**
 * Parts of reading config.json, split by job. Internal to the room; all Local.
 */
#ifndef PONS_MODEL_CONFIG_JSON_H
#define PONS_MODEL_CONFIG_JSON_H

#include "model/config.h"
#include "model/fields.h"

/** Rotary settings in either style; max_positions must be set already. */
pons_status pons_config_json_rope(const pons_fields *f, pons_model_config *out);

/** Sliding window and first layer that has it; arch and layers must be set already. */
pons_status pons_config_json_window(const pons_fields *f, pons_model_config *out);

/** Refuse settings of other architectures that would change the numbers. */
pons_status pons_config_json_refuse_foreign(const pons_fields *f);

#endif
