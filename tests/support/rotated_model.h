/**
 * A model of a directory as a rotation leaves it, in memory: weights, and the logits they give with
 * the online transforms and quantizers of the rotation's runtime. Ends the test on a failure.
 */
#ifndef PONS_TEST_ROTATED_MODEL_H
#define PONS_TEST_ROTATED_MODEL_H

#include "rotate/rotation.h"

typedef struct rotated_model {
    pons_model *model;
    const pons_model_config *config;
    pons_rotation *rotation;
} rotated_model;

rotated_model rotated_open(const char *directory, const pons_recipe *recipe);
void rotated_close(rotated_model *m);

/** Weight [rows, cols] of a linear, bias to bias [rows] when there is one (NULL: dropped). Free with
 * pons_mem_free. */
float *rotated_linear(const rotated_model *m, int64_t layer, int linear, float *bias,
                      bool *has_bias);

/** The embedding table, or the head, [vocab, hidden]. Free with pons_mem_free. */
float *rotated_embedding(const rotated_model *m);
float *rotated_head(const rotated_model *m);

/** Logits of B windows of S tokens, [B, S, vocab]. Free with pons_mem_free. */
float *rotated_logits(const rotated_model *m, const int32_t *ids, int64_t B, int64_t S);

/** Largest |x - y| over n entries; NaN counts as infinite. */
double rotated_distance(const float *x, const float *y, int64_t n);

#endif
