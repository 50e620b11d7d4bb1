/**
 * What the library's functions and the program share: the inside of a session. Not installed.
 */
#ifndef PONS_API_SESSION_H
#define PONS_API_SESSION_H

#include "base/hooks.h"
#include "par/comm.h"
#include "pons/session.h"

/** What pons_session_leave restores. */
typedef struct pons_session_scope {
    pons_hooks *hooks;
    int threads;
} pons_session_scope;

/** Let the calling thread work for the session: its hooks, its number of OpenMP threads. Local. */
pons_session_scope pons_session_enter(pons_session *session);

/** End that. Local. */
void pons_session_leave(pons_session_scope before);

/** Ranks of the session. Borrowed. Local. */
pons_comm *pons_session_comm(const pons_session *session);

/**
 * Copy an options struct that a program compiled against this or an earlier version of the interface has filled: the
 * fields that it does not have keep the value they have in `out`. Local.
 * @param given begins with size_t size and int version; @param bytes of *out
 * @return PONS_OK, PONS_ERR_USAGE naming the struct.
 */
pons_status pons_options_take(const char *name, const void *given, size_t bytes, void *out);

#endif
