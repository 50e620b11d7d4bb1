/* Owns the list of config.json settings that other architectures use to change the numbers. Present
 * with a value that is not neutral, they are refused by name. */
#include "model/config_json.h"

#include <math.h>
#include <stdio.h>

static const struct {
    const char *key;
    double neutral; /* false counts as 0, true as 1, an empty list or object as 0; null is always
                       neutral; NAN: nothing but null is */
} foreign[] = {
    {"partial_rotary_factor", 1},
    {"rotary_pct", 1},
    {"rope_interleaved", 0},
    {"use_mrope", 0},
    {"no_rope_layers", 0},
    {"no_rope_layer_interval", 0},
    {"alibi", 0},
    {"is_causal", 1},
    {"attention_chunk_size", 0},
    {"attention_multiplier", NAN},
    {"query_pre_attn_scalar", NAN},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"logit_scale", 1},
    {"logits_scaling", 1},
    {"embedding_multiplier", 1},
    {"residual_multiplier", 1},
    {"scale_emb", 1},
    {"scale_depth", NAN},
    {"dim_model_base", NAN},
    {"clip_qkv", 0},
    {"qk_layernorm", 0},
    {"use_qk_norm", 0},
    {"use_parallel_residual", 0},
    {"num_local_experts", 0},
    {"num_experts", 0},
    {"n_routed_experts", 0},
    {"auto_map", 0}, /* the repository's own code would run */
};

static double as_number(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_INTEGER:
    case JSON_REAL: return json_number_value(value);
    case JSON_TRUE: return 1;
    case JSON_FALSE: return 0;
    case JSON_ARRAY: return json_array_size(value) ? NAN : 0;
    case JSON_OBJECT: return json_object_size(value) ? NAN : 0;
    default: return NAN;
    }
}

pons_status pons_config_json_refuse_foreign(const pons_fields *f)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (!pons_fields_has(f, foreign[i].key)) continue;
        double x = as_number(json_object_get(f->object, foreign[i].key));
        if (x == foreign[i].neutral) continue;
        char allowed[32] = "none or null";
        if (foreign[i].neutral == 1) snprintf(allowed, sizeof allowed, "none, null or 1");
        return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, foreign[i].key, allowed);
    }
    return PONS_OK;
}
