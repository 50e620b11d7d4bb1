/**
 * A model family as data: one constant table per family says which linears and norm gains a block has,
 * where the inputs of linears are tapped, and in which steps the forward pass of a block runs. Whoever
 * walks a block (reader, rotation, forward pass, compression, writer, plan, report) walks this table; a
 * linear, a tap and a gain are small integers that index it, and arrays over them have arch->linears,
 * arch->taps and arch->gains entries.
 *
 * A *tap* is an input shared by one or more linears (a projection group): what multiplies their weights,
 * and what a Hessian is made of. The *steps* between two taps are a stage of the forward pass, so stage t
 * ends with tap t, and one more stage follows the last tap. All Local.
 */
#ifndef PONS_MODEL_ARCH_H
#define PONS_MODEL_ARCH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct pons_model_config pons_model_config;

/** Lengths that a configuration sets. */
typedef enum pons_width {
    PONS_WIDTH_HIDDEN,
    PONS_WIDTH_INTERMEDIATE,
    PONS_WIDTH_HEADS,    /* heads * head_dim */
    PONS_WIDTH_KV_HEADS, /* kv_heads * head_dim */
    PONS_WIDTH_HEAD_DIM
} pons_width;

/** When a linear has a bias. The class and its configuration decide, never the tensors of a file. */
typedef enum pons_bias {
    PONS_BIAS_NEVER,
    PONS_BIAS_ALWAYS,
    PONS_BIAS_ATTENTION, /* with attention_bias */
    PONS_BIAS_MLP        /* with mlp_bias */
} pons_bias;

/** What an input is, which decides how a rotation folds into the columns of its linears, which online
 * transform it has, and which activation settings apply. */
typedef enum pons_tap_kind {
    PONS_INPUT_STREAM, /* normalized residual stream: the gain and R1 fold into the linears */
    PONS_INPUT_HEADS, /* outputs of attention, head by head: R2 folds; quantized in groups of a head */
    PONS_INPUT_MIDDLE /* gated values inside the MLP: R4; what int8_down_proj and down_proj_bits mean */
} pons_tap_kind;

/** What the outputs of a linear become, which decides how a rotation folds into its rows. */
typedef enum pons_output {
    PONS_OUTPUT_PLAIN,  /* queries, keys, gates: nothing folds */
    PONS_OUTPUT_VALUES, /* values: R2 of each head */
    PONS_OUTPUT_MIDDLE, /* the factor of a gated product that is linear in it: scales of the next tap */
    PONS_OUTPUT_STREAM /* added to the residual stream: R1 */
} pons_output;

/** A linear of a block: y = W x, and b where it has a bias. Its columns are those of its tap. */
typedef struct pons_arch_linear {
    const char *short_name; /* "k_proj", for messages and tables */
    const char *name;       /* "self_attn.k_proj", of the Hugging Face module inside the layer */
    const char *gguf;       /* "attn_k", inside the GGUF block */
    int tap;                /* its input */
    pons_width rows;
    pons_bias bias;
    pons_output output;
    bool gguf_pairs; /* the rows of a GGUF file's heads are rotary pairs: undone when read */
} pons_arch_linear;

/** An input of linears. */
typedef struct pons_arch_tap {
    const char *name; /* "qkv", for messages, files and tables */
    pons_tap_kind kind;
    pons_width width;
    int gain; /* the norm that feeds a PONS_INPUT_STREAM; -1: none */
} pons_arch_tap;

/** Gains of a norm, fp32 factors of the normalized entries. */
typedef struct pons_arch_gain {
    const char *name; /* "input_layernorm", of the Hugging Face module inside the layer */
    const char *gguf; /* "attn_norm", inside the GGUF block */
    pons_width
        width; /* a norm is over so many entries; wider buffers are normalized piece by piece */
} pons_arch_gain;

/** Buffers of the forward pass, [tokens, width] each. */
typedef enum pons_slot {
    PONS_SLOT_STREAM, /* residual stream, hidden wide */
    PONS_SLOT_INPUT,  /* what a tap shows and what attention and gates leave */
    PONS_SLOT_QUERIES,
    PONS_SLOT_KEYS,
    PONS_SLOT_VALUES,
    PONS_SLOTS
} pons_slot;

/** One step of the forward pass of a block. */
typedef enum pons_step_kind {
    PONS_STEP_NORM, /* to = norm of `from` with the gain, piece by piece of the gain's width */
    PONS_STEP_TAP,  /* the input is that of tap number `tap`: its online transform and quantizer */
    PONS_STEP_LINEAR, /* to = linear of the input */
    PONS_STEP_ROPE,   /* rotary positions of queries and keys */
    PONS_STEP_CACHE,  /* keys and values as a cache holds them: online transform and quantizers */
    PONS_STEP_ATTENTION, /* input = causal attention of queries, keys, values */
    PONS_STEP_GATE,      /* input = silu(linear of the input) * (other linear of the input) */
    PONS_STEP_ADD        /* stream += linear of the input */
} pons_step_kind;

typedef struct pons_arch_step {
    pons_step_kind kind;
    pons_slot from, to;
    int gain, tap, linear, other; /* those that its kind names */
} pons_arch_step;

/** How the keys of the sliding window are read. */
typedef enum pons_window_rule {
    PONS_WINDOW_NONE, /* transformers ignores the key: a value other than null is refused */
    PONS_WINDOW_ALL,  /* sliding_window holds in every layer */
    PONS_WINDOW_UPPER, /* use_sliding_window, from layer max_window_layers on, or as layer_types says */
} pons_window_rule;

/** A family. */
typedef struct pons_arch {
    const char *model_type; /* of config.json: "llama" */
    const char *class_name; /* of transformers: "LlamaForCausalLM" */
    const char *gguf;       /* general.architecture; NULL: GGUF files call it otherwise */
    /* What the class of transformers takes where config.json lacks the key. */
    int64_t max_positions;
    int64_t kv_heads; /* 0: as many as heads */
    int64_t head_dim; /* 0: hidden / heads */
    pons_window_rule window;
    bool attention_bias_key, mlp_bias_key; /* whether the class reads them */
    int linears, taps, gains, steps;
    const pons_arch_linear *linear; /* [linears] in the order of compression and of files */
    const pons_arch_tap *tap;       /* [taps] in the order of the steps */
    const pons_arch_gain *gain;     /* [gains] */
    const pons_arch_step *step;     /* [steps] */
} pons_arch;

/** Families in order of number 0, 1, ...; NULL past the last. */
const pons_arch *pons_arch_at(int number);

/** The family with this model_type, class_name or general.architecture; NULL: none. */
const pons_arch *pons_arch_of_type(const char *model_type);
const pons_arch *pons_arch_of_class(const char *class_name);
const pons_arch *pons_arch_of_gguf(const char *architecture);

/** A length under a configuration. */
int64_t pons_width_of(const pons_model_config *config, pons_width width);

/** Rows and columns of a linear. */
void pons_linear_shape(const pons_model_config *config, int linear, int64_t *rows, int64_t *cols);

/** Whether a linear has a bias. */
bool pons_linear_has_bias(const pons_model_config *config, int linear);

/** Whether the outputs of a tap's linears are added to the residual stream; such a tap has one linear. */
bool pons_tap_joins_stream(const pons_arch *arch, int tap);

/** Entries of a tap's input. */
int64_t pons_tap_width(const pons_model_config *config, int tap);

/** Gains of a block are one array, gain after gain: first entry of a gain, entries of all. */
int64_t pons_gain_offset(const pons_model_config *config, int gain);
int64_t pons_gain_floats(const pons_model_config *config);

#endif
