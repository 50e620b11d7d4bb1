/**
 * Which stored tensors make up the model: found, checked and remembered at open. Internal to model
 * and pack.
 */
#ifndef PONS_MODEL_TENSORS_H
#define PONS_MODEL_TENSORS_H

#include "model/model.h"
#include "model/quant_config.h"

/** One linear: `weight` when dense, else packed, scale and, when asymmetric, zero. Views are
 * borrowed from the store. */
typedef struct pons_linear_tensors {
    const pons_tensor_view *weight, *bias;
    const pons_tensor_view *packed; /* I32 [rows, words of cols] */
    const pons_tensor_view *shape;  /* I64 [2] beside packed */
    const pons_tensor_view *scale;  /* [rows, groups] */
    const pons_tensor_view *zero;   /* I32 [words of rows, groups] or NULL */
    int bits;                       /* 16 when dense */
    int64_t rows, cols, groups, group_size;
    int64_t interleaved; /* head_dim when rows of a head are stored as rotary pairs (Llama GGUF); 0
                            in the Hugging Face order */
} pons_linear_tensors;

struct pons_model {
    char *path;
    pons_model_config config;
    pons_runtime runtime;
    pons_store *store;
    pons_store *transforms; /* NULL unless the runtime has any */
    bool packed;
    pons_linear_tensors *linear;                           /* [layers, linears] */
    const pons_tensor_view **gain;                         /* [layers, gains] */
    const pons_tensor_view *embedding, *final_norm, *head; /* head: the embedding when tied */
};

/**
 * Find and check every tensor; fill linear, gain, embedding, final_norm, head, packed. Local.
 * @param quant empty unless config.json has a quantization_config
 * @return PONS_ERR_INPUT naming a missing tensor or found and expected shape; PONS_ERR_UNSUPPORTED
 * naming a tensor the architecture does not have, or a dtype.
 */
pons_status pons_model_find_tensors(pons_model *model, const pons_quant_config *quant);

/** Find and check the tensors of one block, packed as their shapes tell; the others stay empty.
 * Local. @return as pons_model_find_tensors. */
pons_status pons_model_find_block(pons_model *model, int64_t layer);

/** The linear's tensors. Local. */
const pons_linear_tensors *pons_model_linear(const pons_model *model, int64_t layer, int linear);

#endif
