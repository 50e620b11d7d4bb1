/* Injected faults and stop signals: which passage fails, what is refused, what a signal leaves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/stop.h"

static void arm(const char *text, int rank)
{
    pons_fault_armed = PONS_FAULT_SITES;
    setenv("PONS_FAULT", text, 1);
    assert_int_equal(pons_fault_arm(rank), PONS_OK);
}

static void only_the_counted_passage(void **state)
{
    (void)state;
    arm("model.read:1:3", 1);
    bool failed[5];
    for (int i = 0; i < 5; i++) {
        assert_false(pons_fault(PONS_FAULT_SHARD_WRITE)); /* another site: does not count */
        failed[i] = pons_fault(PONS_FAULT_MODEL_READ);
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(failed[i], i == 2);
}

static void only_the_named_rank(void **state)
{
    (void)state;
    arm("memory:2", 1);
    assert_false(pons_fault(PONS_FAULT_MEMORY));
    arm("memory:2", 2);
    assert_true(pons_fault(PONS_FAULT_MEMORY));
    arm("", 2);
    assert_false(pons_fault(PONS_FAULT_MEMORY));
}

static void bad_requests(void **state)
{
    (void)state;
    static const char *const bad[] = {"memory",      "memory:-1", "memory:0:0",
                                      "memory:0:1x", "mem:0",     "memory:x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("PONS_FAULT", bad[i], 1);
        assert_int_equal(pons_fault_arm(0), PONS_ERR_USAGE);
        assert_non_null(strstr(pons_error_message(), bad[i]));
        assert_non_null(strstr(pons_error_message(), "model.read")); /* the known sites */
    }
    unsetenv("PONS_FAULT");
}

static void stop_names_the_signal(void **state)
{
    (void)state;
    pons_stop_set_grace(60);
    pons_stop_on_signals();
    assert_int_equal(pons_stop_check(), PONS_OK);
    raise(SIGCONT);
    assert_int_equal(pons_stop_check(), PONS_OK);
    raise(SIGUSR1);
    raise(SIGTERM); /* the first one is reported */
    assert_int_equal(pons_stop_check(), PONS_STOPPED);
    assert_non_null(strstr(pons_error_message(), "SIGUSR1"));
    unsigned left = alarm(0); /* the grace time runs */
    assert_in_range(left, 50, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_counted_passage), cmocka_unit_test(only_the_named_rank),
        cmocka_unit_test(bad_requests), cmocka_unit_test(stop_names_the_signal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
