/* Recipes of configs/paper: each loads, and has the method, bits and sparsity that its label names.
 * Whether every row of the tables has one is sh_paper.sh's question. */
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "config/recipe.h"

static pons_method method_of(const char *name)
{
    if (!strcmp(name, "OBR_RTN")) return PONS_METHOD_OBR_RTN;
    if (!strcmp(name, "OBR_GPTQ") || !strcmp(name, "OBR(ours)")) return PONS_METHOD_OBR_GPTQ;
    if (!strcmp(name, "SparseGPT+GPTQ")) return PONS_METHOD_SPARSEGPT_GPTQ;
    if (!strcmp(name, "Pruning-only(WANDA)")) return PONS_METHOD_WANDA;
    if (strstr(name, "+WANDA")) return PONS_METHOD_WANDA_RTN;
    if (strstr(name, "(quant-only)") || strstr(name, "Quantization-only")) return PONS_METHOD_RTN;
    fail_msg("a method that this test does not know: %s", name);
    return PONS_METHOD_NONE;
}

/* What "equiv_N" of figure 1a comes to: bits of a weight that stay. */
static double equivalent_bits(const pons_recipe *r)
{
    switch (r->method) {
    case PONS_METHOD_WANDA: return 16 * (1 - r->prune.sparsity);
    case PONS_METHOD_OBR_GPTQ: return r->weights.bits * (1 - r->prune.sparsity) + 1;
    default: return r->weights.bits;
    }
}

static void check(const char *path)
{
    pons_recipe r;
    char table[64], model[64], method[64], bits[64], folder[160];
    int w, a, kv;
    if (pons_recipe_load(path, NULL, 0, &r) != PONS_OK) fail_msg("%s", pons_error_message());
    assert_int_equal(sscanf(r.label, "%63s %63s %63s %63s", table, model, method, bits), 4);
    snprintf(folder, sizeof folder, "/%s/%s/", table, model);
    assert_non_null(strstr(path, folder));
    assert_int_equal(r.method, method_of(method));
    assert_int_equal(r.compat, PONS_COMPAT_FAITHFUL);
    assert_int_equal(r.calibration.windows, 128);
    assert_int_equal(r.calibration.length, 2048);
    assert_int_equal(r.evaluate.windows, 0);
    if (sscanf(bits, "%d-%d-%d", &w, &a, &kv) == 3) {
        assert_int_equal(r.weights.bits, w);
        assert_int_equal(r.activations.bits, a);
        assert_int_equal(r.kv.bits, kv);
        assert_true(r.prune.sparsity == 0.5);
    } else {
        assert_true(fabs(equivalent_bits(&r) - atof(bits + strlen("equiv_"))) < 1e-9);
    }
    bool spinquant = strstr(table, "SpinQuant") != NULL, flatquant = strstr(table, "FlatQuant");
    assert_int_equal(*r.rotation.file != 0, spinquant || flatquant);
    assert_int_equal(r.evaluate.special, !spinquant);
    assert_int_equal(r.calibration.join, flatquant ? PONS_JOIN_STRIPPED : PONS_JOIN_LINES);
}

static void recipes(void **state)
{
    (void)state;
    glob_t found;
    char *pattern = pons_mem_printf("%s/configs/paper/*/*/*.yaml", getenv("PONS_SOURCE"));
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc > 80);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check(found.gl_pathv[i]);
    globfree(&found);
    pons_mem_free(pattern);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recipes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
