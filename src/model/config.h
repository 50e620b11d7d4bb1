/**
 * The architecture as data: what config.json or GGUF metadata says, reduced to what changes the
 * numbers.
 *
 * Llama, Mistral and Qwen2. A field that would change the numbers and is not implemented is refused
 * by name.
 */
#ifndef PONS_MODEL_CONFIG_H
#define PONS_MODEL_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/store.h"
#include "tensor/dtype.h"

typedef enum pons_arch { PONS_ARCH_LLAMA, PONS_ARCH_MISTRAL, PONS_ARCH_QWEN2 } pons_arch;
typedef enum pons_rope_type {
    PONS_ROPE_DEFAULT,
    PONS_ROPE_LINEAR,
    PONS_ROPE_LLAMA3
} pons_rope_type;

/** The seven linears of a block, in the reference's order of compression: G1 = k, v, q; G2 = o; G3
 * = up, gate; G4 = down. */
typedef enum pons_linear {
    PONS_K,
    PONS_V,
    PONS_Q,
    PONS_O,
    PONS_UP,
    PONS_GATE,
    PONS_DOWN,
    PONS_LINEARS
} pons_linear;

/** Groups of linears that share an input. */
typedef enum pons_group {
    PONS_GROUP_QKV,
    PONS_GROUP_O,
    PONS_GROUP_GATE_UP,
    PONS_GROUP_DOWN,
    PONS_GROUPS
} pons_group;

typedef struct pons_model_config {
    pons_arch arch;
    int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim;
    int64_t max_positions;
    int64_t sliding_window; /* 0: none; else keys visible to a query, in every layer from
                               window_from on */
    int64_t window_from;    /* first layer with the sliding window */
    double rms_eps;
    bool tied;                     /* lm_head is the embedding */
    bool attention_bias, mlp_bias; /* as config.json says; presence of the tensor decides */
    pons_dtype dtype;              /* of the checkpoint: F32, F16 or BF16 */
    struct {
        pons_rope_type type;
        double theta, factor, low_freq_factor, high_freq_factor, original_max_positions;
    } rope;
} pons_model_config;

/** Read a config.json. Local. @return PONS_ERR_INPUT / PONS_ERR_UNSUPPORTED naming file, key,
 * found, allowed. */
pons_status pons_model_config_read(const char *path, pons_model_config *out);

/** The same from GGUF metadata (general.architecture llama, qwen2). Local. */
pons_status pons_model_config_from_gguf(const pons_store *store, pons_model_config *out);

/** A config.json for this architecture, as transformers reads it (without quantization_config). New
 * reference. Local. */
pons_status pons_model_config_to_json(const pons_model_config *config, pons_dtype dtype,
                                      json_t **out);

/** Rows and columns of a linear. Local. */
void pons_linear_shape(const pons_model_config *config, pons_linear linear, int64_t *rows,
                       int64_t *cols);

/** Input group of a linear; input width of a group. Local. */
pons_group pons_linear_group(pons_linear linear);
int64_t pons_group_dim(const pons_model_config *config, pons_group group);

/** "q_proj", "self_attn.q_proj", "qkv". Local. */
const char *pons_linear_short_name(pons_linear linear);
const char *pons_linear_name(pons_linear linear);
const char *pons_group_name(pons_group group);

/** cos and sin of the rotary embedding for positions 0..T-1, fp32 angles as transformers computes
 * them. @param cosine, sine [T, head_dim/2]. Local. */
void pons_rope_tables(const pons_model_config *config, int64_t T, float *cosine, float *sine);

#endif
