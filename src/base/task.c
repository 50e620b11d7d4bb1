/* Owns the thread of one task and its result. Does not know what the task does. POSIX threads: ThreadSanitizer does not follow C11's. */
#include "base/task.h"

#include <omp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/hooks.h"
#include "base/log.h"
#include "base/mem.h"

struct pons_task {
    pthread_t thread;
    bool threaded;
    pons_status (*work)(void *user);
    void *user;
    pons_hooks *hooks; /* of the starting thread */
    pons_status status;
    char message[PONS_ERROR_MESSAGE_BYTES]; /* unless status is PONS_OK */
    pons_task_span span;
};

static cpu_set_t allowed; /* empty: those of the starting thread */

void pons_task_set_processors(const cpu_set_t *processors)
{
    CPU_ZERO(&allowed);
    if (processors) allowed = *processors;
}

static void *run(void *task)
{
    pons_task *t = task;
    if (t->threaded) omp_set_num_threads(1); /* not a team of its own beside that of the others */
    if (t->threaded && CPU_COUNT(&allowed) > 0) /* refused, it stays where it was begun */
        (void)sched_setaffinity(0, sizeof allowed, &allowed);
    pons_hooks *before = pons_hooks_use(t->hooks);
    t->span.start = pons_clock();
    t->status = t->work(t->user);
    t->span.end = pons_clock();
    pons_hooks_use(before);
    if (t->status != PONS_OK) memcpy(t->message, pons_error_message(), sizeof t->message);
    return NULL;
}

pons_status pons_task_start(pons_status (*work)(void *user), void *user, pons_task **out)
{
    pons_task *t = pons_mem_calloc(1, sizeof *t);
    *out = t;
    if (!t) return PONS_ERR_NOMEM;
    t->work = work;
    t->user = user;
    t->hooks = pons_hooks_current();
    t->threaded = true; /* the thread reads it */
    if (pthread_create(&t->thread, NULL, run, t) != 0) {
        t->threaded = false;
        run(t);
    }
    return PONS_OK;
}

pons_status pons_task_finish(pons_task **task, pons_task_span *span)
{
    pons_task *t = *task;
    if (!t) return PONS_OK;
    if (t->threaded) pthread_join(t->thread, NULL);
    pons_status st = t->status;
    if (st != PONS_OK) st = pons_fail(st, "%s", t->message);
    if (span) *span = t->span;
    pons_mem_free(t);
    *task = NULL;
    return st;
}
