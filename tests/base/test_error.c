/* The sentence of a failure: one line, bounded, of the calling thread; exit codes are distinct. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"

static void one_line(void **state)
{
    (void)state;
    assert_int_equal(pons_fail(PONS_ERR_INPUT, "%s: found\n%d\r", "config.json", 3),
                     PONS_ERR_INPUT);
    assert_string_equal(pons_error_message(), "config.json: found 3 ");
}

static void bounded(void **state)
{
    (void)state;
    char text[3 * PONS_ERROR_MESSAGE_BYTES];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    pons_fail(PONS_ERR_IO, "%s", text);
    assert_int_equal(strlen(pons_error_message()), PONS_ERROR_MESSAGE_BYTES - 1);
    pons_fail_within(PONS_ERR_IO, "%s", "file");
    assert_int_equal(strlen(pons_error_message()), PONS_ERROR_MESSAGE_BYTES - 1);
    assert_memory_equal(pons_error_message(), "file: xxx", 9);
}

static void within_and_errno(void **state)
{
    (void)state;
    assert_int_equal(pons_fail_errno(PONS_ERR_IO, ENOENT, "%s", "m.gguf"), PONS_ERR_IO);
    assert_string_equal(pons_error_message(), "m.gguf: No such file or directory");
    assert_int_equal(pons_fail_within(PONS_ERR_NUMERIC, "block %d", 4), PONS_ERR_NUMERIC);
    assert_string_equal(pons_error_message(), "block 4: m.gguf: No such file or directory");
    pons_fail(PONS_ERR_INPUT, "again: %s", pons_error_message()); /* the old one as an argument */
    assert_string_equal(pons_error_message(), "again: block 4: m.gguf: No such file or directory");
}

static void *other_thread(void *before)
{
    *(int *)before = (int)strlen(pons_error_message());
    pons_fail(PONS_ERR_BUG, "of another thread");
    return NULL;
}

static void of_the_thread(void **state)
{
    (void)state;
    pthread_t thread;
    int before = -1;
    pons_fail(PONS_ERR_INPUT, "mine");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &before), 0);
    pthread_join(thread, NULL);
    assert_int_equal(before, 0);
    assert_string_equal(pons_error_message(), "mine");
}

static void exit_codes(void **state)
{
    (void)state;
    static const pons_status all[] = {
#define STATUS(name, exit_code, text) PONS_##name,
        PONS_STATUS_LIST(STATUS)
#undef STATUS
    };
    enum { COUNT = sizeof all / sizeof *all };
    for (int i = 0; i < COUNT; i++) {
        int code = pons_status_exit_code(all[i]);
        assert_in_range(code, 0, 125); /* what a shell can tell from a signal */
        assert_int_equal(code == 0, all[i] == PONS_OK);
        assert_true(strlen(pons_status_text(all[i])) > 0);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(code, pons_status_exit_code(all[j]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line), cmocka_unit_test(bounded), cmocka_unit_test(within_and_errno),
        cmocka_unit_test(of_the_thread), cmocka_unit_test(exit_codes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
