/*
 * Rotations from the files of other programs, against those programs: $PONS_GOLDEN/frameworks has
 * for a model M the folders M-spinquant and M-flatquant with the file, the weights those programs
 * made of models/M with it, and logits.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kern/gemm.h"
#include "support/fixture.h"
#include "support/rotated_model.h"
#include "support/stored.h"

/* A folder of the fixtures: M, the expected values, and the file of matrices. */
typedef struct framework {
    char model[2048], file[1024];
    pons_store *expected, *original;
} framework;

static framework framework_open(const char *folder, const char *suffix, const char *file)
{
    framework f = {0};
    char path[2048];
    int stem = (int)(strlen(folder) - strlen(suffix));
    snprintf(f.model, sizeof f.model, "%s/models/%.*s", fixture_root(), stem, folder);
    snprintf(f.file, sizeof f.file, "%s/frameworks/%s/%s", fixture_root(), folder, file);
    snprintf(path, sizeof path, "%s/frameworks/%s/expected.safetensors", fixture_root(), folder);
    if (pons_store_open(path, &f.expected) != PONS_OK) fail_msg("%s", pons_error_message());
    snprintf(path, sizeof path, "%s/models/%.*s/expected.safetensors", fixture_root(), stem,
             folder);
    if (pons_store_open(path, &f.original) != PONS_OK) fail_msg("%s", pons_error_message());
    return f;
}

static void framework_close(framework *f)
{
    pons_store_close(&f->original);
    pons_store_close(&f->expected);
}

static const float *expected(const pons_store *store, const char *name, int64_t n)
{
    const pons_tensor_view *t = pons_store_find(store, name);
    if (!t) fail_msg("%s is not in the fixture", name);
    assert_int_equal(t->dtype, PONS_DTYPE_F32);
    assert_int_equal(pons_tensor_elements(t), n);
    return stored(store, t);
}

static void check(const char *name, const float *got, const float *want, int64_t n,
                  double tolerance)
{
    double distance = rotated_distance(got, want, n);
    print_message("%-60s %.2g\n", name, distance);
    if (!(distance <= tolerance)) fail_msg("%s: %g, allowed %g", name, distance, tolerance);
}

static void check_linears(const framework *f, const rotated_model *m, const char *prefix,
                          int64_t layers)
{
    char name[256];
    for (int64_t layer = 0; layer < layers; layer++)
        for (int i = 0; i < m->config->arch->linears; i++) {
            int64_t rows, cols;
            pons_linear_shape(m->config, i, &rows, &cols);
            float *W = rotated_linear(m, layer, i, NULL, NULL);
            snprintf(name, sizeof name, "%s.model.layers.%lld.%s.weight", prefix, (long long)layer,
                     m->config->arch->linear[i].name);
            check(name, W, expected(f->expected, name, rows * cols), rows * cols, 1e-5);
            pons_mem_free(W);
        }
}

/* Root of the mean square, and the largest, of got - want. */
static double rms(const float *got, const float *want, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    return sqrt(sum / (double)n);
}

static float *logits_of(const framework *f, const pons_recipe *recipe, int64_t *n)
{
    const pons_tensor_view *ids = pons_store_find(f->expected, "input_ids");
    assert_true(ids && ids->dtype == PONS_DTYPE_I32 && ids->ndim == 2);
    rotated_model m = rotated_open(f->model, recipe);
    float *logits = rotated_logits(&m, stored(f->expected, ids), ids->shape[0], ids->shape[1]);
    *n = pons_tensor_elements(ids) * m.config->vocab;
    rotated_close(&m);
    return logits;
}

static void check_spinquant(const char *folder)
{
    framework f = framework_open(folder, "-spinquant", "R.bin");
    pons_recipe r;
    int64_t n;
    pons_recipe_default(&r);
    r.rotation.kind = PONS_ROTATION_SPINQUANT;
    memcpy(r.rotation.file, f.file, sizeof r.rotation.file);
    r.rotation.center_embedding = true; /* as the reference: the faithful mode's */
    r.activations.bits = r.kv.bits = r.values.bits = 16;

    rotated_model m = rotated_open(f.model, &r);
    int64_t table = m.config->vocab * m.config->hidden;
    print_message("%s: orthogonal up to %.2g\n", folder, pons_rotation_deviation(m.rotation));
    assert_true(pons_rotation_deviation(m.rotation) < 1e-5);
    float *E = rotated_embedding(&m), *head = rotated_head(&m);
    check("embedding", E, expected(f.expected, "rotated.model.embed_tokens.weight", table), table,
          1e-5);
    check("head", head, expected(f.expected, "rotated.lm_head.weight", table), table, 1e-5);
    check_linears(&f, &m, "rotated", 1);
    pons_mem_free(head);
    pons_mem_free(E);
    rotated_close(&m);

    float *logits = logits_of(&f, &r, &n);
    check("logits_faithful", logits, expected(f.expected, "logits_faithful", n), n, 2e-4);
    assert_true(rotated_distance(logits, expected(f.original, "logits", n), n) > 1e-2);
    pons_mem_free(logits);
    r.rotation.center_embedding = false; /* corrected: the function is the dense model's */
    logits = logits_of(&f, &r, &n);
    check("logits, corrected", logits, expected(f.original, "logits", n), n, 2e-4);
    assert_true(rms(logits, expected(f.original, "logits", n), n) < 5e-5);
    pons_mem_free(logits);
    framework_close(&f);
}

/* 16 bits: transforms and weight clipping, nothing quantized. 4 bits: activations symmetric per
 * token, keys and values with zero points per head, all clipped as learned; one rounding that falls
 * to the other side moves these logits, hence a bound on the root mean square. */
static void check_flatquant(const char *folder)
{
    framework f = framework_open(folder, "-flatquant", "flat_matrices.pth");
    pons_recipe r;
    int64_t n;
    char name[256];
    pons_recipe_default(&r);
    r.rotation.kind = PONS_ROTATION_FLATQUANT;
    memcpy(r.rotation.file, f.file, sizeof r.rotation.file);
    r.activations.o_proj_head_groups = false;
    r.activations.symmetric = true;
    r.activations.bits = r.kv.bits = r.values.bits = 16;

    rotated_model m = rotated_open(f.model, &r);
    int64_t hidden = m.config->hidden;
    print_message("%s: inverses up to %.2g\n", folder, pons_rotation_deviation(m.rotation));
    check_linears(&f, &m, "reparameterized", m.config->layers);
    float *gains = pons_mem_alloc(pons_gain_floats(m.config), sizeof *gains);
    for (int64_t layer = 0; layer < m.config->layers; layer++) {
        assert_int_equal(pons_model_read_gains(m.model, layer, gains), PONS_OK);
        pons_rotation_gains(m.rotation, layer, gains);
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "reparameterized.model.layers.%lld.%s_layernorm.weight",
                     (long long)layer, i ? "post_attention" : "input");
            check(name, gains + i * hidden, expected(f.expected, name, hidden), hidden, 1e-5);
        }
    }
    pons_mem_free(gains);
    rotated_close(&m);

    float *logits = logits_of(&f, &r, &n);
    check("logits_a16kv16", logits, expected(f.expected, "logits_a16kv16", n), n, 1e-3);
    pons_mem_free(logits);
    r.activations.bits = r.kv.bits = r.values.bits = 4;
    logits = logits_of(&f, &r, &n);
    const float *four = expected(f.expected, "logits_a4kv4", n);
    const float *sixteen = expected(f.expected, "logits_a16kv16", n);
    print_message("logits_a4kv4: root mean square %.3g, largest %.3g; quantization itself %.3g\n",
                  rms(logits, four, n), rotated_distance(logits, four, n), rms(sixteen, four, n));
    assert_true(rms(logits, four, n) < 0.1);
    assert_true(rms(logits, four, n) < 0.5 * rms(sixteen, four, n));
    pons_mem_free(logits);
    framework_close(&f);
}

/* Every folder of this framework. */
static void for_each(const char *suffix, void (*run)(const char *folder))
{
    char root[2048];
    int count = 0;
    snprintf(root, sizeof root, "%s/frameworks", fixture_root());
    DIR *directory = opendir(root);
    assert_non_null(directory);
    for (const struct dirent *e; (e = readdir(directory));) {
        size_t n = strlen(e->d_name), s = strlen(suffix);
        if (n <= s || strcmp(e->d_name + n - s, suffix)) continue;
        run(e->d_name);
        count++;
    }
    closedir(directory);
    assert_true(count > 0);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void spinquant(void **state)
{
    (void)state;
    for_each("-spinquant", check_spinquant);
}

static void flatquant(void **state)
{
    (void)state;
    for_each("-flatquant", check_flatquant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(spinquant), cmocka_unit_test(flatquant)};
    pons_kern_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
