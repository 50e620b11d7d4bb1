/* What a task leaves, and that its parallel loops run on its one thread. */
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/task.h"

static pons_status count_threads(void *user)
{
    int *seen = user;
#pragma omp parallel
#pragma omp atomic
    ++*seen;
    return PONS_OK;
}

static void test_parallel_loops_stay_on_its_thread(void **state)
{
    (void)state;
    pons_task *task = NULL;
    int seen = 0, before = omp_get_max_threads();
    assert_int_equal(pons_task_start(count_threads, &seen, &task), PONS_OK);
    assert_int_equal(pons_task_finish(&task, NULL), PONS_OK);
    assert_null(task);
    assert_int_equal(seen, 1);
    assert_int_equal(omp_get_max_threads(), before);
}

static pons_status refuse(void *user) { return pons_fail(PONS_ERR_IO, "%s", (const char *)user); }

static void test_failure_comes_back_with_its_sentence(void **state)
{
    (void)state;
    pons_task *task = NULL;
    pons_task_span span = {0};
    assert_int_equal(pons_task_start(refuse, "the disk is gone", &task), PONS_OK);
    assert_int_equal(pons_task_finish(&task, &span), PONS_ERR_IO);
    assert_string_equal(pons_error_message(), "the disk is gone");
    assert_true(span.end >= span.start && span.start > 0);
    assert_int_equal(pons_task_finish(&task, NULL), PONS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel_loops_stay_on_its_thread),
        cmocka_unit_test(test_failure_comes_back_with_its_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
