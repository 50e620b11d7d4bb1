/**
 * The recipe: everything a run is told, read from one YAML file and validated before anything else
 * happens.
 *
 * The struct mirrors the file section by section; configs/ holds examples and the list of
 * keys (README.md). Unknown keys, wrong types, values out of range and contradictions are refused with the
 * file, line, key, what was found and what is allowed. Defaults are those of pons_recipe_default.
 */
#ifndef PONS_CONFIG_RECIPE_H
#define PONS_CONFIG_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "tensor/dtype.h"

/** method: what is done to each linear (specification 3). */
typedef enum pons_method {
    PONS_METHOD_NONE,           /* none: rotate only, weights stay dense */
    PONS_METHOD_RTN,            /* rtn: round to nearest */
    PONS_METHOD_GPTQ,           /* gptq: dense weights, error fed forward */
    PONS_METHOD_WANDA,          /* wanda: prune only, weights stay 16 bit */
    PONS_METHOD_WANDA_RTN,      /* wanda_rtn: prune, then round, no compensation */
    PONS_METHOD_SPARSEGPT_GPTQ, /* sparsegpt_gptq: both in one pass */
    PONS_METHOD_OBR_RTN,        /* obr_rtn */
    PONS_METHOD_OBR_GPTQ,       /* obr_gptq */
    PONS_METHOD_EXACT_OBS       /* exact_obs: one weight at a time, small layers only */
} pons_method;

typedef enum pons_compat { PONS_COMPAT_CORRECTED, PONS_COMPAT_FAITHFUL } pons_compat;
typedef enum pons_compute { PONS_COMPUTE_AUTO, PONS_COMPUTE_FP32, PONS_COMPUTE_BF16 } pons_compute;
typedef enum pons_rotation_kind {
    PONS_ROTATION_NONE,
    PONS_ROTATION_QUAROT,
    PONS_ROTATION_SPINQUANT,
    PONS_ROTATION_FLATQUANT
} pons_rotation_kind;
typedef enum pons_rotate_mode { PONS_ROTATE_HADAMARD, PONS_ROTATE_RANDOM } pons_rotate_mode;
typedef enum pons_output_format {
    PONS_OUTPUT_PACK_QUANTIZED,
    PONS_OUTPUT_DENSE
} pons_output_format;

/** prune.allocate: who says how much of each linear is pruned. */
typedef enum pons_allocate_kind {
    PONS_ALLOCATE_UNIFORM, /* uniform: prune.sparsity everywhere */
    PONS_ALLOCATE_BUDGET   /* budget: least damage at that sparsity of the whole */
} pons_allocate_kind;

/** obr.target: what a linear's compressed weights are to reproduce, on which inputs. */
typedef enum pons_target_kind {
    PONS_TARGET_DENSE,              /* dense: its own weights, on unquantized inputs */
    PONS_TARGET_COMPENSATED_INPUTS, /* compensated_inputs: the dense model's outputs, on the inputs
                                       that compressed layers make */
    PONS_TARGET_QUANTIZED_INPUTS /* quantized_inputs: the same with activations and KV quantized */
} pons_target_kind;

/** prune.mask: which entries of a row go. */
typedef enum pons_mask {
    PONS_MASK_WANDA,     /* wanda: least |w_j| c_j */
    PONS_MASK_MAGNITUDE, /* magnitude: least |w_j| */
    PONS_MASK_SPARSEGPT, /* sparsegpt: least w_j^2 / U_jj^2 block by block, others adjusted meanwhile */
    PONS_MASK_OBS,       /* obs: least w_j^2 / [H^-1]_jj */
    PONS_MASK_DUAL_SWAP, /* dual_swap: obs, then swaps priced by the solved problem */
    PONS_MASK_ADMM       /* admm: by alternating directions between dense and sparse weights */
} pons_mask;

/** weights.scale_from: the weights that scales are found on. */
typedef enum pons_scale_source {
    PONS_SCALE_DENSE,      /* dense: those of the model */
    PONS_SCALE_COMPENSATED /* compensated: pruned, with the others adjusted */
} pons_scale_source;

/** weights.refit: scales once more when the codes are known. */
typedef enum pons_refit {
    PONS_REFIT_NONE,
    PONS_REFIT_CLOSED_FORM /* closed_form: the scale of least layer error for these codes */
} pons_refit;

typedef enum pons_solver {
    PONS_SOLVER_AUTO,
    PONS_SOLVER_DIRECT,
    PONS_SOLVER_DUAL,
    PONS_SOLVER_PRIMAL
} pons_solver;

/** How the lines of a text become one string (specification 1.4). */
typedef enum pons_text_join {
    PONS_JOIN_NONE,    /* the file as it is */
    PONS_JOIN_LINES,   /* by two newlines, each keeping its own, blank ones empty */
    PONS_JOIN_STRIPPED /* by two newlines, white space at their ends removed */
} pons_text_join;

/** weights: grid of the codes (specification 4.1). */
typedef struct pons_weight_quant {
    int bits;       /* 2..8 */
    bool symmetric; /* codes in [-2^(b-1), 2^(b-1) - 1], zero point 0; else [0, 2^b - 1] with a zero
                       point */
    int64_t group_size; /* 0: one scale per row; else columns per scale */
    bool mse_clip;      /* search the clip by sum |err|^2.4 */
    int down_proj_bits; /* 0: as bits; 8 under int8_down_proj */
} pons_weight_quant;

/** activations: dynamic per-token quantization of each linear's input at inference
 * (specification 4.2). */
typedef struct pons_act_quant {
    int bits; /* 2..8; 16: off */
    bool symmetric;
    int64_t group_size;      /* 0: whole token */
    bool o_proj_head_groups; /* o_proj input in groups of head_dim whatever group_size says
                                (SpinQuant) */
    float clip_ratio;        /* (0, 1] */
    int down_proj_bits;      /* 0: as bits; 8 under int8_down_proj */
} pons_act_quant;

/** kv, values: quantization of keys (after RoPE and the online Hadamard) and values (specification
 * 4.3). */
typedef struct pons_kv_quant {
    int bits; /* 2..8; 16: off */
    bool symmetric;
    bool per_head;    /* group of head_dim; false: one scale per token over all kv heads */
    float clip_ratio; /* (0, 1] */
} pons_kv_quant;

typedef struct pons_recipe {
    char label[128]; /* what this run is called; changes no number */
    uint32_t seed;   /* calibration windows and, unless rotation.seed is given, rotation signs */
    pons_method method;
    pons_compat compat;
    pons_compute compute;   /* matrix products of the forward pass */
    bool coordinator_works; /* rank 0 holds windows and rows, too, when there are other ranks */

    int64_t
        wave; /* blocks that are compressed side by side from dense activations; 1: one after the
                     other, each group seeing the compressed ones before it */
    struct {
        int64_t teams, ranks_per_team; /* 0: chosen from ranks and wave */
        char scratch[1024]; /* directory on each node's own disk for matrices; "": memory */
    } layout;

    struct {
        int64_t windows, length; /* N windows of S tokens */
        int64_t holdout;         /* windows drawn beside them that targets are checked on */
        pons_text_join join;
    } calibration;

    struct {
        int64_t blocks; /* hidden states are saved after every so many; 0: never */
        bool keep;      /* RUN/blocks and RUN/model stay after success, for pons export */
        double grace;   /* seconds from a signal to the end of the process */
    } checkpoint;

    struct {
        pons_rotation_kind kind;
        pons_rotate_mode mode; /* quarot only */
        bool online; /* R3, R4 and quarot's head Hadamard; false: R1 and R2 only, output is a
                        standard model */
        bool center_embedding; /* subtract each embedding's mean first: a quirk of the reference,
                                  true under compat: faithful unless told otherwise */
        pons_dtype hadamard_dtype; /* what the online Hadamards of o_proj and down_proj round their
                                      input and result to; F32: nothing is rounded */
        uint32_t seed;
        char file[1024]; /* "": drawn; else R1 and R2 as SpinQuant saves them */
        bool learn;      /* R1 and R2 from calibration activations, starting from the drawn ones */
        int64_t learn_windows, learn_steps;
        double tolerance; /* file: largest entry of |R^T R - I| */
    } rotation;

    pons_weight_quant weights;
    int allocate_bits; /* weights.allocate_bits: bit b is set where b bits are allowed; 0: bits */
    pons_scale_source scale_from; /* weights.scale_from */
    pons_refit refit;             /* weights.refit */

    struct {
        pons_mask mask;
        double sparsity; /* share of pruned entries per row; n/m under a pattern */
        int n, m;        /* prune n of every m; 0, 0: unstructured */
        pons_allocate_kind allocate;
        double spread; /* budget: how far a linear's sparsity may be from that of the whole */
    } prune;

    struct {
        double alpha;        /* share of columns evicted in stage B */
        double damping;      /* of the mean diagonal (percdamp) */
        int damping_retries; /* times it may be raised tenfold where it does not do */
        int64_t block;       /* GPTQ block, columns */
        int64_t blocks;      /* up to 2: the paper's halves; more: each rounded by GPTQ, the columns
                                after it solved again */
        bool act_order;      /* GPTQ takes its columns by decreasing H_jj */
        pons_solver solver;
        pons_compute precision; /* of the dual solver's iterations */
        double tolerance;       /* dual solver: largest excess of a row's layer error over the least
                                   one, as a share of it */
        pons_target_kind target;
        bool residual; /* targets of o_proj and down_proj repair the residual stream, too */
    } obr;

    struct {
        int sweeps; /* at most this many passes over the codes; 0: none */
    } polish;

    pons_act_quant activations;
    pons_kv_quant kv;     /* keys and, but for what `values` says, values */
    pons_kv_quant values; /* as kv unless given */

    bool keep_hessians; /* hessians: keep | discard */

    struct {
        pons_output_format format;
        pons_dtype dtype; /* of everything not quantized: F32, F16 or BF16 */
    } output;

    struct { /* perplexity measured while compressing; text == "" : none */
        char text[1024];
        int64_t windows, length; /* windows 0: as many as fit */
        pons_text_join join;
        bool special; /* encode with the tokens the post-processor adds, such as BOS */
    } evaluate;
} pons_recipe;

/** Fill with the defaults: obr_gptq, spinquant rotation, W4A4KV4, 50 % unstructured, 128 windows of
 * 2048. Local. */
void pons_recipe_default(pons_recipe *recipe);

/**
 * Read and validate a recipe file, with overrides.
 *
 * Local (rank 0 reads, the struct is broadcast as bytes: it holds no pointers).
 * Applied in this order: defaults, file, overrides; then what was not given follows from the rest:
 * rotation.seed from seed, values from kv, rotation.center_embedding from compat, no activations.o_proj_head_groups
 * under flatquant, output.format dense for a method
 * without codes, prune.sparsity n/m from the pattern. When an override changes the method, what the
 * file asks of stages that the new method lacks (prune, weights, packing) returns to its default;
 * asked for at the same place as the method it is a contradiction. So with prune.allocate and the keys
 * of a budget.
 * @param path  YAML file; NULL for the defaults alone
 * @param set   [count] strings "section.key=value" applied after the file; a later one wins
 * @return PONS_OK, PONS_ERR_IO, PONS_ERR_CONFIG with one line naming file, line, key, found and
 * allowed values; for an unknown key the nearest known one.
 */
pons_status pons_recipe_load(const char *path, const char *const *set, int count,
                             pons_recipe *recipe);

/** The same with the YAML text itself, ended by a zero byte, or NULL. Local. */
pons_status pons_recipe_load_text(const char *text, const char *const *set, int count,
                                  pons_recipe *recipe);

/** Refuse contradictory or out-of-range settings; called by pons_recipe_load. Local. */
pons_status pons_recipe_check(const pons_recipe *recipe, const char *where);

/** Write the effective recipe as YAML that pons_recipe_load reads back to the same struct. Local.
 */
pons_status pons_recipe_print(const pons_recipe *recipe, FILE *out);

/** A key that two recipes give different values. */
typedef struct pons_recipe_difference {
    const char *key;
    char a[256], b[256]; /* its values as text, cut to fit a message */
} pons_recipe_difference;

/** Find the first key that can change a bit of the output and has another value in b than in a;
 * false when there is none. Local. */
bool pons_recipe_differ(const pons_recipe *a, const pons_recipe *b, pons_recipe_difference *out);

/** Print every key with default, allowed values and meaning as a Markdown table, which configs/README.md contains.
 * Local. @return PONS_OK, PONS_ERR_IO. */
pons_status pons_recipe_print_keys(FILE *out);

/** Names as written in recipes ("obr_gptq", "spinquant"). Local. */
const char *pons_method_name(pons_method method);
const char *pons_rotation_kind_name(pons_rotation_kind kind);

/** Whether the kind rotates the residual stream, so that norms are folded into the linears. Local. */
bool pons_rotation_kind_folds(pons_rotation_kind kind);

/** Whether the method prunes, produces integer codes, needs a Hessian, needs all rows of a linear
 * at once. Local. */
bool pons_method_prunes(pons_method method);
bool pons_method_quantizes(pons_method method);
bool pons_method_needs_hessian(pons_method method);
bool pons_method_needs_all_rows(pons_method method);

/** Whether columns are swept from left to right, errors fed forward (obr.act_order). Local. */
bool pons_method_sweeps(pons_method method);

/** Whether prune.mask chooses what the method prunes; whether the method adjusts kept weights for pruned
 * ones at once (weights.scale_from); whether its codes can be improved with the Hessian
 * (weights.refit, polish). Local. */
bool pons_method_takes_mask(pons_method method);
bool pons_method_compensates(pons_method method);
bool pons_method_polishes(pons_method method);

#endif
