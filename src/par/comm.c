/* Owns the world communicator and its collectives. Every MPI call of the program is in this room. */
#include "par/comm.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "par/mpi_handle.h"

struct pons_comm {
    MPI_Comm mpi;
    int rank, size;
};

static struct pons_comm world;
static int users;        /* calls of pons_par_begin not yet ended */
static bool mpi_is_ours; /* started here, so ended here */

/* One piece of a long transfer; MPI 3.1 counts are int. */
enum { PIECE = 1 << 28 };

static void abort_job(void) { pons_par_abort(1); }

pons_status pons_par_begin(int *argc, char ***argv)
{
    int provided, started;
    if (users > 0) {
        users++;
        return PONS_OK;
    }
    MPI_Initialized(&started);
    if (started)
        MPI_Query_thread(&provided);
    else if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return pons_fail(PONS_ERR_MPI, "MPI_Init_thread failed");
    mpi_is_ours = !started;
    if (provided < MPI_THREAD_FUNNELED)
        return pons_fail(PONS_ERR_MPI, "this MPI library has no MPI_THREAD_FUNNELED");
    MPI_Comm_dup(MPI_COMM_WORLD, &world.mpi);
    MPI_Comm_rank(world.mpi, &world.rank);
    MPI_Comm_size(world.mpi, &world.size);
    pons_bug_set_handler(abort_job);
    users = 1;
    return PONS_OK;
}

void pons_par_end(void)
{
    if (--users > 0) return;
    MPI_Comm_free(&world.mpi);
    if (mpi_is_ours) MPI_Finalize();
}

_Noreturn void pons_par_abort(int exit_code)
{
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    exit(exit_code);
}

pons_comm *pons_par_world(void) { return &world; }

MPI_Comm pons_comm_mpi(const pons_comm *comm) { return comm->mpi; }

int pons_comm_rank(const pons_comm *comm) { return comm->rank; }

int pons_comm_size(const pons_comm *comm) { return comm->size; }

pons_status pons_comm_agree(pons_comm *comm, pons_status local)
{
    struct {
        int code, rank;
    } mine = {(int)local, comm->rank}, worst; /* MAXLOC takes the lowest rank among equals */
    MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, comm->mpi);
    if (worst.code == PONS_OK || comm->size == 1) return (pons_status)worst.code;
    char text[PONS_ERROR_MESSAGE_BYTES];
    snprintf(text, sizeof text, "%s", pons_error_message());
    MPI_Bcast(text, (int)sizeof text, MPI_CHAR, worst.rank, comm->mpi);
    return pons_fail((pons_status)worst.code, "rank %d: %s", worst.rank, text);
}

void pons_comm_bcast(pons_comm *comm, void *data, size_t bytes, int root)
{
    for (char *p = data; bytes;) {
        size_t n = bytes < PIECE ? bytes : PIECE;
        MPI_Bcast(p, (int)n, MPI_BYTE, root, comm->mpi);
        p += n;
        bytes -= n;
    }
}

static void reduce(pons_comm *comm, void *x, int64_t n, size_t size, MPI_Datatype type, MPI_Op op)
{
    if (comm->size == 1) return;
    int64_t piece = PIECE / (int64_t)size;
    for (char *p = x; n > 0;) {
        int64_t k = n < piece ? n : piece;
        MPI_Allreduce(MPI_IN_PLACE, p, (int)k, type, op, comm->mpi);
        p += (size_t)k * size;
        n -= k;
    }
}

void pons_comm_sum_f64(pons_comm *comm, double *x, int64_t n)
{
    reduce(comm, x, n, sizeof *x, MPI_DOUBLE, MPI_SUM);
}

void pons_comm_max_f64(pons_comm *comm, double *x, int64_t n)
{
    reduce(comm, x, n, sizeof *x, MPI_DOUBLE, MPI_MAX);
}

void pons_comm_sum_i64(pons_comm *comm, int64_t *x, int64_t n)
{
    reduce(comm, x, n, sizeof *x, MPI_INT64_T, MPI_SUM);
}

bool pons_comm_all(pons_comm *comm, bool mine)
{
    int64_t without = !mine;
    pons_comm_sum_i64(comm, &without, 1);
    return without == 0;
}

void pons_comm_allgather_parts(pons_comm *comm, void *data, const size_t *offset)
{
    for (int r = 0; comm->size > 1 && r < comm->size; r++)
        pons_comm_bcast(comm, (char *)data + offset[r], offset[r + 1] - offset[r], r);
}

void pons_comm_send(pons_comm *comm, const void *data, size_t bytes, int to, int tag)
{
    for (const char *p = data; bytes;) {
        size_t n = bytes < PIECE ? bytes : PIECE;
        MPI_Send(p, (int)n, MPI_BYTE, to, tag, comm->mpi);
        p += n;
        bytes -= n;
    }
}

void pons_comm_recv(pons_comm *comm, void *data, size_t bytes, int from, int tag)
{
    for (char *p = data; bytes;) {
        size_t n = bytes < PIECE ? bytes : PIECE;
        MPI_Recv(p, (int)n, MPI_BYTE, from, tag, comm->mpi, MPI_STATUS_IGNORE);
        p += n;
        bytes -= n;
    }
}

void pons_comm_barrier(pons_comm *comm) { MPI_Barrier(comm->mpi); }
