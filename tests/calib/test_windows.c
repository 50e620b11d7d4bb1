/* Window starts against the draws of the specification, 1.4, and its two limits. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "calib/windows.h"

static void reference_starts(void **state)
{
    (void)state;
    static const int64_t expected[] = {201979, 220500, 21225, 135746, 268055, 254766};
    int64_t start[6];
    assert_int_equal(pons_windows_draw("text", 339421 + 2048, 2048, 6, 0, start), PONS_OK);
    assert_memory_equal(start, expected, sizeof expected);
}

/* L = S + 1 is the shortest text, with one place for a window; every place of a longer one is
 * reached, and none beyond. */
static void all_places(void **state)
{
    (void)state;
    int64_t start[400], seen[5] = {0};
    assert_int_equal(pons_windows_draw("text", 2049, 2048, 3, 7, start), PONS_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(start[i], 0);
    assert_int_equal(pons_windows_draw("text", 15, 10, 400, 7, start), PONS_OK);
    for (int i = 0; i < 400; i++) {
        assert_in_range(start[i], 0, 4);
        seen[start[i]]++;
    }
    for (int i = 0; i < 5; i++)
        assert_true(seen[i] > 40);
}

static void too_short(void **state)
{
    (void)state;
    int64_t start;
    assert_int_equal(pons_windows_draw("wiki.txt", 2048, 2048, 1, 0, &start), PONS_ERR_INPUT);
    assert_non_null(strstr(pons_error_message(), "wiki.txt"));
    assert_non_null(strstr(pons_error_message(), "2048 tokens"));
    assert_non_null(strstr(pons_error_message(), "2049"));
    assert_int_equal(pons_windows_draw("wiki.txt", (int64_t)1 << 33, 2048, 1, 0, &start),
                     PONS_ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference_starts),
                                       cmocka_unit_test(all_places), cmocka_unit_test(too_short)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
