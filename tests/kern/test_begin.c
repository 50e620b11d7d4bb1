/* Work behind the caller's is not held where OpenMP binds the caller. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/task.h"
#include "kern/gemm.h"

static int processors(void)
{
    cpu_set_t own;
    assert_int_equal(sched_getaffinity(0, sizeof own, &own), 0);
    return CPU_COUNT(&own);
}

static pons_status count(void *user)
{
    *(int *)user = processors();
    return PONS_OK;
}

static int count_in_task(void)
{
    int found = 0;
    pons_task *task = NULL;
    assert_int_equal(pons_task_start(count, &found, &task), PONS_OK);
    assert_int_equal(pons_task_finish(&task, NULL), PONS_OK);
    return found;
}

static void tasks_are_free(void **state)
{
    int before = atoi(getenv("PONS_PROCESSORS"));
    (void)state;
    if (processors() == before) skip(); /* one processor, or an OpenMP that does not bind */
    assert_int_equal(count_in_task(), processors());
    pons_kern_begin();
    assert_int_equal(count_in_task(), before);
    assert_true(processors() < before); /* the caller stays where it was */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tasks_are_free)};
    char text[16];
    (void)argc;
    if (!getenv("PONS_PROCESSORS")) { /* OpenMP reads its environment before main */
        snprintf(text, sizeof text, "%d", processors());
        setenv("PONS_PROCESSORS", text, 1);
        setenv("OMP_PROC_BIND", "true", 1);
        execv("/proc/self/exe", argv);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
