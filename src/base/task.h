/**
 * Work that goes on behind the caller's, on a thread of its own: reading ahead, writing behind.
 *
 * MPI is not used in it, and OpenMP starts no threads for it. Its failure is not lost: it comes back, with its
 * sentence, to whoever waits for its end.
 */
#ifndef PONS_BASE_TASK_H
#define PONS_BASE_TASK_H

#include <sched.h>

#include "base/error.h"

typedef struct pons_task pons_task;

/** When a task worked, by pons_clock. */
typedef struct pons_task_span {
    double start, end;
} pons_task_span;

/**
 * Processors of tasks started from now on, where OpenMP has bound the thread that starts them to fewer. Copied. Of a
 * process that is itself bound to one processor (by a launcher) tasks share that one with its work, and nothing
 * can be done here. Local, before any task. @param processors NULL: those of the thread that starts a task
 */
void pons_task_set_processors(const cpu_set_t *processors);

/**
 * Begin work(user); where the system gives no thread, do it now. Local.
 * @param user what the work uses, and nobody else until pons_task_finish
 * @return PONS_OK, PONS_ERR_NOMEM; never what the work returns.
 */
pons_status pons_task_start(pons_status (*work)(void *user), void *user, pons_task **out);

/**
 * Wait for the end, and free; takes the address, nulls it, accepts NULL (PONS_OK). Local, on the thread
 * that started it.
 * @param[out] span may be NULL
 * @return what the work returned; its sentence is then this thread's latest.
 */
pons_status pons_task_finish(pons_task **task, pons_task_span *span);

#endif
