/*
 * Whole models against transformers: for every directory of a known family under $PONS_GOLDEN/models
 * and $PONS_GOLDEN/families, the hidden states after block 0 and the logits of two windows, from the stored weights through the staged
 * block in fp32.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "calib/block.h"
#include "kern/gemm.h"
#include "kern/transformer.h"
#include "support/fixture.h"
#include "support/stored.h"

static const pons_tensor_view *expected(const pons_store *store, const char *name, pons_dtype dtype,
                                        int64_t count)
{
    const pons_tensor_view *t = pons_store_find(store, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(pons_tensor_elements(t), count);
    return t;
}

static pons_block *read_block(const pons_model *model, int64_t layer)
{
    const pons_model_config *c = pons_model_get_config(model);
    pons_block *b = NULL;
    assert_int_equal(pons_block_create(c, layer, false, &b), PONS_OK);
    for (int i = 0; i < c->arch->linears; i++) {
        int64_t rows, cols;
        bool biased;
        pons_linear_shape(c, i, &rows, &cols);
        float *W = malloc((size_t)(rows * cols) * sizeof *W);
        float *bias = malloc((size_t)rows * sizeof *bias);
        assert_int_equal(pons_model_read_linear(model, layer, i, 0, rows, W), PONS_OK);
        assert_int_equal(pons_model_read_bias(model, layer, i, bias, &biased), PONS_OK);
        assert_int_equal(pons_block_set_linear(b, i, W, biased ? bias : NULL), PONS_OK);
        free(W);
        free(bias);
    }
    float *gains = malloc((size_t)pons_gain_floats(c) * sizeof *gains);
    assert_int_equal(pons_model_read_gains(model, layer, gains), PONS_OK);
    assert_int_equal(pons_block_set_gains(b, gains), PONS_OK);
    free(gains);
    return b;
}

/* Largest |x - y|, and the largest |y|. */
static float deviation(int64_t n, const float *x, const float *y, float *largest)
{
    float most = 0;
    *largest = 0;
    for (int64_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(x[i] - y[i]));
        *largest = fmaxf(*largest, fabsf(y[i]));
        assert_true(isfinite(x[i]));
    }
    return most;
}

static void check_model(const char *directory)
{
    char path[8192];
    pons_model *model = NULL;
    pons_store *store = NULL;
    if (pons_model_open(directory, &model) != PONS_OK) fail_msg("%s", pons_error_message());
    snprintf(path, sizeof path, "%s/expected.safetensors", directory);
    if (pons_store_open(path, &store) != PONS_OK) fail_msg("%s", pons_error_message());

    const pons_model_config *c = pons_model_get_config(model);
    const pons_tensor_view *ids = pons_store_find(store, "input_ids");
    assert_non_null(ids);
    assert_int_equal(ids->dtype, PONS_DTYPE_I32);
    assert_int_equal(ids->ndim, 2);
    int64_t windows = ids->shape[0], S = ids->shape[1], tokens = windows * S;
    const float *hidden =
        stored(store, expected(store, "hidden_after_block0", PONS_DTYPE_F32, tokens * c->hidden));
    const float *logits =
        stored(store, expected(store, "logits", PONS_DTYPE_F32, tokens * c->vocab));

    float *h = malloc((size_t)(tokens * c->hidden) * sizeof *h);
    float *x = malloc((size_t)(tokens * pons_block_width(c)) * sizeof *x);
    float *y = malloc((size_t)(tokens * c->vocab) * sizeof *y), largest;
    const pons_runtime *runtime = pons_model_runtime(model);
    assert_int_equal(pons_model_read_embedding(model, stored(store, ids), tokens, h), PONS_OK);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        pons_block *b = read_block(model, layer);
        for (int64_t w = 0; w < windows; w++)
            for (int stage = 0; stage < pons_block_stages(c); stage++)
                assert_int_equal(pons_block_stage(b, runtime, stage, S, h + w * S * c->hidden, x),
                                 PONS_OK);
        pons_block_destroy(&b);
        if (layer > 0) continue;
        float most = deviation(tokens * c->hidden, h, hidden, &largest);
        print_message("%s: block 0 deviates by %.2g of %.3g\n", directory, most, largest);
        assert_true(most < 1e-5f * largest);
    }

    float *gain = malloc((size_t)c->hidden * sizeof *gain);
    float *head = malloc((size_t)(c->vocab * c->hidden) * sizeof *head);
    pons_matmul *product = NULL;
    assert_int_equal(pons_model_read_final_norm(model, gain), PONS_OK);
    assert_int_equal(pons_model_read_head_rows(model, 0, c->vocab, head), PONS_OK);
    assert_int_equal(pons_matmul_create(c->vocab, c->hidden, head, false, &product), PONS_OK);
    pons_rmsnorm(tokens, c->hidden, h, gain, (float)c->rms_eps, x);
    assert_int_equal(pons_matmul_apply(product, tokens, x, c->hidden, y, c->vocab), PONS_OK);
    float most = deviation(tokens * c->vocab, y, logits, &largest);
    print_message("%s: logits deviate by %.2g, largest %.3g\n", directory, most, largest);
    assert_true(most < 2e-4f);

    pons_matmul_destroy(&product);
    pons_store_close(&store);
    pons_model_close(&model);
    free(head);
    free(gain);
    free(y);
    free(x);
    free(h);
}

/* Whether the directory's family is known: those of newer families may lie beside. */
static bool is_known(const char *directory)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/config.json", directory);
    json_t *config = json_load_file(path, 0, NULL);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    bool known = type && pons_arch_of_type(type);
    if (!known) print_message("%s: model_type %s is not known\n", directory, type ? type : "?");
    json_decref(config);
    return known;
}

static int check_folder(const char *name)
{
    char root[2048], path[4096];
    int checked = 0;
    snprintf(root, sizeof root, "%s/%s", fixture_root(), name);
    DIR *directory = opendir(root);
    if (!directory) return 0;
    for (const struct dirent *e; (e = readdir(directory));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", root, e->d_name);
        if (!is_known(path)) continue;
        check_model(path);
        checked++;
    }
    closedir(directory);
    return checked;
}

static void every_model(void **state)
{
    (void)state;
    assert_true(check_folder("models") + check_folder("families") > 0);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_model)};
    pons_kern_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
