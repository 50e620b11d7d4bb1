/* Runs a rotated model through the staged blocks; what is rotated how is src/rotate's. */
#include "support/rotated_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/mem.h"
#include "calib/block.h"
#include "kern/gemm.h"
#include "kern/transformer.h"
#include "model/transforms.h"

static float *floats(int64_t n)
{
    float *p = pons_mem_calloc(n, sizeof *p);
    assert_non_null(p);
    return p;
}

static void ok(pons_status st)
{
    if (st != PONS_OK) fail_msg("%s: %s", pons_status_text(st), pons_error_message());
}

rotated_model rotated_open(const char *directory, const pons_recipe *recipe)
{
    rotated_model m = {0};
    ok(pons_model_open(directory, &m.model));
    m.config = pons_model_get_config(m.model);
    ok(pons_rotation_create(recipe, m.config, &m.rotation));
    return m;
}

void rotated_close(rotated_model *m)
{
    pons_rotation_destroy(&m->rotation);
    pons_model_close(&m->model);
}

float *rotated_linear(const rotated_model *m, int64_t layer, int linear, float *bias,
                      bool *has_bias)
{
    const pons_model_config *c = m->config;
    int64_t rows, cols;
    bool present = false;
    pons_linear_shape(c, linear, &rows, &cols);
    float *W = floats(rows * cols), *own = floats(rows), *gains = floats(pons_gain_floats(c));
    if (!bias) bias = own;
    ok(pons_model_read_gains(m->model, layer, gains));
    ok(pons_model_read_linear(m->model, layer, linear, 0, rows, W));
    ok(pons_model_read_bias(m->model, layer, linear, bias, &present));
    ok(pons_rotation_linear(m->rotation, layer, linear, gains, W, present ? bias : NULL));
    if (has_bias) *has_bias = present;
    pons_mem_free(gains);
    pons_mem_free(own);
    return W;
}

float *rotated_embedding(const rotated_model *m)
{
    const pons_model_config *c = m->config;
    float *E = floats(c->vocab * c->hidden);
    ok(pons_model_read_embedding_rows(m->model, 0, c->vocab, E));
    ok(pons_rotation_embedding(m->rotation, E, c->vocab));
    return E;
}

float *rotated_head(const rotated_model *m)
{
    const pons_model_config *c = m->config;
    float *W = floats(c->vocab * c->hidden), *gain = floats(c->hidden);
    ok(pons_model_read_final_norm(m->model, gain));
    ok(pons_model_read_head_rows(m->model, 0, c->vocab, W));
    ok(pons_rotation_head(m->rotation, gain, W, c->vocab));
    pons_mem_free(gain);
    return W;
}

static pons_block *rotated_block(const rotated_model *m, int64_t layer)
{
    const pons_model_config *c = m->config;
    pons_block *block = NULL;
    float *gains = floats(pons_gain_floats(c));
    ok(pons_block_create(c, layer, false, &block));
    for (int i = 0; i < c->arch->linears; i++) {
        int64_t rows, cols;
        bool has_bias;
        pons_linear_shape(c, i, &rows, &cols);
        float *bias = floats(rows), *W = rotated_linear(m, layer, i, bias, &has_bias);
        ok(pons_block_set_linear(block, i, W, has_bias ? bias : NULL));
        pons_mem_free(W);
        pons_mem_free(bias);
    }
    ok(pons_model_read_gains(m->model, layer, gains));
    pons_rotation_gains(m->rotation, layer, gains);
    ok(pons_block_set_gains(block, gains));
    pons_mem_free(gains);
    if (pons_rotation_runtime(m->rotation).transforms) {
        float *transforms = floats(pons_transforms_floats(c));
        pons_rotation_transforms(m->rotation, layer, transforms);
        ok(pons_block_set_transforms(block, transforms));
        pons_mem_free(transforms);
    }
    return block;
}

float *rotated_logits(const rotated_model *m, const int32_t *ids, int64_t B, int64_t S)
{
    const pons_model_config *c = m->config;
    float *h = floats(B * S * c->hidden), *x = floats(S * pons_block_width(c));
    float *E = rotated_embedding(m), *head = rotated_head(m), *gain = floats(c->hidden);
    float *logits = floats(B * S * c->vocab);
    pons_runtime runtime = pons_rotation_runtime(m->rotation);
    for (int64_t t = 0; t < B * S; t++)
        for (int64_t j = 0; j < c->hidden; j++)
            h[t * c->hidden + j] = E[ids[t] * c->hidden + j];
    for (int64_t layer = 0; layer < c->layers; layer++) {
        pons_block *block = rotated_block(m, layer);
        for (int64_t b = 0; b < B; b++)
            for (int stage = 0; stage < pons_block_stages(c); stage++)
                ok(pons_block_stage(block, &runtime, stage, S, h + b * S * c->hidden, x));
        pons_block_destroy(&block);
    }
    ok(pons_model_read_final_norm(m->model, gain));
    pons_rmsnorm(B * S, c->hidden, h, pons_rotation_folds(m->rotation) ? NULL : gain,
                 (float)c->rms_eps, h);
    pons_gemm_nt(B * S, c->vocab, c->hidden, 1.0f, h, c->hidden, head, c->hidden, 0.0f, logits,
                 c->vocab);
    float *all[] = {gain, head, E, x, h};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        pons_mem_free(all[i]);
    return logits;
}

double rotated_distance(const float *x, const float *y, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        double off = fabs((double)x[i] - y[i]);
        if (!(off <= most)) most = isnan(off) ? INFINITY : off;
    }
    return most;
}
