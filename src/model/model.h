/**
 * A model opened for reading, whatever its form on disk: Hugging Face directory (plain, or packed
 * by Pons) or GGUF.
 *
 * Weights come out as fp32 in the Hugging Face orientation [rows = outputs, cols = inputs]; q and k
 * rows of Llama GGUF files are un-permuted; packed linears are dequantized. Reads touch only the
 * rows asked for. NaN or Inf in what is read is refused by name (PONS_ERR_INPUT). All Local.
 */
#ifndef PONS_MODEL_MODEL_H
#define PONS_MODEL_MODEL_H

#include "config/recipe.h"
#include "model/config.h"

/** What the forward pass does besides the stored weights; recorded in pons.json because no standard
 * field holds it. */
typedef struct pons_runtime {
    bool hadamard_qk;          /* R3: after RoPE on q and k; applied when keys are quantized */
    bool hadamard_heads;       /* QuaRot: across heads at the o_proj input */
    bool hadamard_down;        /* R4: at the down_proj input */
    pons_dtype hadamard_dtype; /* what those two round their input and result to; F32: nothing */
    bool transforms; /* learned transforms and clipping of every block: model/transforms.h */
    pons_act_quant activations;
    pons_kv_quant kv, values; /* of keys, of values */
} pons_runtime;

/** No online transform, activations and KV at 16 bits. Local. */
pons_runtime pons_runtime_plain(void);

/** Activations and KV back to 16 bits; the online transforms stay. Local. */
void pons_runtime_drop_quantizers(pons_runtime *runtime);

/** pons.json's "runtime" object to and from the struct. Local. */
pons_status pons_runtime_from_json(const char *path, const json_t *object, pons_runtime *out);
pons_status pons_runtime_to_json(const pons_runtime *runtime, json_t **out);

typedef struct pons_model pons_model;

/**
 * Open a model and check that every tensor the architecture needs is there with the right shape.
 * Local.
 * @param path directory or .gguf file; see pons_store_locate
 */
pons_status pons_model_open(const char *path, pons_model **out);
void pons_model_close(pons_model **model);

/**
 * Open one shard of an output that is being written: a model of which only block `layer` may be read.
 * Local.
 * @param config of the whole model, copied
 */
pons_status pons_model_open_block(const char *shard, const pons_model_config *config, int64_t layer,
                                  pons_model **out);

const pons_model_config *pons_model_get_config(const pons_model *model);
const char *pons_model_path(const pons_model *model);
const pons_runtime *
pons_model_runtime(const pons_model *model); /* plain unless pons.json says otherwise */
const pons_store *pons_model_store(const pons_model *model);
bool pons_model_is_packed(const pons_model *model); /* has compressed-tensors linears */

/** Begin to read a linear's stored weight (not a packed one's) behind the caller's work, for the next
 * pons_model_read_linear of it; see pons_store_read_ahead. pons_model_forget_linear then frees it.
 * @param[out] span when it was read @return whether it was */
void pons_model_read_ahead(pons_model *model, int64_t layer, int linear);
bool pons_model_forget_linear(pons_model *model, int64_t layer, int linear, pons_task_span *span);

/** Rows [row, row + n) of a linear's weight into W [n, cols]. */
pons_status pons_model_read_linear(const pons_model *model, int64_t layer, int linear, int64_t row,
                                   int64_t n, float *W);

/** Bias [rows] of a linear, or *present = false: pons_linear_has_bias says the same. */
pons_status pons_model_read_bias(const pons_model *model, int64_t layer, int linear, float *bias,
                                 bool *present);

/**
 * Codes and scales of a packed linear, all rows; PONS_ERR_INPUT when it is not packed.
 * @param codes [rows, cols] int8 in [-2^(b-1), 2^(b-1)-1]; @param scale [rows, groups]; @param zero
 * [rows, groups] zero points in code units (0 when symmetric)
 */
pons_status pons_model_read_codes(const pons_model *model, int64_t layer, int linear, int8_t *codes,
                                  float *scale, int8_t *zero);

/** Bits (16 when dense), group count and symmetry of a linear as stored. */
void pons_model_linear_format(const pons_model *model, int64_t layer, int linear, int *bits,
                              int64_t *groups, bool *symmetric);

/** Bits of one stored code or element of a linear, scales aside: 4 for 4-bit codes and Q4_1, 32 for F32. */
int pons_model_linear_bits(const pons_model *model, int64_t layer, int linear);

/** Bytes of all tensors; of those that hold the weights of a linear: its matrix, or codes, shape, scales
 * and zero points. */
int64_t pons_model_bytes(const pons_model *model);
int64_t pons_model_linear_bytes(const pons_model *model, int64_t layer, int linear);

/** Norm gains: all of a block [pons_gain_floats]; the last one [hidden]. */
pons_status pons_model_read_gains(const pons_model *model, int64_t layer, float *gains);
pons_status pons_model_read_final_norm(const pons_model *model, float *gain);

/** Learned transforms of a block, when the runtime has any. @param out [pons_transforms_floats] */
pons_status pons_model_read_transforms(const pons_model *model, int64_t layer, float *out);

/** Embedding rows of n ids into out [n, hidden]; an id outside [0, vocab) is refused. */
pons_status pons_model_read_embedding(const pons_model *model, const int32_t *ids, int64_t n,
                                      float *out);

/** Rows [row, row + n) of the embedding table / of lm_head (the embedding when tied). */
pons_status pons_model_read_embedding_rows(const pons_model *model, int64_t row, int64_t n,
                                           float *out);
pons_status pons_model_read_head_rows(const pons_model *model, int64_t row, int64_t n, float *out);

#endif
