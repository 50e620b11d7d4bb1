/* Owns the table of Qwen3: each head of queries and keys has a norm before RoPE; biases of attention as
 * attention_bias says. */
#include "model/arch_tables.h"

static const pons_arch_linear linears[PONS_LINEARS] = {
    [PONS_K] = {"k_proj", "self_attn.k_proj", "attn_k", PONS_TAP_QKV, PONS_WIDTH_KV_HEADS,
                PONS_BIAS_ATTENTION, PONS_OUTPUT_PLAIN, false},
    [PONS_V] = {"v_proj", "self_attn.v_proj", "attn_v", PONS_TAP_QKV, PONS_WIDTH_KV_HEADS,
                PONS_BIAS_ATTENTION, PONS_OUTPUT_VALUES, false},
    [PONS_Q] = {"q_proj", "self_attn.q_proj", "attn_q", PONS_TAP_QKV, PONS_WIDTH_HEADS,
                PONS_BIAS_ATTENTION, PONS_OUTPUT_PLAIN, false},
    [PONS_O] = {"o_proj", "self_attn.o_proj", "attn_output", PONS_TAP_O, PONS_WIDTH_HIDDEN,
                PONS_BIAS_ATTENTION, PONS_OUTPUT_STREAM, false},
    [PONS_UP] = {"up_proj", "mlp.up_proj", "ffn_up", PONS_TAP_GATE_UP, PONS_WIDTH_INTERMEDIATE,
                 PONS_BIAS_NEVER, PONS_OUTPUT_MIDDLE, false},
    [PONS_GATE] = {"gate_proj", "mlp.gate_proj", "ffn_gate", PONS_TAP_GATE_UP,
                   PONS_WIDTH_INTERMEDIATE, PONS_BIAS_NEVER, PONS_OUTPUT_PLAIN, false},
    [PONS_DOWN] = {"down_proj", "mlp.down_proj", "ffn_down", PONS_TAP_DOWN, PONS_WIDTH_HIDDEN,
                   PONS_BIAS_NEVER, PONS_OUTPUT_STREAM, false},
};

enum { GAIN_QUERY = PONS_GAINS, GAIN_KEY, GAINS };

static const pons_arch_gain gains[GAINS] = {
    [PONS_GAIN_ATTENTION] = {"input_layernorm", "attn_norm", PONS_WIDTH_HIDDEN},
    [PONS_GAIN_MLP] = {"post_attention_layernorm", "ffn_norm", PONS_WIDTH_HIDDEN},
    [GAIN_QUERY] = {"self_attn.q_norm", "attn_q_norm", PONS_WIDTH_HEAD_DIM},
    [GAIN_KEY] = {"self_attn.k_norm", "attn_k_norm", PONS_WIDTH_HEAD_DIM},
};

static const pons_arch_step steps[] = {
    PONS_STEPS_PROJECT{.kind = PONS_STEP_NORM,
                       .from = PONS_SLOT_QUERIES,
                       .to = PONS_SLOT_QUERIES,
                       .gain = GAIN_QUERY},
    {.kind = PONS_STEP_NORM, .from = PONS_SLOT_KEYS, .to = PONS_SLOT_KEYS, .gain = GAIN_KEY},
    PONS_STEPS_ATTEND,
};

const pons_arch pons_arch_qwen3 = {
    .model_type = "qwen3",
    .class_name = "Qwen3ForCausalLM",
    .gguf = "qwen3",
    .max_positions = 32768,
    .kv_heads = 32,
    .head_dim = 128,
    .window = PONS_WINDOW_UPPER,
    .attention_bias_key = true,
    .linears = PONS_LINEARS,
    .taps = PONS_TAPS,
    .gains = GAINS,
    .steps = sizeof steps / sizeof *steps,
    .linear = linears,
    .tap = pons_prenorm_taps,
    .gain = gains,
    .step = steps,
};
