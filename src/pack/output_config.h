/**
 * config.json of the output: the source's own, edited, or one made from GGUF metadata, plus
 * quantization_config. Internal to the room; all Local.
 */
#ifndef PONS_PACK_OUTPUT_CONFIG_H
#define PONS_PACK_OUTPUT_CONFIG_H

#include "model/model.h"

/** How a linear is stored. */
typedef struct pons_pack_scheme {
    int bits; /* 16: dense */
    bool symmetric;
    int64_t group_size; /* 0: per row */
} pons_pack_scheme;

/**
 * Write DIR/config.json.
 * @param config of the output: tied and biases decide the flags
 * @param scheme [layers, linears] of each linear
 */
pons_status pons_output_config_write(const char *dir, const pons_model *source,
                                     const pons_model_config *config, pons_dtype dtype,
                                     const pons_pack_scheme *scheme);

#endif
