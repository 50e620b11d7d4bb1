/**
 * Learned transforms that the forward pass applies inside a block (FlatQuant), and the clipping of
 * what it quantizes there. One block's are one array of floats, so that they are read, sent and
 * stored as one thing; in an output directory all of them are one file beside the weights.
 *
 * Source: specification 5.4 (transforms) and 4.4 (clipping). All Local.
 */
#ifndef PONS_MODEL_TRANSFORMS_H
#define PONS_MODEL_TRANSFORMS_H

#include "model/config.h"

/** Name of the file in an output directory. */
#define PONS_TRANSFORMS_FILE "pons-transforms.safetensors"

/** Parts of the array, in this order. LEFT holds A transposed and RIGHT B of x <- x (A (x) B). */
typedef enum pons_transform {
    PONS_TRANSFORM_QKV_LEFT,
    PONS_TRANSFORM_QKV_RIGHT,
    PONS_TRANSFORM_HEADS, /* A transposed [heads, heads] of the o_proj input seen as [heads, head_dim] */
    PONS_TRANSFORM_GATE_UP_LEFT,
    PONS_TRANSFORM_GATE_UP_RIGHT,
    PONS_TRANSFORM_DOWN_LEFT,
    PONS_TRANSFORM_DOWN_RIGHT,
    PONS_TRANSFORM_QUERY,      /* M^-T [head_dim, head_dim], each query q <- q M^-T after RoPE */
    PONS_TRANSFORM_KEY,        /* M, each key k <- k M after RoPE */
    PONS_TRANSFORM_INPUT_CLIP, /* [linears, 2]: of the largest and the least value of a token */
    PONS_TRANSFORM_KV_CLIP,    /* [2, 2]: the same of a head of keys, of values */
    PONS_TRANSFORMS
} pons_transform;

/** Whether the taps of the family are those that have parts above, and the widths of the model have
 * Kronecker factors. @return PONS_OK; PONS_ERR_UNSUPPORTED naming the field. */
pons_status pons_transforms_check(const pons_model_config *config);

/** Shape of a part; the model must have passed pons_transforms_check. */
void pons_transform_shape(const pons_model_config *config, pons_transform part, int64_t shape[2]);

/** The first part of a tap: LEFT, or HEADS alone. */
pons_transform pons_transform_of_tap(const pons_arch *arch, int tap);

/** First float of a part in the array. */
int64_t pons_transform_offset(const pons_model_config *config, pons_transform part);

/** Floats of one block's array. */
int64_t pons_transforms_floats(const pons_model_config *config);

/** Write DIR/PONS_TRANSFORMS_FILE. @param blocks [layers, pons_transforms_floats] @return
 * PONS_ERR_IO, PONS_ERR_NOMEM. */
pons_status pons_transforms_write(const char *dir, const pons_model_config *config,
                                  const float *blocks);

/** Open DIR/PONS_TRANSFORMS_FILE and check names, types and shapes. @return what pons_store_open
 * returns; PONS_ERR_INPUT naming the tensor, found and needed. */
pons_status pons_transforms_open(const char *dir, const pons_model_config *config,
                                 pons_store **out);

/** One block's array from an open file. @param out [pons_transforms_floats] @return PONS_ERR_INPUT
 * naming a tensor with NaN or Inf. */
pons_status pons_transforms_read(const pons_store *store, const pons_model_config *config,
                                 int64_t layer, float *out);

#endif
