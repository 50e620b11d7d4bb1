/*
 * Rotating without quantizing does not change the function: for every golden model and every rotation,
 * the logits of the rotated model (norms folded, R1, R2, online Hadamards) equal those transformers
 * gave for the original one.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kern/gemm.h"
#include "support/rotated_model.h"
#include "support/stored.h"

/* Largest |ours - expected| over the largest |expected|. */
static double deviation(const char *directory, const pons_recipe *recipe)
{
    pons_store *expected = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s/expected.safetensors", directory);
    if (pons_store_open(path, &expected) != PONS_OK) fail_msg("%s", pons_error_message());
    const pons_tensor_view *logits = pons_store_find(expected, "logits");
    const pons_tensor_view *ids = pons_store_find(expected, "input_ids");
    assert_true(logits && logits->dtype == PONS_DTYPE_F32);
    assert_true(ids && ids->ndim == 2 && ids->dtype == PONS_DTYPE_I32);

    rotated_model m = rotated_open(directory, recipe);
    float *got = rotated_logits(&m, stored(expected, ids), ids->shape[0], ids->shape[1]),
          largest = 0;
    const float *want = stored(expected, logits);
    int64_t n = pons_tensor_elements(logits);
    for (int64_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(want[i]));
    double worst = rotated_distance(got, want, n);
    pons_mem_free(got);
    rotated_close(&m);
    pons_store_close(&expected);
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
    recipe.kv.bits = recipe.values.bits = 16;
    double d = deviation(directory, &recipe);
    printf("%-18s %-9s %-8s online %d: deviation %.2e\n", name, pons_rotation_kind_name(kind),
           mode == PONS_ROTATE_RANDOM ? "random" : "hadamard", online, d);
    assert_true(d < 1e-4);
}

static void identity(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-gqa", "llama31-rope", "mistral-headdim",
                                         "qwen2-bias-tied", "../families/qwen3"};
    for (size_t i = 0; i < 5; i++) {
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
    recipe.activations.bits = recipe.kv.bits = recipe.values.bits = 16;
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
