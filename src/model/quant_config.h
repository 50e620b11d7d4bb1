/**
 * The quantization_config section of config.json: which linears are packed, with how many bits, in
 * which groups.
 *
 * Only compressed-tensors, pack-quantized, integer weights, nothing else quantized or transformed:
 * anything more would change the numbers and is refused by name. Internal to model and pack. Local.
 * Source: formats.md section 3.
 */
#ifndef PONS_MODEL_QUANT_CONFIG_H
#define PONS_MODEL_QUANT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { PONS_QUANT_SCHEMES = 16 };

typedef struct pons_quant_scheme {
    int bits;
    bool symmetric;
    int64_t group_size;    /* 0: one scale per row */
    const json_t *targets; /* borrowed from root */
} pons_quant_scheme;

typedef struct pons_quant_config {
    json_t *root; /* own reference; NULL: nothing is packed */
    const json_t *ignore;
    int count;
    pons_quant_scheme scheme[PONS_QUANT_SCHEMES];
} pons_quant_config;

/** Parse the section of a whole config.json object; no section gives count 0. @param path for
 * messages */
pons_status pons_quant_config_read(const char *path, const json_t *config, pons_quant_config *out);
void pons_quant_config_free(pons_quant_config *config);

/** Scheme of a linear by its full module name ("model.layers.0.mlp.down_proj"): exact names first,
 * then regular expressions, then the class Linear; NULL when ignored or not targeted. */
const pons_quant_scheme *pons_quant_config_find(const pons_quant_config *config,
                                                const char *module);

#endif
