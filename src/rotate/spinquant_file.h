/**
 * Rotations in the file that SpinQuant trains and loads: a torch dictionary with `R1` [hidden,
 * hidden] and `model.layers.N.self_attn.R2` [head_dim, head_dim] of every layer. Local. Source:
 * specification 5.3.
 */
#ifndef PONS_ROTATE_SPINQUANT_FILE_H
#define PONS_ROTATE_SPINQUANT_FILE_H

#include "model/config.h"
#include "rotate/orthogonal.h"

/**
 * Read R1 and every layer's R2, and check them.
 *
 * @param tolerance largest entry of |R^T R - I| that is accepted
 * @param[out] r1, r2 [layers] empty ones, to be cleared by the caller, also after a failure
 * @param[out] deviation largest entry of |R^T R - I| over all of them
 * @return what pons_torch_open and pons_torch_read return; PONS_ERR_INPUT naming a tensor that is
 * missing, of another kind, or not orthogonal; PONS_ERR_SHAPE naming found and needed shape;
 * PONS_ERR_UNSUPPORTED naming a tensor that belongs to no layer of this model.
 * Memory and cost: pons_orthogonal_given of each.
 */
pons_status pons_spinquant_read(const char *path, const pons_model_config *config, double tolerance,
                                pons_orthogonal *r1, pons_orthogonal *r2, double *deviation);

/** Write such a file; atomically, the same bytes for the same matrices. @param R1 [hidden, hidden];
 * @param R2 [layers, head_dim, head_dim] @return what pons_torch_write returns, PONS_ERR_NOMEM. */
pons_status pons_spinquant_write(const char *path, int64_t hidden, int64_t head_dim, int64_t layers,
                                 const float *R1, const float *R2);

#endif
