/**
 * Background tasks on a thread of their own: prefetching and deferred writing.
 *
 * A task does not call MPI, and OpenMP starts no threads for it. Its status and message are returned to the thread that waits for its end.
 */
#ifndef PONS_BASE_TASK_H
#define PONS_BASE_TASK_H

#include <sched.h>

#include "base/error.h"

typedef struct pons_task pons_task;

/** When a task ran, by pons_clock. */
typedef struct pons_task_span {
    double start, end;
} pons_task_span;

/**
 * Processors of tasks started from now on, where OpenMP has bound the thread that starts them to fewer. Copied. In a process that a launcher bound to one processor, tasks share that processor. Local, before any task. @param processors NULL: those of the thread that starts a task
 */
void pons_task_set_processors(const cpu_set_t *processors);

/**
 * Start work(user) on a new thread; where none can be created, run it now. Local.
 * @param user used by the work alone until pons_task_finish
 * @return PONS_OK, PONS_ERR_NOMEM; never what the work returns.
 */
pons_status pons_task_start(pons_status (*work)(void *user), void *user, pons_task **out);

/**
 * Wait for the end, and free; takes the address, nulls it, accepts NULL (PONS_OK). Local, on the thread
 * that started it.
 * @param[out] span may be NULL
 * @return the status of the work; its message is then the latest of this thread.
 */
pons_status pons_task_finish(pons_task **task, pons_task_span *span);

#endif
