/**
 * Status codes of Pons: what every fallible function returns, and what the program exits with.
 */
#ifndef PONS_STATUS_H
#define PONS_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/** Marks what the shared library exports: the functions of include/pons and nothing else. */
#ifdef __GNUC__
#define PONS_API __attribute__((visibility("default")))
#else
#define PONS_API
#endif

/** X(NAME, exit code, text). The one list of codes; exit codes are part of the command line's
 * contract. */
#define PONS_STATUS_LIST(X)                                                                        \
    X(OK, 0, "success")                                                                            \
    X(STOPPED, 99, "stopped by a signal, to be resumed")                                           \
    X(ERR_BUG, 1, "internal error")                                                                \
    X(ERR_USAGE, 2, "bad command line")                                                            \
    X(ERR_CONFIG, 3, "bad recipe")                                                                 \
    X(ERR_INPUT, 4, "bad input file")                                                              \
    X(ERR_UNSUPPORTED, 5, "input is valid but not supported")                                      \
    X(ERR_IO, 6, "reading or writing failed")                                                      \
    X(ERR_EXISTS, 7, "output exists")                                                              \
    X(ERR_NOMEM, 8, "out of memory")                                                               \
    X(ERR_NUMERIC, 9, "numerical failure (NaN, Inf or not SPD)")                                   \
    X(ERR_SHAPE, 10, "shapes do not agree")                                                        \
    X(ERR_MPI, 11, "MPI call failed")

/** Result of a fallible function. PONS_OK is zero. */
typedef enum pons_status {
#define PONS_STATUS_ENUM(name, exit_code, text) PONS_##name,
    PONS_STATUS_LIST(PONS_STATUS_ENUM)
#undef PONS_STATUS_ENUM
        PONS_STATUS_COUNT
} pons_status;

/** One-line English text of a code; "unknown status" outside the list. Local. */
PONS_API const char *pons_status_text(pons_status status);

/** Process exit code of a status (0 for PONS_OK). Local. */
PONS_API int pons_status_exit_code(pons_status status);

/** One line about the latest failure in the calling thread, naming file, field, what was found and what is allowed; ""
 * when there was none. Borrowed, valid until the next failure. Local. */
PONS_API const char *pons_error_message(void);

#ifdef __cplusplus
}
#endif

#endif
