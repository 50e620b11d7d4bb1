/**
 * Errors with a message.
 *
 * A function that fails returns its code through pons_fail, which stores the message for the caller that reports it. The status is passed by return value only; the message, like errno, belongs to the latest failure of the calling thread and is meaningful only after a function has failed. pons_comm_agree sends it to the other ranks.
 */
#ifndef PONS_BASE_ERROR_H
#define PONS_BASE_ERROR_H

#include "pons/status.h"

/** Longest message stored, in bytes with the terminating zero. */
#define PONS_ERROR_MESSAGE_BYTES 1024

/**
 * Record a failure and return its code: `return pons_fail(PONS_ERR_INPUT, "%s: ...", path);`.
 *
 * The message is one line naming the file, the field, what was found and what is allowed. Local;
 * never fails; cost: one formatted print.
 */
pons_status pons_fail(pons_status code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Like pons_fail, with ": " and the text of `errnum` (an errno value) appended. Local. */
pons_status pons_fail_errno(pons_status code, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/**
 * Put "<format>: " before the message of the latest failure and return `code`: for a caller that knows the file or field, which its callee does not. Local.
 */
pons_status pons_fail_within(pons_status code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Evaluate `expr`, store its status in `st`; leave through the function's one `done:` label when
 * it failed. */
#define PONS_TRY(st, expr)                                                                         \
    do {                                                                                           \
        (st) = (expr);                                                                             \
        if ((st) != PONS_OK) goto done;                                                            \
    } while (0)

/** Report a bug (a broken invariant, not bad input): prints place and condition and aborts the
 * process. */
_Noreturn void pons_bug(const char *file, int line, const char *condition);

/** Abort handler used by pons_bug; par installs MPI_Abort so that no rank is left waiting. Local.
 */
void pons_bug_set_handler(void (*handler)(void));

/** Check an invariant in every build type; never replaced by assert(). */
#define PONS_ASSERT(cond) ((cond) ? (void)0 : pons_bug(__FILE__, __LINE__, #cond))

#endif
