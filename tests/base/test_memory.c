/* Counted memory: alignment, overflow, contents after a resize, the count of blocks that are not freed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/mem.h"

static void aligned_and_counted(void **state)
{
    (void)state;
    int64_t before = pons_mem_outstanding();
    void *block[40];
    for (int i = 0; i < 40; i++) { /* from one byte to 2^22: small blocks and huge pages */
        int64_t n = i ? (int64_t)1 << (i % 23) : 0;
        block[i] = pons_mem_alloc(n, 1);
        assert_non_null(block[i]);
        assert_int_equal((uintptr_t)block[i] % 64, 0);
        memset(block[i], 0xAB, (size_t)n);
    }
    assert_int_equal(pons_mem_outstanding() - before, 40);
    for (int i = 0; i < 40; i++)
        pons_mem_free(block[i]);
    pons_mem_free(NULL);
    assert_int_equal(pons_mem_outstanding(), before);
}

static void zeroed(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 1 << 22; n = 3 * n + 1) {
        unsigned char *p = pons_mem_calloc(n, 1);
        assert_non_null(p);
        for (int64_t i = 0; i < n; i++)
            if (p[i]) fail_msg("byte %lld of %lld is not zero", (long long)i, (long long)n);
        memset(p, 0xFF, (size_t)n); /* so that a block that is used again would show */
        pons_mem_free(p);
    }
}

static void overflow_is_out_of_memory(void **state)
{
    (void)state;
    int64_t before = pons_mem_outstanding();
    assert_null(pons_mem_alloc(INT64_MAX / 2, 8));
    assert_null(pons_mem_calloc(INT64_MAX, 2));
    assert_null(pons_mem_alloc(-1, 8));
    assert_true(strlen(pons_error_message()) > 0);
    assert_int_equal(pons_mem_outstanding(), before);
}

static void resize_keeps_contents(void **state)
{
    (void)state;
    int64_t before = pons_mem_outstanding();
    uint32_t *p = pons_mem_alloc(10, sizeof *p);
    assert_non_null(p);
    for (uint32_t i = 0; i < 10; i++)
        p[i] = i * i;
    p = pons_mem_resize(p, 10 * sizeof *p, 100000, sizeof *p);
    assert_non_null(p);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(p[i], i * i);
    p = pons_mem_resize(p, 100000 * sizeof *p, 3, sizeof *p);
    assert_non_null(p);
    assert_int_equal(p[2], 4);
    assert_null(pons_mem_resize(p, 3 * sizeof *p, INT64_MAX, sizeof *p));
    assert_int_equal(p[2], 4); /* untouched by the failure */
    pons_mem_free(p);
    assert_int_equal(pons_mem_outstanding(), before);
}

static void strings(void **state)
{
    (void)state;
    assert_null(pons_mem_strdup(NULL));
    char *copy = pons_mem_strdup("block 3 q_proj");
    char *printed = pons_mem_printf("block %d %s", 3, "q_proj");
    assert_string_equal(copy, printed);
    pons_mem_free(printed);
    pons_mem_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_and_counted), cmocka_unit_test(zeroed),
        cmocka_unit_test(overflow_is_out_of_memory), cmocka_unit_test(resize_keeps_contents),
        cmocka_unit_test(strings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
