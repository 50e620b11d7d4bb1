/**
 * Offline rotation of a model: norm folding, R1 on the residual stream, R2 inside the heads, R4
 * into down_proj; or FlatQuant's learned transforms of each linear.
 *
 * Kinds: none; quarot (Q = D Had_h^T or random orthogonal, head-wise Hadamard on v, and on o the
 * Hadamard of its whole width online, head-wise otherwise); spinquant (R1 and every layer's R2 from a
 * file, or random Hadamards R1, R2[0], R2[1], ... drawn in that order); flatquant (learned transforms, scales and clipping of every linear from a
 * file, no Hadamards, norms not folded). Source: specification 5.1-5.4.
 * Functions are Local and deterministic, so every rank may build the same object. Each step of a
 * tensor's transform (folding, R1, R2, R4) is fp64 inside and leaves fp32; rounding to the output
 * dtype is the caller's.
 */
#ifndef PONS_ROTATE_ROTATION_H
#define PONS_ROTATE_ROTATION_H

#include "config/recipe.h"
#include "model/config.h"
#include "model/model.h"

typedef struct pons_rotation pons_rotation;

/** Whether every transform that the recipe asks for exists for this model's widths. Local. @return PONS_ERR_UNSUPPORTED
 * naming the width and what is allowed. */
pons_status pons_rotation_check(const pons_recipe *recipe, const pons_model_config *config);

/**
 * Build the transforms of a recipe for a model. Local.
 * @return PONS_ERR_UNSUPPORTED naming size and reason where a Hadamard does not exist (hidden,
 * intermediate, head_dim; heads for quarot's online one); with rotation.file what
 * rotate/spinquant_file.h and rotate/flatquant.h say of bad ones. Cost with R1 from a file: 2 hidden^3
 * flop to check it.
 */
pons_status pons_rotation_create(const pons_recipe *recipe, const pons_model_config *config,
                                 pons_rotation **out);
void pons_rotation_destroy(pons_rotation **rotation);

/** Online transforms this rotation asks of the forward pass, with the recipe's activation and KV
 * settings. Local. */
pons_runtime pons_rotation_runtime(const pons_rotation *rotation);

/** Whether the residual stream is rotated (quarot, spinquant): norms are then folded and written as
 * ones, tied embeddings untied. Local. */
bool pons_rotation_folds(const pons_rotation *rotation);

/** Norm gains [pons_gain_floats] of a block, in place, to what the forward pass uses: those of the
 * residual stream are ones when folded, and have the scales of the linears behind them under flatquant.
 * Local. */
void pons_rotation_gains(const pons_rotation *rotation, int64_t layer, float *gains);

/** Online transforms of a block, when the runtime has any: model/transforms.h. Local.
 * @param out [pons_transforms_floats] */
void pons_rotation_transforms(const pons_rotation *rotation, int64_t layer, float *out);

/** Largest entry of |R^T R - I| over the rotations of a file, under flatquant of |M^T M^-T - I|; 0
 * without a file. Local. */
double pons_rotation_deviation(const pons_rotation *rotation);

/** Take R1 [hidden, hidden] and R2 [layers, head_dim, head_dim] instead of the drawn ones; kind
 * spinquant. Copied; they must be orthogonal. Local. @return PONS_OK, PONS_ERR_NOMEM (the drawn ones
 * then stay). */
pons_status pons_rotation_replace(pons_rotation *rotation, const float *R1, const float *R2);

/** Embedding rows E [n, hidden] in place: mean removal alone, when asked. Local. */
void pons_rotation_center(const pons_rotation *rotation, float *E, int64_t n);

/** Embedding rows E [n, hidden] in place: (mean removal when asked,) E R1; nothing unless the rotation folds.
 * Local. @return PONS_OK or PONS_ERR_NOMEM. Cost as pons_rotation_linear. */
pons_status pons_rotation_embedding(const pons_rotation *rotation, float *E, int64_t n);

/** lm_head rows W [n, hidden] in place: fold the final norm gain, W R1; nothing unless the rotation folds.
 * Local. @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_rotation_head(const pons_rotation *rotation, const float *final_gain, float *W,
                               int64_t n);

/**
 * One whole linear in place, weight and bias; nothing when inactive. Local.
 * @param gains [pons_gain_floats] the block's as stored: that of the norm in front is folded in
 * @param W     [rows, cols]; @param bias [rows] or NULL
 * @return PONS_OK or PONS_ERR_NOMEM. Cost: rows cols log2 for Hadamards, 2 rows cols hidden for
 * random orthogonal. Memory: a copy of o_proj under quarot online, else O(width) per thread.
 */
pons_status pons_rotation_linear(const pons_rotation *rotation, int64_t layer, int linear,
                                 const float *gains, float *W, float *bias);

/** R1 as an explicit matrix [hidden, hidden] and R2 of a layer [head_dim, head_dim] (quarot: the
 * Hadamard of head_dim transposed), fp32, for tests and export; the identity unless the rotation folds. */
pons_status pons_rotation_r1(const pons_rotation *rotation, float *R);
pons_status pons_rotation_r2(const pons_rotation *rotation, int64_t layer, float *R);

/** Write R1 and every layer's R2 as SpinQuant's R.bin, whatever the kind. Local. @return what
 * pons_spinquant_write returns. Memory: 4 hidden^2 bytes. */
pons_status pons_rotation_export(const pons_rotation *rotation, const char *path);

#endif
