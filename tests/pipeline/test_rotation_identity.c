/*
 * Rotating without quantizing does not change the function: for every golden model and every rotation,
 * the logits of the rotated model (norms folded, R1, R2, online Hadamards) equal those transformers
 * gave for the original one.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "calib/block.h"
#include "kern/gemm.h"
#include "kern/transformer.h"
#include "rotate/rotation.h"

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

static pons_block *rotated_block(const pons_model *model, const pons_rotation *rotation,
                                 int64_t layer)
{
    const pons_model_config *c = pons_model_get_config(model);
    pons_block *block = NULL;
    float *attention = floats(c->hidden), *mlp = floats(c->hidden);
    ok(pons_block_create(c, layer, false, &block));
    ok(pons_model_read_norms(model, layer, attention, mlp));
    for (int i = 0; i < PONS_LINEARS; i++) {
        int64_t rows, cols;
        bool has_bias = false;
        pons_linear_shape(c, (pons_linear)i, &rows, &cols);
        float *W = floats(rows * cols), *bias = floats(rows);
        ok(pons_model_read_linear(model, layer, (pons_linear)i, 0, rows, W));
        ok(pons_model_read_bias(model, layer, (pons_linear)i, bias, &has_bias));
        const float *gain = pons_linear_group((pons_linear)i) == PONS_GROUP_QKV ? attention : mlp;
        ok(pons_rotation_linear(rotation, layer, (pons_linear)i, gain, W, has_bias ? bias : NULL));
        ok(pons_block_set_linear(block, (pons_linear)i, W, has_bias ? bias : NULL));
        pons_mem_free(W);
        pons_mem_free(bias);
    }
    bool folded = pons_rotation_is_active(rotation);
    ok(pons_block_set_norms(block, folded ? NULL : attention, folded ? NULL : mlp));
    pons_mem_free(attention);
    pons_mem_free(mlp);
    return block;
}

/* Largest |ours - expected| over the largest |expected|. */
static double deviation(const char *directory, const pons_recipe *recipe)
{
    pons_model *model = NULL;
    pons_rotation *rotation = NULL;
    pons_store *expected = NULL;
    char path[1024];
    ok(pons_model_open(directory, &model));
    const pons_model_config *c = pons_model_get_config(model);
    ok(pons_rotation_create(recipe, c, &rotation));
    snprintf(path, sizeof path, "%s/expected.safetensors", directory);
    ok(pons_store_open(path, &expected));
    const pons_tensor_view *logits = pons_store_find(expected, "logits");
    const pons_tensor_view *ids = pons_store_find(expected, "input_ids");
    assert_true(logits && ids && ids->ndim == 2);
    int64_t B = ids->shape[0], S = ids->shape[1], hidden = c->hidden;

    int32_t *tokens = pons_mem_alloc(B * S, sizeof *tokens);
    for (int64_t i = 0; i < B * S; i++)
        tokens[i] = ids->dtype == PONS_DTYPE_I64 ? (int32_t)((const int64_t *)ids->data)[i]
                                                 : ((const int32_t *)ids->data)[i];
    float *want = floats(B * S * c->vocab), *got = floats(B * S * c->vocab);
    float *h = floats(B * S * hidden), *x = floats(S * pons_block_width(c));
    pons_dtype_to_float(logits->dtype, logits->data, B * S * c->vocab, want);
    ok(pons_model_read_embedding(model, tokens, B * S, h));
    ok(pons_rotation_embedding(rotation, h, B * S));

    pons_runtime runtime = pons_rotation_runtime(rotation);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        pons_block *block = rotated_block(model, rotation, layer);
        for (int64_t b = 0; b < B; b++)
            for (int stage = 0; stage < PONS_STAGES; stage++)
                ok(pons_block_stage(block, &runtime, stage, S, h + b * S * hidden, x));
        pons_block_destroy(&block);
    }
    float *gain = floats(hidden), *head = floats(c->vocab * hidden);
    ok(pons_model_read_final_norm(model, gain));
    ok(pons_model_read_head_rows(model, 0, c->vocab, head));
    ok(pons_rotation_head(rotation, gain, head, c->vocab));
    pons_rmsnorm(B * S, hidden, h, pons_rotation_is_active(rotation) ? NULL : gain,
                 (float)c->rms_eps, h);
    pons_gemm_nt(B * S, c->vocab, hidden, 1.0f, h, hidden, head, hidden, 0.0f, got, c->vocab);

    double worst = 0, largest = 0;
    for (int64_t i = 0; i < B * S * c->vocab; i++) {
        worst = fmax(worst, fabs((double)got[i] - want[i]));
        largest = fmax(largest, fabs(want[i]));
    }
    void *all[] = {tokens, want, got, h, x, gain, head};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        pons_mem_free(all[i]);
    pons_store_close(&expected);
    pons_rotation_destroy(&rotation);
    pons_model_close(&model);
    return worst / largest;
}

static void check_model(const char *name, pons_rotation_kind kind, pons_rotate_mode mode,
                        bool online)
{
    char directory[1024];
    pons_recipe recipe;
    snprintf(directory, sizeof directory, "%s/models/%s", getenv("PONS_FIXTURES"), name);
    pons_recipe_default(&recipe);
    recipe.rotation.kind = kind;
    recipe.rotation.mode = mode;
    recipe.rotation.online = online;
    recipe.rotation.center_embedding = false;
    recipe.activations.bits = 16;
    recipe.kv.bits = 16;
    double d = deviation(directory, &recipe);
    printf("%-18s %-9s %-8s online %d: deviation %.2e\n", name, pons_rotation_kind_name(kind),
           mode == PONS_ROTATE_RANDOM ? "random" : "hadamard", online, d);
    assert_true(d < 1e-4);
}

static void identity(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-gqa", "llama31-rope", "mistral-headdim",
                                         "qwen2-bias-tied"};
    for (size_t i = 0; i < 4; i++) {
        check_model(models[i], PONS_ROTATION_NONE, PONS_ROTATE_HADAMARD, false);
        for (int online = 0; online < 2; online++)
            check_model(models[i], PONS_ROTATION_SPINQUANT, PONS_ROTATE_HADAMARD, online);
        /* the online head Hadamard exists for 4 heads, not for 6 */
        for (int online = 0; online < 2; online++)
            if (!online || i >= 2) {
                check_model(models[i], PONS_ROTATION_QUAROT, PONS_ROTATE_HADAMARD, online);
                check_model(models[i], PONS_ROTATION_QUAROT, PONS_ROTATE_RANDOM, online);
            }
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* With the embedding mean removed the function must change: the test above can fail. */
static void centering_is_seen(void **state)
{
    (void)state;
    char directory[1024];
    pons_recipe recipe;
    snprintf(directory, sizeof directory, "%s/models/llama-gqa", getenv("PONS_FIXTURES"));
    pons_recipe_default(&recipe);
    recipe.activations.bits = recipe.kv.bits = 16;
    recipe.rotation.center_embedding = true;
    assert_true(deviation(directory, &recipe) > 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(identity),
                                       cmocka_unit_test(centering_is_seen)};
    pons_kern_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
