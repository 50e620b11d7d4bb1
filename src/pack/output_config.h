/**
 * config.json of an output: the source's own, edited, or one made from GGUF metadata, plus
 * quantization_config. Internal to the room; all Local.
 */
#ifndef PONS_PACK_OUTPUT_CONFIG_H
#define PONS_PACK_OUTPUT_CONFIG_H

#include "model/model.h"
#include "pack/linear.h"

/** The config.json of a dense model with the tied flag, the biases and the dtype of `config`. New
 * reference. @return PONS_ERR_IO, PONS_ERR_NOMEM. */
pons_status pons_output_config_make(const pons_model *source, const pons_model_config *config,
                                    json_t **out);

/**
 * Write DIR/config.json: the one of directory `from` with the flags and dtype of `config`.
 * @param scheme [layers, linears] of each linear
 */
pons_status pons_output_config_write(const char *dir, const char *from,
                                     const pons_model_config *config,
                                     const pons_pack_scheme *scheme);

#endif
