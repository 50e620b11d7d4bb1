/* Owns the pieces that families share whose blocks normalize the inputs of attention and of a gated MLP. */
#include "model/arch_tables.h"

const pons_arch_tap pons_prenorm_taps[PONS_TAPS] = {
    [PONS_TAP_QKV] = {"qkv", PONS_INPUT_STREAM, PONS_WIDTH_HIDDEN, PONS_GAIN_ATTENTION},
    [PONS_TAP_O] = {"o", PONS_INPUT_HEADS, PONS_WIDTH_HEADS, -1},
    [PONS_TAP_GATE_UP] = {"gate_up", PONS_INPUT_STREAM, PONS_WIDTH_HIDDEN, PONS_GAIN_MLP},
    [PONS_TAP_DOWN] = {"down", PONS_INPUT_MIDDLE, PONS_WIDTH_INTERMEDIATE, -1},
};

const pons_arch_gain pons_prenorm_gains[PONS_GAINS] = {
    [PONS_GAIN_ATTENTION] = {"input_layernorm", "attn_norm", PONS_WIDTH_HIDDEN},
    [PONS_GAIN_MLP] = {"post_attention_layernorm", "ffn_norm", PONS_WIDTH_HIDDEN},
};

const pons_arch_step pons_prenorm_steps[PONS_PRENORM_STEPS] = {
    PONS_STEPS_PROJECT PONS_STEPS_ATTEND};
