/* Element types: names and sizes as their formats define them, conversions against plain arithmetic. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "tensor/dtype.h"

static void names(void **state)
{
    (void)state;
    static const char *const safetensors[] = {"F32", "F16", "BF16", "F64", "I8",  "U8",  "I16",
                                              "U16", "I32", "U32",  "I64", "U64", "BOOL"};
    static const size_t bytes[] = {4, 2, 2, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        pons_dtype type;
        assert_true(pons_dtype_from_name(safetensors[i], &type));
        assert_string_equal(pons_dtype_name(type), safetensors[i]);
        assert_int_equal(pons_dtype_bytes(type, 6), 6 * bytes[i]);
        assert_int_equal(pons_dtype_bits(type), 8 * bytes[i]);
        assert_int_equal(pons_dtype_unit_elements(type), 1);
    }
    pons_dtype untouched = PONS_DTYPE_I8;
    assert_false(pons_dtype_from_name("f32", &untouched));
    assert_false(pons_dtype_from_name("Q4_0", &untouched)); /* no safetensors type */
    assert_false(pons_dtype_from_name("", &untouched));
    assert_int_equal(untouched, PONS_DTYPE_I8);
}

static void block_sizes(void **state)
{
    (void)state;
    assert_int_equal(pons_dtype_bytes(PONS_DTYPE_Q4_0, 64), 36);
    assert_int_equal(pons_dtype_bytes(PONS_DTYPE_Q4_1, 64), 40);
    assert_int_equal(pons_dtype_bytes(PONS_DTYPE_Q8_0, 64), 68);
    assert_int_equal(pons_dtype_unit_elements(PONS_DTYPE_Q8_0), 32);
    assert_int_equal(pons_dtype_bits(PONS_DTYPE_Q4_1), 4);
}

/* fp16 of 2^e: exponent bits alone. */
static void put_power(uint8_t *p, int e)
{
    uint16_t h = (uint16_t)((e + 15) << 10);
    p[0] = (uint8_t)(h & 255);
    p[1] = (uint8_t)(h >> 8);
}

static void blocks_to_float(void **state)
{
    (void)state;
    uint8_t q40[18], q41[20], q80[34];
    float x[32];
    put_power(q40, -3);
    put_power(q41, -3);
    put_power(q41 + 2, 1);
    put_power(q80, -4);
    for (int i = 0; i < 16; i++) {
        uint8_t byte = (uint8_t)(i | (15 - i) << 4); /* element i: i; element 16 + i: 15 - i */
        q40[2 + i] = q41[4 + i] = byte;
    }
    for (int i = 0; i < 32; i++)
        q80[2 + i] = (uint8_t)(int8_t)(i * 8 - 128);
    pons_dtype_to_float(PONS_DTYPE_Q4_0, q40, 32, x);
    for (int i = 0; i < 16; i++) {
        assert_true(x[i] == (float)(i - 8) / 8);
        assert_true(x[16 + i] == (float)(7 - i) / 8);
    }
    pons_dtype_to_float(PONS_DTYPE_Q4_1, q41, 32, x);
    for (int i = 0; i < 16; i++) {
        assert_true(x[i] == (float)i / 8 + 2);
        assert_true(x[16 + i] == (float)(15 - i) / 8 + 2);
    }
    pons_dtype_to_float(PONS_DTYPE_Q8_0, q80, 32, x);
    for (int i = 0; i < 32; i++)
        assert_true(x[i] == (float)(i * 8 - 128) / 16);
}

/* The nearest value with `bits` bits of mantissa, ties to even, by scaling and rint. */
static float nearest(float x, int bits)
{
    int e;
    if (x == 0) return x;
    double m = frexp((double)x, &e);
    return (float)ldexp(rint(ldexp(m, bits)), e - bits);
}

static void rounding(void **state)
{
    (void)state;
    uint32_t draw = 1;
    for (int i = 0; i < 20000; i++) {
        draw = draw * 1664525u + 1013904223u;
        float x = ldexpf((float)(int32_t)draw, (int)(draw % 13) - 37), half[2] = {x, x};
        uint16_t stored;
        pons_dtype_round(PONS_DTYPE_BF16, &half[0], 1);
        pons_dtype_round(PONS_DTYPE_F16, &half[1], 1);
        assert_true(half[0] == nearest(x, 8));
        if (fabsf(x) >= 0x1p-14f && fabsf(x) < 65504) assert_true(half[1] == nearest(x, 11));
        pons_dtype_from_float(PONS_DTYPE_BF16, &x, 1, &stored);
        float back;
        pons_dtype_to_float(PONS_DTYPE_BF16, &stored, 1, &back);
        assert_true(back == half[0]);
        pons_dtype_from_float(PONS_DTYPE_F16, &x, 1, &stored);
        pons_dtype_to_float(PONS_DTYPE_F16, &stored, 1, &back);
        assert_true(back == half[1]);
    }
    float special[] = {INFINITY, -INFINITY, 1e10f, -0.0f, 0x1p-25f, 0x1.8p-25f, NAN};
    pons_dtype_round(PONS_DTYPE_F16, special, 7);
    assert_true(special[0] == INFINITY && special[1] == -INFINITY && special[2] == INFINITY);
    assert_true(special[3] == 0 && signbit(special[3]));
    assert_true(special[4] == 0 && special[5] == 0x1p-24f); /* the tie goes to even */
    assert_true(isnan(special[6]));
}

static void elements(void **state)
{
    (void)state;
    pons_tensor_view t = {.ndim = 3, .shape = {65536, 65536, 2, 7}};
    assert_true(pons_tensor_elements(&t) == (int64_t)1 << 33);
    t.ndim = 0;
    assert_int_equal(pons_tensor_elements(&t), 1);
    t.ndim = 2;
    t.shape[0] = 0;
    assert_int_equal(pons_tensor_elements(&t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(block_sizes),
                                       cmocka_unit_test(blocks_to_float),
                                       cmocka_unit_test(rounding), cmocka_unit_test(elements)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
