/* The program is run again with AVX-512 kernels where the processor has them, arguments kept. */
#include <cblas.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kern/cputype.h"

static char **arguments;

static void chosen(void **state)
{
    (void)state;
    const char *core = openblas_get_corename();
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw")) {
        assert_string_not_equal(core, "Haswell");
        assert_string_not_equal(core, "Zen");
    }
    assert_non_null(arguments[0]);
    assert_null(arguments[1]);
}

/* A choice of the user stands. */
static void once(void **state)
{
    (void)state;
    setenv("OPENBLAS_CORETYPE", "Haswell", 1);
    assert_int_equal(pons_kern_select_core(arguments), PONS_OK);
    assert_string_equal(getenv("OPENBLAS_CORETYPE"), "Haswell");
}

int main(int argc, char **argv)
{
    (void)argc;
    arguments = argv;
    if (pons_kern_select_core(argv) != PONS_OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(chosen), cmocka_unit_test(once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
