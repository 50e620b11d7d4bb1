/* Owns writing pons_model_config as a config.json. In the v4 style, which every version of
 * transformers reads. */
#include <math.h>

#include "base/mem.h"
#include "model/config_json.h"

static json_t *number(double x)
{
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

static json_t *rope_scaling(const pons_model_config *c)
{
    switch (c->rope.type) {
    case PONS_ROPE_LINEAR:
        return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", c->rope.factor);
    case PONS_ROPE_LLAMA3:
        return json_pack("{s:s, s:f, s:f, s:f, s:o}", "rope_type", "llama3", "factor",
                         c->rope.factor, "low_freq_factor", c->rope.low_freq_factor,
                         "high_freq_factor", c->rope.high_freq_factor,
                         "original_max_position_embeddings",
                         number(c->rope.original_max_positions));
    default: return json_null();
    }
}

static const char *dtype_name(pons_dtype dtype)
{
    return dtype == PONS_DTYPE_F32 ? "float32" : dtype == PONS_DTYPE_F16 ? "float16" : "bfloat16";
}

static int set_arch_keys(json_t *o, const pons_model_config *c)
{
    int bad = 0;
    const pons_arch *a = c->arch;
    if (a->attention_bias_key)
        bad |= json_object_set_new(o, "attention_bias", json_boolean(c->attention_bias));
    if (a->mlp_bias_key) bad |= json_object_set_new(o, "mlp_bias", json_boolean(c->mlp_bias));
    if (a->window != PONS_WINDOW_NONE)
        bad |= json_object_set_new(
            o, "sliding_window", c->sliding_window ? json_integer(c->sliding_window) : json_null());
    if (a->window == PONS_WINDOW_UPPER) {
        bad |= json_object_set_new(o, "use_sliding_window", json_boolean(c->sliding_window > 0));
        bad |= json_object_set_new(o, "max_window_layers",
                                   json_integer(c->sliding_window ? c->window_from : c->layers));
    }
    return bad;
}

pons_status pons_model_config_to_json(const pons_model_config *c, pons_dtype dtype, json_t **out)
{
    json_t *o = json_pack(
        "{s:[s], s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:o, s:b}",
        "architectures", c->arch->class_name, "model_type", c->arch->model_type, "torch_dtype",
        dtype_name(dtype), "vocab_size", (json_int_t)c->vocab, "hidden_size", (json_int_t)c->hidden,
        "intermediate_size", (json_int_t)c->intermediate, "num_hidden_layers",
        (json_int_t)c->layers, "num_attention_heads", (json_int_t)c->heads, "num_key_value_heads",
        (json_int_t)c->kv_heads, "head_dim", (json_int_t)c->head_dim, "max_position_embeddings",
        (json_int_t)c->max_positions, "hidden_act", "silu", "rms_norm_eps", c->rms_eps,
        "rope_theta", c->rope.theta, "rope_scaling", rope_scaling(c), "tie_word_embeddings",
        (int)c->tied);
    if (!o || set_arch_keys(o, c)) {
        json_decref(o);
        return pons_fail(PONS_ERR_NOMEM, "out of memory for config.json");
    }
    *out = o;
    return PONS_OK;
}
