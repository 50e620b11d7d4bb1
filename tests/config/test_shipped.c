/* Every recipe under configs/ loads, and says what its name says. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "config/recipe.h"

/* "…/obr-gptq-online-free.yaml" is of method obr_gptq: the longest method name its name starts
 * with. */
static pons_method method_of(const char *path)
{
    const char *base = strrchr(path, '/') + 1;
    if (!strcmp(base, "quickstart.yaml")) return PONS_METHOD_OBR_GPTQ;
    if (!strncmp(base, "best-", 5)) return PONS_METHOD_OBR_GPTQ;
    if (!strncmp(base, "quickstart-", 11)) base += 11;
    if (!strncmp(base, "dense", 5)) return PONS_METHOD_NONE;
    pons_method best = PONS_METHOD_NONE;
    size_t length = 0;
    for (int m = PONS_METHOD_NONE; m <= PONS_METHOD_OBR_GPTQ; m++) {
        const char *name = pons_method_name((pons_method)m);
        size_t i = 0;
        while (name[i] && (name[i] == '_' ? '-' : name[i]) == base[i])
            i++;
        if (!name[i] && i > length) {
            length = i;
            best = (pons_method)m;
        }
    }
    assert_true(length > 0);
    return best;
}

static void check_folder(const char *pattern, int64_t windows, int64_t length, size_t expected)
{
    char *path = pons_mem_printf("%s/%s", getenv("PONS_SOURCE"), pattern);
    glob_t found;
    assert_int_equal(glob(path, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, expected);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        pons_recipe r;
        if (pons_recipe_load(found.gl_pathv[i], NULL, 0, &r) != PONS_OK)
            fail_msg("%s", pons_error_message());
        assert_int_equal(r.method, method_of(found.gl_pathv[i]));
        if (pons_method_needs_hessian(r.method)) {
            assert_int_equal(r.calibration.windows, windows);
            assert_int_equal(r.calibration.length, length);
        }
        if (windows < 128) { /* not one for any model */
            assert_int_equal(r.evaluate.length, length);
            assert_string_equal(r.evaluate.text, "tests/data/wikitext2-test.txt");
        }
        bool online = !strstr(found.gl_pathv[i], "online-free");
        assert_int_equal(r.rotation.online, online);
        if (r.method != PONS_METHOD_NONE) {
            assert_int_equal(r.weights.bits, 4);
            bool quantized = online && !strstr(found.gl_pathv[i], "w4a16");
            assert_int_equal(r.activations.bits, quantized ? 4 : 16);
            assert_int_equal(r.kv.bits, quantized ? 4 : 16);
        }
    }
    globfree(&found);
    pons_mem_free(path);
}

static void test_quickstart(void **state)
{
    (void)state;
    check_folder("configs/quickstart*.yaml", 16, 1024, 2);
}

static void test_best(void **state)
{
    (void)state;
    check_folder("configs/best-*.yaml", 128, 2048, 2);
}

static void test_smollm2(void **state)
{
    (void)state;
    check_folder("configs/smollm2/*.yaml", 32, 2048, 11);
}

static void test_no_leak(void **state)
{
    (void)state;
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quickstart),
                                       cmocka_unit_test(test_best), cmocka_unit_test(test_smollm2),
                                       cmocka_unit_test(test_no_leak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
