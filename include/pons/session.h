/**
 * A session: the ranks that work together, the threads of each, and what the calling program hears.
 *
 * Two sessions share nothing but what belongs to the process:
 * - OpenBLAS runs single-threaded from the first session on (openblas_set_num_threads(1)); Pons has its own threads,
 *   and restores the caller's OpenMP thread count after each call;
 * - whether the processors of all ranks multiply alike is remembered as the least favourable answer of all sessions;
 * - signals are the program's: the library installs no handlers;
 * - an internal error ends the process, and the MPI job when a session has a communicator;
 * - memory figures of a report are those of the process.
 *
 * A session is used by one thread at a time. Several threads may each call pons_layer_compress with a session of
 * their own at the same time. pons_run is called by one thread of a process at a time, the one that may call MPI
 * (MPI_THREAD_FUNNELED is enough).
 *
 * Options structs begin with their size and the version of this interface, so that programs compiled against an
 * earlier version of the same SONAME keep working: use the INIT macros, then set fields.
 */
#ifndef PONS_SESSION_H
#define PONS_SESSION_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include "pons/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Version of this interface; grows when a struct grows. */
#define PONS_API_VERSION 1

/** One session. Opaque. */
typedef struct pons_session pons_session;

/** Highest kind of log line that the log function receives. */
enum { PONS_LEVEL_ERROR, PONS_LEVEL_WARNING, PONS_LEVEL_INFORMATION, PONS_LEVEL_DEBUG };

typedef struct pons_session_options {
    size_t size; /* set by PONS_SESSION_OPTIONS_INIT */
    int version; /* set by PONS_SESSION_OPTIONS_INIT */
    MPI_Comm
        comm;    /* ranks that work together; MPI has been started, by MPI_Init_thread with at least
                      MPI_THREAD_FUNNELED. MPI_COMM_NULL (INIT): this process alone, MPI is not needed */
    int threads; /* OpenMP threads of this rank; 0: OMP_NUM_THREADS, else the node's cores divided by its ranks of comm */
    int level;   /* PONS_LEVEL_...; INIT: PONS_LEVEL_INFORMATION */
    void *user;  /* given to the functions below */

    /** Receives a log line without newline; NULL: stderr. Ranks other than 0 log errors only, unless level is
     * PONS_LEVEL_DEBUG. */
    void (*log)(int level, const char *line, void *user);

    /** Receives the state of a long step on rank 0: at its begin, at most five times a second, at its end; NULL: lines
     * in the log. */
    void (*progress)(const char *step, int64_t done, int64_t total, void *user);

    /** Asked now and then on every rank by the thread that called Pons; one rank that gives not 0 ends pons_run on all
     * ranks with PONS_STOPPED, to be resumed. NULL: never. Must not communicate. */
    int (*cancel)(void *user);
} pons_session_options;

/** Initial value of pons_session_options. */
#define PONS_SESSION_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(pons_session_options), PONS_API_VERSION, MPI_COMM_NULL, 0, PONS_LEVEL_INFORMATION,  \
            NULL, NULL, NULL, NULL                                                                 \
    }

/**
 * Begin a session. Collective on options->comm, which is duplicated.
 * @param options NULL: PONS_SESSION_OPTIONS_INIT
 * @param[out] session to be given to pons_session_close; NULL on failure
 * @return PONS_OK, PONS_ERR_USAGE for options of a newer version, MPI that was not started or has no
 * MPI_THREAD_FUNNELED, PONS_ERR_NOMEM; the same on every rank.
 */
PONS_API pons_status pons_session_open(const pons_session_options *options, pons_session **session);

/** End a session; takes the address, nulls it, accepts NULL. Collective on its comm; MPI must still run. */
PONS_API void pons_session_close(pons_session **session);

/** This process's rank among those of the session, and their number. Local. */
PONS_API int pons_session_rank(const pons_session *session);
PONS_API int pons_session_size(const pons_session *session);

/** Version of the library, such as "0.2.0". Static. Local. */
PONS_API const char *pons_version(void);

#ifdef __cplusplus
}
#endif

#endif
