/* 16-bit floats: every bit pattern survives a round trip, and rounding is to nearest even by an
 * independent definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/half.h"
#include "base/sha256.h"

static void round_trips(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float x = pons_f16_to_float((uint16_t)h), y = pons_bf16_to_float((uint16_t)h);
        if (!isnan(x)) assert_int_equal(pons_f16_from_float(x), h);
        if (!isnan(y)) assert_int_equal(pons_bf16_from_float(y), h);
        if (isnan(x)) assert_true(isnan(pons_f16_to_float(pons_f16_from_float(x))));
        if (isnan(y)) assert_true(isnan(pons_bf16_to_float(pons_bf16_from_float(y))));
    }
}

/* Between two neighbours a < b the nearer one must be taken, in a tie the even one. */
static void nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h + 1 < 0x7c00; h++) {
        double a = pons_f16_to_float((uint16_t)h), b = pons_f16_to_float((uint16_t)(h + 1)),
               middle = (a + b) / 2;
        assert_int_equal(pons_f16_from_float((float)middle), h % 2 ? h + 1 : h);
        assert_int_equal(pons_f16_from_float(nextafterf((float)middle, 0)), h);
        assert_int_equal(pons_f16_from_float(nextafterf((float)middle, INFINITY)), h + 1);
    }
    for (uint32_t h = 0; h + 1 < 0x7f80; h++) {
        double a = pons_bf16_to_float((uint16_t)h), b = pons_bf16_to_float((uint16_t)(h + 1)),
               middle = (a + b) / 2;
        assert_int_equal(pons_bf16_from_float((float)middle), h % 2 ? h + 1 : h);
        assert_int_equal(pons_bf16_from_float(nextafterf((float)middle, INFINITY)), h + 1);
    }
    assert_int_equal(pons_f16_from_float(65520.0f), 0x7c00);
    assert_int_equal(pons_f16_from_float(65519.0f), 0x7bff);
    assert_int_equal(pons_f16_from_float(-1e9f), 0xfc00);
}

/* FIPS 180-4 examples. */
static void digests(void **state)
{
    (void)state;
    char hex[65];
    pons_sha256 s;
    pons_sha256_begin(&s);
    pons_sha256_update(&s, "abc", 3);
    pons_sha256_end(&s, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    pons_sha256_begin(&s);
    for (int i = 0; i < 1000000; i++)
        pons_sha256_update(&s, "a", 1);
    pons_sha256_end(&s, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trips),
                                       cmocka_unit_test(nearest_even), cmocka_unit_test(digests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
