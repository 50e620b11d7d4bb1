/**
 * What config.json or GGUF metadata says of a model, reduced to what changes the numbers. The family's
 * table is in model/arch.h. A field that would change the numbers and is not implemented is refused by
 * name.
 */
#ifndef PONS_MODEL_CONFIG_H
#define PONS_MODEL_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/store.h"
#include "model/arch.h"
#include "tensor/dtype.h"

typedef enum pons_rope_type {
    PONS_ROPE_DEFAULT,
    PONS_ROPE_LINEAR,
    PONS_ROPE_LLAMA3
} pons_rope_type;

struct pons_model_config {
    const pons_arch *arch; /* of the family */
    int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim;
    int64_t max_positions;
    int64_t sliding_window; /* 0: none; else keys visible to a query, in every layer from
                               window_from on */
    int64_t window_from;    /* first layer with the sliding window */
    double rms_eps;
    bool tied; /* lm_head is the embedding */
    bool attention_bias,
        mlp_bias;     /* keys of some classes: arch.h says which linears they concern */
    pons_dtype dtype; /* of the checkpoint: F32, F16 or BF16 */
    struct {
        pons_rope_type type;
        double theta, factor, low_freq_factor, high_freq_factor, original_max_positions;
    } rope;
};

/** Read a config.json. Local. @return PONS_ERR_INPUT / PONS_ERR_UNSUPPORTED naming file, key,
 * found, allowed. */
pons_status pons_model_config_read(const char *path, pons_model_config *out);

/** The same from GGUF metadata (general.architecture of a known family). Local. */
pons_status pons_model_config_from_gguf(const pons_store *store, pons_model_config *out);

/** A config.json for this architecture, as transformers reads it (without quantization_config). New
 * reference. Local. */
pons_status pons_model_config_to_json(const pons_model_config *config, pons_dtype dtype,
                                      json_t **out);

/** cos and sin of the rotary embedding for positions 0..T-1, fp32 angles as transformers computes
 * them. @param cosine, sine [T, head_dim/2]. Local. */
void pons_rope_tables(const pons_model_config *config, int64_t T, float *cosine, float *sine);

#endif
