/* Owns the life of the process: MPI begins where it is needed, one command runs in a session, every rank ends with the
 * same exit code. Does not know any command (commands.c). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/session.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "kern/cputype.h"

/* Ranks agree on failures and prefix whose it was. Rank 0 reads the inputs, so its own failures
 * read the same at any rank count without the prefix. */
static const char *sentence(void)
{
    static const char own[] = "rank 0: ";
    const char *message = pons_error_message();
    return strncmp(message, own, sizeof own - 1) ? message : message + sizeof own - 1;
}

/* Whether a launcher started this process, as one of several or by itself: its way to tell ranks says so. */
static bool is_launched(void)
{
    static const char *const told[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK",   "PMI_RANK",
                                       "MV2_COMM_WORLD_RANK",  "PALS_RANKID", "FLUX_TASK_RANK"};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (getenv(told[i])) return true;
    return false;
}

static void report(pons_status st)
{
    const char *message = sentence();
    fprintf(stderr, "pons: %s\n", *message ? message : pons_status_text(st));
}

static int leave(pons_status st)
{
    int code = pons_status_exit_code(st);
#ifdef PONS_DEBUG
    if (pons_mem_outstanding() != 0) {
        fprintf(stderr, "pons: bug: %lld blocks of memory were not freed\n",
                (long long)pons_mem_outstanding());
        code = pons_status_exit_code(PONS_ERR_BUG);
    }
#endif
    fflush(NULL); /* a launcher may stop ranks that are past MPI_Finalize */
    return code;
}

int main(int argc, char **argv)
{
    pons_kern_select_core(argv); /* when it fails the program is slower, not wrong */
    /* among several, none ends alone because a launcher or a killed rank no longer reads what it writes */
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    bool mpi = is_launched() || pons_cli_needs_mpi(argc, argv);
    pons_session_options options = PONS_SESSION_OPTIONS_INIT;
    pons_session *session = NULL;
    pons_status st = mpi ? pons_par_begin(&argc, &argv) : PONS_OK;
    if (st != PONS_OK) {
        report(st);
        return leave(st);
    }
    if (mpi) options.comm = MPI_COMM_WORLD;
    st = pons_session_open(&options, &session);
    if (st == PONS_OK) {
        pons_session_scope scope = pons_session_enter(session);
        pons_comm *comm = pons_session_comm(session);
        if (pons_comm_size(comm) == 1) signal(SIGPIPE, before);
        st = pons_cli_run(comm, argc, argv);
        if (st != PONS_OK && pons_comm_rank(comm) == 0) report(st);
        pons_session_leave(scope);
    } else if (!mpi || pons_comm_rank(pons_par_world()) == 0) {
        report(st);
    }
    pons_session_close(&session);
    int code = leave(st);
    if (mpi) pons_par_end();
    return code;
}
