/* Owns the table of Mistral: no biases, a sliding window in every layer. Its GGUF files say llama. */
#include "model/arch_tables.h"

static const pons_arch_linear linears[PONS_LINEARS] = {
    [PONS_K] = {"k_proj", "self_attn.k_proj", "attn_k", PONS_TAP_QKV, PONS_WIDTH_KV_HEADS,
                PONS_BIAS_NEVER, PONS_OUTPUT_PLAIN, false},
    [PONS_V] = {"v_proj", "self_attn.v_proj", "attn_v", PONS_TAP_QKV, PONS_WIDTH_KV_HEADS,
                PONS_BIAS_NEVER, PONS_OUTPUT_VALUES, false},
    [PONS_Q] = {"q_proj", "self_attn.q_proj", "attn_q", PONS_TAP_QKV, PONS_WIDTH_HEADS,
                PONS_BIAS_NEVER, PONS_OUTPUT_PLAIN, false},
    [PONS_O] = {"o_proj", "self_attn.o_proj", "attn_output", PONS_TAP_O, PONS_WIDTH_HIDDEN,
                PONS_BIAS_NEVER, PONS_OUTPUT_STREAM, false},
    [PONS_UP] = {"up_proj", "mlp.up_proj", "ffn_up", PONS_TAP_GATE_UP, PONS_WIDTH_INTERMEDIATE,
                 PONS_BIAS_NEVER, PONS_OUTPUT_MIDDLE, false},
    [PONS_GATE] = {"gate_proj", "mlp.gate_proj", "ffn_gate", PONS_TAP_GATE_UP,
                   PONS_WIDTH_INTERMEDIATE, PONS_BIAS_NEVER, PONS_OUTPUT_PLAIN, false},
    [PONS_DOWN] = {"down_proj", "mlp.down_proj", "ffn_down", PONS_TAP_DOWN, PONS_WIDTH_HIDDEN,
                   PONS_BIAS_NEVER, PONS_OUTPUT_STREAM, false},
};

const pons_arch pons_arch_mistral = {
    .model_type = "mistral",
    .class_name = "MistralForCausalLM",
    .max_positions = 131072,
    .kv_heads = 8,
    .window = PONS_WINDOW_ALL,
    .linears = PONS_LINEARS,
    .taps = PONS_TAPS,
    .gains = PONS_GAINS,
    .steps = PONS_PRENORM_STEPS,
    .linear = linears,
    .tap = pons_prenorm_taps,
    .gain = pons_prenorm_gains,
    .step = pons_prenorm_steps,
};
