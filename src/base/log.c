/* Owns what log lines and progress look like. Does not decide what is worth saying. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void pons_log_configure(pons_log_level level, int rank)
{
    pons_hooks *hooks = pons_hooks_current();
    hooks->level = level;
    hooks->rank = rank;
}

void pons_log(pons_log_level level, const char *format, ...)
{
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    const pons_hooks *hooks = pons_hooks_current();
    if (level > hooks->level) return;
    if (hooks->rank != 0 && level > PONS_LOG_ERROR && hooks->level < PONS_LOG_DEBUG) return;
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (hooks->log)
        hooks->log((int)level, line, hooks->user);
    else if (hooks->level >= PONS_LOG_DEBUG)
        fprintf(stderr, "pons[%d]: %s%s\n", hooks->rank, prefix[level], line);
    else
        fprintf(stderr, "pons: %s%s\n", prefix[level], line);
}

double pons_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show(pons_progress *p, double now)
{
    double spent = now - p->start;
    double left = p->done > 0 ? spent * (double)(p->total - p->done) / (double)p->done : 0;
    const pons_hooks *hooks = pons_hooks_current();
    if (hooks->progress) {
        hooks->progress(p->label, p->done, p->total, hooks->user);
        return;
    }
    if (!p->terminal) {
        pons_log(PONS_LOG_INFO, "%s %lld/%lld, %.0f s, %.0f s left", p->label, (long long)p->done,
                 (long long)p->total, spent, left);
        return;
    }
    char bar[31];
    int64_t filled = p->total > 0 ? p->done * 30 / p->total : 30;
    for (int64_t i = 0; i < 30; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[30] = 0;
    fprintf(stderr, "\r\033[K%s [%s] %lld/%lld  %.0f s, ETA %.0f s", p->label, bar,
            (long long)p->done, (long long)p->total, spent, left);
    fflush(stderr);
}

void pons_progress_begin(pons_progress *p, const char *label, int64_t total)
{
    memset(p, 0, sizeof *p);
    snprintf(p->label, sizeof p->label, "%s", label);
    p->total = total;
    p->start = p->shown = pons_clock();
    const pons_hooks *hooks = pons_hooks_current();
    p->active = hooks->rank == 0 && (hooks->progress || hooks->level >= PONS_LOG_INFO);
    p->terminal = p->active && !hooks->progress && !hooks->log && isatty(STDERR_FILENO);
    if (p->active && hooks->progress) show(p, p->start);
}

void pons_progress_update(pons_progress *p, int64_t done)
{
    p->done = done;
    if (!p->active) return;
    double now = pons_clock();
    bool often = p->terminal || pons_hooks_current()->progress;
    if (now - p->shown < (often ? 0.2 : 5.0)) return;
    p->shown = now;
    show(p, now);
}

void pons_progress_end(pons_progress *p)
{
    if (!p->active) return;
    if (p->terminal) fprintf(stderr, "\r\033[K");
    if (pons_hooks_current()->progress) show(p, pons_clock());
    pons_log(PONS_LOG_INFO, "%s: %lld done in %.1f s", p->label, (long long)p->done,
             pons_clock() - p->start);
    p->active = false;
}

void pons_progress_drop(pons_progress *p)
{
    if (p->active && p->terminal) fprintf(stderr, "\r\033[K");
    p->active = false;
}
