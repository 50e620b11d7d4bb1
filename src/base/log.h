/**
 * Log lines, `key = value` style, on stderr or to the thread's hooks; results never go here. Ranks other than 0 are
 * silent below PONS_LOG_ERROR unless debugging was asked for.
 */
#ifndef PONS_BASE_LOG_H
#define PONS_BASE_LOG_H

#include "base/hooks.h"

/** Choose the highest level that the calling thread's hooks show, and this process's rank. Local. */
void pons_log_configure(pons_log_level level, int rank);

/** Write one line. Local; thread-safe. */
void pons_log(pons_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A long step in progress: calls of the progress hook; without one a bar with ETA on a terminal, a plain line every
 * few seconds in a log. */
typedef struct pons_progress {
    char label[64];
    int64_t total, done;
    double start, shown; /* seconds, monotonic clock */
    bool active, terminal;
} pons_progress;

/** Begin showing `label` with `total` units to do. Local; shows nothing on ranks other than 0. */
void pons_progress_begin(pons_progress *p, const char *label, int64_t total);

/** Say that `done` units are finished. Local; cheap. */
void pons_progress_update(pons_progress *p, int64_t done);

/** Finish: clears the bar or writes the last line with the seconds taken. Local. */
void pons_progress_end(pons_progress *p);

/** Stop showing an unfinished step: clears the bar without a line; no effect when it has ended. Local. */
void pons_progress_drop(pons_progress *p);

/** Monotonic seconds. Local. */
double pons_clock(void);

#endif
