/* Owns communicators and their collectives. Every MPI call of the program is in this room. */
#include "par/comm.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hooks.h"
#include "base/log.h"
#include "base/mem.h"
#include "par/mpi_handle.h"

struct pons_comm {
    MPI_Comm mpi;
    MPI_Comm node; /* of those ranks that share this one's node; MPI_COMM_NULL until asked for */
    int rank, size;
    const char *scratch; /* not owned; NULL: none */
    int job_rank; /* this rank in the communicator that this one was split from, first of all */
};

static struct pons_comm world;
static struct pons_comm alone = {MPI_COMM_NULL, MPI_COMM_NULL, 0, 1, NULL, 0};
static int users;        /* calls of pons_par_begin not yet ended */
static bool mpi_is_ours; /* started here, so ended here */

void pons_comm_set_watch(pons_comm_watch function, void *user)
{
    pons_hooks *hooks = pons_hooks_current();
    hooks->watch = function;
    hooks->watch_user = user;
}

double pons_comm_begin(void) { return pons_hooks_current()->watch ? pons_clock() : 0; }

void pons_comm_end(double start)
{
    const pons_hooks *hooks = pons_hooks_current();
    if (hooks->watch) hooks->watch(hooks->watch_user, start, pons_clock());
}

/* One piece of a long transfer; MPI 3.1 counts are int. */
enum { PIECE = 1 << 28 };

static void abort_job(void) { pons_par_abort(1); }

static void measure(pons_comm *comm)
{
    comm->node = MPI_COMM_NULL;
    MPI_Comm_rank(comm->mpi, &comm->rank);
    MPI_Comm_size(comm->mpi, &comm->size);
    comm->job_rank = comm->rank;
}

static void release(pons_comm *comm)
{
    if (comm->node != MPI_COMM_NULL) MPI_Comm_free(&comm->node);
    MPI_Comm_free(&comm->mpi);
}

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
    if (provided < MPI_THREAD_FUNNELED) {
        if (!started) MPI_Finalize();
        return pons_fail(PONS_ERR_MPI, "this MPI library has no MPI_THREAD_FUNNELED");
    }
    mpi_is_ours = !started;
    MPI_Comm_dup(MPI_COMM_WORLD, &world.mpi);
    measure(&world);
    pons_bug_set_handler(abort_job);
    users = 1;
    return PONS_OK;
}

void pons_par_end(void)
{
    if (users == 0 || --users > 0) return;
    release(&world);
    if (mpi_is_ours) MPI_Finalize();
}

_Noreturn void pons_par_abort(int exit_code)
{
    int started;
    MPI_Initialized(&started);
    if (started) MPI_Abort(MPI_COMM_WORLD, exit_code);
    exit(exit_code);
}

pons_comm *pons_par_world(void) { return &world; }

pons_comm *pons_par_alone(void) { return &alone; }

pons_status pons_comm_adopt(MPI_Comm mpi, pons_comm **out)
{
    int started, provided, good;
    *out = NULL;
    if (mpi != MPI_COMM_NULL) {
        MPI_Initialized(&started);
        if (!started)
            return pons_fail(PONS_ERR_USAGE, "MPI was not started before its communicator is used");
        MPI_Query_thread(&provided);
        if (provided < MPI_THREAD_FUNNELED)
            return pons_fail(PONS_ERR_USAGE, "MPI was started without MPI_THREAD_FUNNELED");
    }
    pons_comm *c = pons_mem_calloc(1, sizeof *c);
    good = c != NULL;
    if (mpi != MPI_COMM_NULL) MPI_Allreduce(MPI_IN_PLACE, &good, 1, MPI_INT, MPI_MIN, mpi);
    if (!good) {
        pons_mem_free(c);
        return pons_fail(PONS_ERR_NOMEM, "out of memory for a communicator");
    }
    *c = alone;
    if (mpi != MPI_COMM_NULL) {
        MPI_Comm_dup(mpi, &c->mpi);
        measure(c);
        pons_bug_set_handler(abort_job);
    }
    *out = c;
    return PONS_OK;
}

pons_status pons_comm_split(pons_comm *comm, int team, pons_comm **out)
{
    pons_status st = PONS_OK;
    pons_comm *c = pons_mem_calloc(1, sizeof *c);
    *out = NULL;
    PONS_TRY_ALL(st, comm, c ? PONS_OK : PONS_ERR_NOMEM);
    *c = alone;
    if (comm->mpi != MPI_COMM_NULL) {
        MPI_Comm_split(comm->mpi, team, comm->rank, &c->mpi);
        measure(c);
        c->scratch = comm->scratch;
        c->job_rank = comm->job_rank;
    }
    *out = c;
    c = NULL;
done:
    pons_mem_free(c);
    return st;
}

void pons_comm_free(pons_comm **comm)
{
    if (!*comm) return;
    if ((*comm)->mpi != MPI_COMM_NULL) release(*comm);
    pons_mem_free(*comm);
    *comm = NULL;
}

MPI_Comm pons_comm_mpi(const pons_comm *comm) { return comm->mpi; }

MPI_Comm pons_comm_node(pons_comm *comm)
{
    if (comm->node == MPI_COMM_NULL)
        MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &comm->node);
    return comm->node;
}

void pons_comm_set_scratch(pons_comm *comm, const char *directory) { comm->scratch = directory; }

const char *pons_comm_scratch(const pons_comm *comm) { return comm->scratch; }

int pons_comm_rank(const pons_comm *comm) { return comm->rank; }

int pons_comm_size(const pons_comm *comm) { return comm->size; }

pons_status pons_comm_agree(pons_comm *comm, pons_status local)
{
    struct {
        int code, rank;
    } mine = {(int)local, comm->rank}, worst; /* MAXLOC takes the lowest rank among equals */
    if (comm->size == 1) return local;
    double start = pons_comm_begin();
    MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, comm->mpi);
    pons_comm_end(start);
    if (worst.code == PONS_OK) return PONS_OK;
    char text[PONS_ERROR_MESSAGE_BYTES + 16];
    const char *message = pons_error_message();
    int number, prefix = 0; /* of a message that some ranks have agreed on already */
    sscanf(message, "rank %d: %n", &number, &prefix);
    if (prefix > 0)
        snprintf(text, sizeof text, "%s", message);
    else
        snprintf(text, sizeof text, "rank %d: %s", comm->job_rank, message);
    MPI_Bcast(text, (int)sizeof text, MPI_CHAR, worst.rank, comm->mpi);
    return pons_fail((pons_status)worst.code, "%s", text);
}

void pons_comm_bcast(pons_comm *comm, void *data, size_t bytes, int root)
{
    if (comm->size == 1) return;
    double start = pons_comm_begin();
    for (char *p = data; bytes;) {
        size_t n = bytes < PIECE ? bytes : PIECE;
        MPI_Bcast(p, (int)n, MPI_BYTE, root, comm->mpi);
        p += n;
        bytes -= n;
    }
    pons_comm_end(start);
}

static void reduce(pons_comm *comm, void *x, int64_t n, size_t size, MPI_Datatype type, MPI_Op op)
{
    if (comm->size == 1) return;
    int64_t piece = PIECE / (int64_t)size;
    double start = pons_comm_begin();
    for (char *p = x; n > 0;) {
        int64_t k = n < piece ? n : piece;
        MPI_Allreduce(MPI_IN_PLACE, p, (int)k, type, op, comm->mpi);
        p += (size_t)k * size;
        n -= k;
    }
    pons_comm_end(start);
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
    for (int r = 0; r < comm->size; r++)
        pons_comm_bcast(comm, (char *)data + offset[r], offset[r + 1] - offset[r], r);
}

void pons_comm_send(pons_comm *comm, const void *data, size_t bytes, int to, int tag)
{
    double start = pons_comm_begin();
    for (const char *p = data; bytes;) {
        size_t n = bytes < PIECE ? bytes : PIECE;
        MPI_Send(p, (int)n, MPI_BYTE, to, tag, comm->mpi);
        p += n;
        bytes -= n;
    }
    pons_comm_end(start);
}

void pons_comm_recv(pons_comm *comm, void *data, size_t bytes, int from, int tag)
{
    double start = pons_comm_begin();
    for (char *p = data; bytes;) {
        size_t n = bytes < PIECE ? bytes : PIECE;
        MPI_Recv(p, (int)n, MPI_BYTE, from, tag, comm->mpi, MPI_STATUS_IGNORE);
        p += n;
        bytes -= n;
    }
    pons_comm_end(start);
}

_Static_assert(sizeof(MPI_Request) <= sizeof(void *), "a request lies in pons_transfer");

void pons_comm_start_send(pons_comm *comm, const float *x, int64_t n, int to, int tag,
                          pons_transfer *transfer)
{
    MPI_Request request;
    PONS_ASSERT(n <= INT_MAX);
    MPI_Isend(x, (int)n, MPI_FLOAT, to, tag, comm->mpi, &request);
    memcpy(&transfer->request, &request, sizeof request);
}

void pons_comm_start_recv(pons_comm *comm, float *x, int64_t n, int from, int tag,
                          pons_transfer *transfer)
{
    MPI_Request request;
    PONS_ASSERT(n <= INT_MAX);
    MPI_Irecv(x, (int)n, MPI_FLOAT, from, tag, comm->mpi, &request);
    memcpy(&transfer->request, &request, sizeof request);
}

void pons_comm_wait(pons_transfer *transfer)
{
    MPI_Request request;
    if (!transfer->request) return;
    memcpy(&request, &transfer->request, sizeof request);
    double start = pons_comm_begin();
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    pons_comm_end(start);
    transfer->request = NULL;
}

void pons_comm_barrier(pons_comm *comm)
{
    if (comm->size == 1) return;
    double start = pons_comm_begin();
    MPI_Barrier(comm->mpi);
    pons_comm_end(start);
}
