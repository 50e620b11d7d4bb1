/**
 * What the owner of a session hears and decides: log lines, progress, cancelling. One thread works for one owner
 * at a time; tasks (base/task.h) that it starts work for the same one. A thread that works for nobody in particular
 * has the process's hooks, which write to stderr.
 */
#ifndef PONS_BASE_HOOKS_H
#define PONS_BASE_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum pons_log_level {
    PONS_LOG_ERROR,
    PONS_LOG_WARN,
    PONS_LOG_INFO,
    PONS_LOG_DEBUG
} pons_log_level;

typedef struct pons_hooks {
    pons_log_level level; /* highest level shown */
    int rank;             /* ranks other than 0 log errors only, unless level is PONS_LOG_DEBUG */
    void *user;           /* given to the three functions below; each may be NULL */
    void (*log)(int level, const char *line, void *user);                         /* NULL: stderr */
    void (*progress)(const char *label, int64_t done, int64_t total, void *user); /* NULL: log */
    int (*cancel)(void *user); /* not 0: stop at the next place that asks */

    /* Told of every communication of the thread (par/comm.h, pons_comm_set_watch). */
    void (*watch)(void *user, double start, double end);
    void *watch_user;
} pons_hooks;

/** Hooks of the calling thread. Borrowed. Local. */
pons_hooks *pons_hooks_current(void);

/** Let the calling thread work with these hooks, NULL: with the process's. Local. @return those before, for the way back */
pons_hooks *pons_hooks_use(pons_hooks *hooks);

#endif
