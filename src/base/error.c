/* Owns the thread's latest error sentence and the bug handler. Does not print ordinary errors: main
 * does. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[PONS_ERROR_MESSAGE_BYTES];
static void (*bug_handler)(void) = NULL;

const char *pons_status_text(pons_status status)
{
    switch (status) {
#define PONS_STATUS_CASE(name, exit_code, text)                                                    \
    case PONS_##name: return text;
        PONS_STATUS_LIST(PONS_STATUS_CASE)
#undef PONS_STATUS_CASE
    default: return "unknown status";
    }
}

int pons_status_exit_code(pons_status status)
{
    switch (status) {
#define PONS_STATUS_CASE(name, exit_code, text)                                                    \
    case PONS_##name: return exit_code;
        PONS_STATUS_LIST(PONS_STATUS_CASE)
#undef PONS_STATUS_CASE
    default: return 1;
    }
}

/* The sentence is formatted aside first: an argument may be the previous sentence itself. */
static void record(const char *format, va_list args, const char *suffix)
{
    char text[PONS_ERROR_MESSAGE_BYTES];
    int n = vsnprintf(text, sizeof text, format, args);
    if (n >= 0 && (size_t)n < sizeof text && suffix)
        snprintf(text + n, sizeof text - (size_t)n, ": %s", suffix);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
    memcpy(message, text, sizeof message);
}

pons_status pons_fail(pons_status code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(format, args, NULL);
    va_end(args);
    return code;
}

pons_status pons_fail_errno(pons_status code, int errnum, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(format, args, strerror(errnum));
    va_end(args);
    return code;
}

pons_status pons_fail_within(pons_status code, const char *format, ...)
{
    char cause[sizeof message];
    memcpy(cause, message, sizeof message);
    va_list args;
    va_start(args, format);
    record(format, args, cause);
    va_end(args);
    return code;
}

const char *pons_error_message(void) { return message; }

void pons_bug_set_handler(void (*handler)(void)) { bug_handler = handler; }

void pons_bug(const char *file, int line, const char *condition)
{
    fprintf(stderr, "pons: bug at %s:%d: %s does not hold\n", file, line, condition);
    if (bug_handler) bug_handler();
    abort();
}
