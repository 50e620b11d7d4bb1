/* Owns names, shapes and groups of the linears of a block. */
#include "model/config.h"

static const struct {
    const char *short_name, *name;
    pons_group group;
} table[PONS_LINEARS] = {
    [PONS_K] = {"k_proj", "self_attn.k_proj", PONS_GROUP_QKV},
    [PONS_V] = {"v_proj", "self_attn.v_proj", PONS_GROUP_QKV},
    [PONS_Q] = {"q_proj", "self_attn.q_proj", PONS_GROUP_QKV},
    [PONS_O] = {"o_proj", "self_attn.o_proj", PONS_GROUP_O},
    [PONS_UP] = {"up_proj", "mlp.up_proj", PONS_GROUP_GATE_UP},
    [PONS_GATE] = {"gate_proj", "mlp.gate_proj", PONS_GROUP_GATE_UP},
    [PONS_DOWN] = {"down_proj", "mlp.down_proj", PONS_GROUP_DOWN},
};

static const char *const group_names[PONS_GROUPS] = {
    [PONS_GROUP_QKV] = "qkv",
    [PONS_GROUP_O] = "o",
    [PONS_GROUP_GATE_UP] = "gate_up",
    [PONS_GROUP_DOWN] = "down",
};

pons_group pons_linear_group(pons_linear linear) { return table[linear].group; }
const char *pons_linear_short_name(pons_linear linear) { return table[linear].short_name; }
const char *pons_linear_name(pons_linear linear) { return table[linear].name; }
const char *pons_group_name(pons_group group) { return group_names[group]; }

int64_t pons_group_dim(const pons_model_config *config, pons_group group)
{
    switch (group) {
    case PONS_GROUP_O: return config->heads * config->head_dim;
    case PONS_GROUP_DOWN: return config->intermediate;
    default: return config->hidden;
    }
}

void pons_linear_shape(const pons_model_config *config, pons_linear linear, int64_t *rows,
                       int64_t *cols)
{
    switch (linear) {
    case PONS_K:
    case PONS_V: *rows = config->kv_heads * config->head_dim; break;
    case PONS_Q: *rows = config->heads * config->head_dim; break;
    case PONS_UP:
    case PONS_GATE: *rows = config->intermediate; break;
    default: *rows = config->hidden; break;
    }
    *cols = pons_group_dim(config, pons_linear_group(linear));
}
