/* MT19937 against the draws of the specification, 1.4 and 5.3. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/mt19937.h"

static void window_starts(void **state)
{
    (void)state;
    static const uint32_t expected[] = {201979, 220500, 21225, 135746, 268055, 254766};
    pons_mt19937 rng;
    pons_mt19937_seed_python(&rng, 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pons_mt19937_below(&rng, 339421), expected[i]);
}

static void rotation_signs(void **state)
{
    (void)state;
    static const char expected[] = "-++-+++++++--+-----+-++--++++-+-";
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 0);
    for (int i = 0; i < 32; i++)
        assert_int_equal((pons_mt19937_next(&rng) & 1u) ? '+' : '-', expected[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(window_starts),
                                       cmocka_unit_test(rotation_signs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
