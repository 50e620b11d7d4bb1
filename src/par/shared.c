/* Owns blocks of memory that a node's ranks share. Does not know what is in them; files for them are
 * scratch.c's. */
#include "par/shared.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "par/mpi_handle.h"
#include "par/scratch.h"

/* Smaller blocks stay in memory. */
enum { LEAST_IN_FILE = 1 << 14 };

enum { PAGE = 2 << 20 }; /* cleared at a time */

struct pons_shared {
    void *data;
    size_t bytes;
    int rank, size;
    MPI_Comm node;   /* not owned; MPI_COMM_NULL when comm has one rank */
    MPI_Win window;  /* MPI_WIN_NULL: no window */
    void *allocated; /* private, else NULL */
    void *mapped;    /* in a file, else NULL */
};

/* Whether the node's shared memory takes the block, as its first rank sees it, with more to spare than MPI
 * asks for. Open MPI 4.1 finds out on that rank alone, which leaves with an error while the others wait for it
 * inside of MPI_Win_allocate_shared. */
static bool has_room(const pons_shared *s)
{
    enum { OVERHEAD = 1 << 20 };
    struct statvfs disk;
    int room = 1;
    if (s->rank == 0 && !statvfs("/dev/shm", &disk))
        room = disk.f_bavail * disk.f_frsize > s->bytes + s->bytes / 16 + OVERHEAD;
    if (s->rank == 0 && pons_fault(PONS_FAULT_SHARED)) room = 0;
    MPI_Bcast(&room, 1, MPI_INT, 0, s->node);
    return room;
}

/* The node's first rank gives all of it: one piece, the same for all. False where there is no room. */
static bool open_window(pons_shared *s)
{
    int unit, rc;
    if (!has_room(s)) return false;
    MPI_Aint bytes = s->rank == 0 ? (MPI_Aint)s->bytes : 0;
    MPI_Errhandler before;
    MPI_Comm_get_errhandler(s->node, &before);
    MPI_Comm_set_errhandler(s->node, MPI_ERRORS_RETURN); /* a full /dev/shm does not end the job */
    rc = MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, s->node, &s->data, &s->window);
    MPI_Comm_set_errhandler(s->node, before);
    MPI_Errhandler_free(&before);
    if (rc != MPI_SUCCESS) {
        s->window = MPI_WIN_NULL;
        return false;
    }
    MPI_Win_shared_query(s->window, 0, &bytes, &unit, &s->data);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, s->window);
    return true;
}

static void close_window(pons_shared *s)
{
    if (s->window == MPI_WIN_NULL) return;
    MPI_Win_unlock_all(s->window);
    MPI_Win_free(&s->window);
}

/* Touch every page of this rank's part, so that has_room of later blocks sees the memory as used.
 * */
static void claim(pons_shared *s)
{
    enum { LEAST_PAGE = 4096 };
    size_t first = (size_t)pons_share_begin((int64_t)s->bytes, s->size, s->rank);
    size_t last = (size_t)pons_share_begin((int64_t)s->bytes, s->size, s->rank + 1);
    for (size_t at = first; at < last; at += LEAST_PAGE)
        ((volatile char *)s->data)[at] = 0;
    pons_shared_settle(s);
}

/* In memory: of the node where all nodes can, else of each rank. Collective. */
static pons_status place_in_memory(pons_comm *comm, pons_shared *s)
{
    pons_status st = PONS_OK;
    bool room = s->size == 1 || open_window(s);
    if (!pons_comm_all(comm, room)) {
        close_window(s);
        if (pons_comm_rank(comm) == 0)
            pons_log(PONS_LOG_INFO, "a node cannot share %.0f MB: a copy per rank",
                     (double)s->bytes / 1e6);
        s->rank = 0;
        s->size = 1;
    }
    if (s->size == 1) s->data = s->allocated = pons_mem_alloc((int64_t)s->bytes, 1);
    PONS_TRY_ALL(st, comm, s->data ? PONS_OK : PONS_ERR_NOMEM);
    if (s->size > 1) claim(s);
done:
    return st;
}

pons_status pons_shared_create(pons_comm *comm, size_t bytes, pons_shared **out)
{
    pons_status st = PONS_OK;
    pons_shared *s = pons_mem_calloc(1, sizeof *s);
    *out = NULL;
    if (s) /* complete before agreement: a rank whose peer is out of memory destroys it */
        *s = (pons_shared){
            .bytes = bytes ? bytes : 1, .size = 1, .node = MPI_COMM_NULL, .window = MPI_WIN_NULL};
    PONS_TRY_ALL(st, comm, s ? PONS_OK : PONS_ERR_NOMEM);
    if (pons_comm_size(comm) > 1) {
        s->node = pons_comm_node(comm);
        MPI_Comm_rank(s->node, &s->rank);
        MPI_Comm_size(s->node, &s->size);
    }
    if (pons_comm_scratch(comm) && s->bytes >= LEAST_IN_FILE) {
        PONS_TRY(st, pons_scratch_map(comm, s->node, s->bytes, &s->mapped));
        s->data = s->mapped;
    } else {
        PONS_TRY(st, place_in_memory(comm, s));
    }
    *out = s;
    s = NULL;
done:
    pons_shared_destroy(&s);
    return st;
}

void pons_shared_destroy(pons_shared **shared)
{
    pons_shared *s = *shared;
    if (!s) return;
    close_window(s);
    pons_scratch_unmap(s->mapped, s->bytes);
    pons_mem_free(s->allocated);
    pons_mem_free(s);
    *shared = NULL;
}

/* This rank's part of a block. */
static void clear(pons_shared *s)
{
    int64_t pages = ((int64_t)s->bytes + PAGE - 1) / PAGE;
    int64_t last = pons_share_begin(pages, s->size, s->rank + 1);
#pragma omp parallel for schedule(static)
    for (int64_t k = pons_share_begin(pages, s->size, s->rank); k < last; k++) {
        size_t at = (size_t)k * PAGE, left = s->bytes - at;
        memset((char *)s->data + at, 0, left < PAGE ? left : PAGE);
    }
    pons_shared_settle(s);
}

pons_status pons_shared_create_zeroed(pons_comm *comm, size_t bytes, pons_shared **out)
{
    pons_status st = pons_shared_create(comm, bytes, out);
    if (st == PONS_OK && !(*out)->mapped) clear(*out); /* a new file is zero */
    return st;
}

void *pons_shared_data(const pons_shared *shared) { return shared->data; }

int pons_shared_rank(const pons_shared *shared) { return shared->rank; }

int pons_shared_size(const pons_shared *shared) { return shared->size; }

void pons_shared_settle(pons_shared *shared)
{
    if (shared->size == 1) return;
    bool window = shared->window != MPI_WIN_NULL;
    double start = pons_comm_begin();
    if (window) MPI_Win_sync(shared->window);
    atomic_thread_fence(memory_order_seq_cst);
    MPI_Barrier(shared->node);
    atomic_thread_fence(memory_order_seq_cst);
    if (window) MPI_Win_sync(shared->window);
    pons_comm_end(start);
}
