/**
 * Log lines, `key = value` style, on stderr; results never go here.
 *
 * The library reports through a sink so that a program that embeds it decides where lines go. Ranks
 * other than 0 are silent below PONS_LOG_ERROR unless debugging was asked for.
 */
#ifndef PONS_BASE_LOG_H
#define PONS_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum pons_log_level {
    PONS_LOG_ERROR,
    PONS_LOG_WARN,
    PONS_LOG_INFO,
    PONS_LOG_DEBUG
} pons_log_level;

/** Receives one finished line without newline. */
typedef void (*pons_log_sink)(pons_log_level level, const char *line, void *user);

/** Choose the highest level shown, this process's rank, and the sink (NULL: stderr). Local. */
void pons_log_configure(pons_log_level level, int rank, pons_log_sink sink, void *user);

/** Write one line. Local; thread-safe. */
void pons_log(pons_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A long step in progress: a bar with ETA on a terminal, a plain line every few seconds in a log.
 */
typedef struct pons_progress {
    char label[64];
    int64_t total, done;
    double start, shown; /* seconds, monotonic clock */
    bool active, terminal;
} pons_progress;

/** Begin showing `label` with `total` units to do. Local; shows nothing on ranks other than 0. */
void pons_progress_begin(pons_progress *p, const char *label, int64_t total);

/** Say that `done` units are finished. Local; cheap, call it as often as is natural. */
void pons_progress_update(pons_progress *p, int64_t done);

/** Finish: clears the bar or writes the last line with the seconds taken. Local. */
void pons_progress_end(pons_progress *p);

/** Stop showing an unfinished step: clears the bar, says nothing; fine when it has ended. Local. */
void pons_progress_drop(pons_progress *p);

/** Monotonic seconds. Local. */
double pons_clock(void);

#endif
