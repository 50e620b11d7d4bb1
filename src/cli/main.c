/* Owns the life of the process: MPI begins, one command runs, every rank ends with the same exit
 * code. Does not know any command (commands.c). */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "kern/cputype.h"
#include "pons/pons.h"

/* Ranks agree on failures and prefix whose it was. Rank 0 reads the inputs, so its own failures
 * read the same at any rank count without the prefix. */
static const char *sentence(void)
{
    static const char own[] = "rank 0: ";
    const char *message = pons_error_message();
    return strncmp(message, own, sizeof own - 1) ? message : message + sizeof own - 1;
}

int main(int argc, char **argv)
{
    pons_kern_select_core(argv); /* when it fails the program is slower, not wrong */
    /* among several, none ends alone because a launcher or a killed rank no longer reads what it writes */
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    pons_status st = pons_begin(&argc, &argv);
    if (st != PONS_OK) {
        if (pons_comm_rank(pons_par_world()) == 0) fprintf(stderr, "pons: %s\n", sentence());
        pons_end();
        return pons_status_exit_code(st);
    }
    pons_comm *comm = pons_par_world();
    if (pons_comm_size(comm) == 1) signal(SIGPIPE, before);
    st = pons_cli_run(comm, argc, argv);
    if (st != PONS_OK && pons_comm_rank(comm) == 0) {
        const char *message = sentence();
        fprintf(stderr, "pons: %s\n", *message ? message : pons_status_text(st));
    }
    int code = pons_status_exit_code(st);
#ifdef PONS_DEBUG
    if (pons_mem_outstanding() != 0) {
        fprintf(stderr, "pons: bug: %lld blocks of memory were not freed\n",
                (long long)pons_mem_outstanding());
        code = pons_status_exit_code(PONS_ERR_BUG);
    }
#endif
    fflush(NULL); /* a launcher may stop ranks that are past MPI_Finalize */
    pons_end();
    return code;
}
