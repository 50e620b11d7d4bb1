/* Owns sessions: opening, closing, and what a thread has while it works for one. */
#include "api/session.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kern/gemm.h"
#include "kern/isa.h"
#include "kern/limits.h"
#include "kern/product.h"
#include "par/mpi_handle.h"
#include "par/node.h"

struct pons_session {
    pons_comm *comm;
    pons_hooks hooks;
    int threads;
};

pons_status pons_options_take(const char *name, const void *given, size_t bytes, void *out)
{
    struct {
        size_t size;
        int version;
    } head;
    memcpy(&head, given, sizeof head);
    if (head.size < sizeof head || head.version < 1)
        return pons_fail(PONS_ERR_USAGE, "%s: not initialized by its INIT macro", name);
    if (head.size > bytes || head.version > PONS_API_VERSION)
        return pons_fail(
            PONS_ERR_USAGE,
            "%s: found version %d of the interface, allowed: up to %d, that of Pons %s", name,
            head.version, PONS_API_VERSION, PONS_VERSION);
    memcpy(out, given, head.size);
    return PONS_OK;
}

static int choose_threads(pons_comm *comm, int wanted)
{
    int fair = pons_par_fair_threads(comm);
    if (wanted) return wanted;
    return getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : fair;
}

pons_status pons_session_open(const pons_session_options *options, pons_session **session)
{
    pons_session_options o = PONS_SESSION_OPTIONS_INIT;
    *session = NULL;
    pons_status st =
        options ? pons_options_take("pons_session_options", options, sizeof o, &o) : PONS_OK;
    pons_comm *comm = NULL;
    pons_session *s = NULL;
    if (st == PONS_OK) st = pons_comm_adopt(o.comm, &comm);
    if (st != PONS_OK) return st;
    s = pons_mem_calloc(1, sizeof *s);
    PONS_TRY_ALL(st, comm, s ? PONS_OK : PONS_ERR_NOMEM);
    s->comm = comm;
    s->hooks = (pons_hooks){.level = (pons_log_level)o.level,
                            .rank = pons_comm_rank(comm),
                            .user = o.user,
                            .log = o.log,
                            .progress = o.progress,
                            .cancel = o.cancel};
    PONS_TRY_ALL(st, comm, pons_isa_check());
    PONS_TRY(st, pons_kern_check_alike(comm));
    int before = omp_get_max_threads();
    s->threads = choose_threads(comm, o.threads);
    PONS_TRY_ALL(st, comm,
                 pons_kern_check_threads(
                     o.threads ? "pons_session_options: threads" : "OMP_NUM_THREADS", s->threads));
    omp_set_num_threads(s->threads);
    pons_kern_begin();
    pons_product_agree(comm);
    omp_set_num_threads(before);
    *session = s;
    return PONS_OK;
done:
    pons_mem_free(s);
    pons_comm_free(&comm);
    return st;
}

void pons_session_close(pons_session **session)
{
    if (!*session) return;
    pons_comm_free(&(*session)->comm);
    pons_mem_free(*session);
    *session = NULL;
}

pons_session_scope pons_session_enter(pons_session *session)
{
    pons_session_scope before = {pons_hooks_use(&session->hooks), omp_get_max_threads()};
    omp_set_num_threads(session->threads);
    return before;
}

void pons_session_leave(pons_session_scope before)
{
    pons_hooks_use(before.hooks);
    omp_set_num_threads(before.threads);
}

pons_comm *pons_session_comm(const pons_session *session) { return session->comm; }

int pons_session_rank(const pons_session *session) { return pons_comm_rank(session->comm); }

int pons_session_size(const pons_session *session) { return pons_comm_size(session->comm); }

const char *pons_version(void) { return PONS_VERSION; }
