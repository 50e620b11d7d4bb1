/**
 * Communicators and the few collective patterns Pons needs. The only room that calls MPI.
 *
 * MPI errors abort the whole job (MPI_ERRORS_ARE_FATAL): without fault-tolerant MPI no rank could
 * continue, and recovery is from files. So these functions return no status; local failures are
 * agreed on with pons_comm_agree. Byte counts may exceed INT_MAX: long transfers are split.
 */
#ifndef PONS_PAR_COMM_H
#define PONS_PAR_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/** A group of ranks. Opaque. */
typedef struct pons_comm pons_comm;

/** Start MPI unless the program has (works under mpirun, srun or alone) and install the abort
 * handler of pons_bug. May be nested. Collective on the job. */
pons_status pons_par_begin(int *argc, char ***argv);

/** Undo one pons_par_begin, or do nothing where there was none; the last one stops MPI if the first one started it. Collective on the
 * job; every rank must come here, or one must call pons_par_abort. */
void pons_par_end(void);

/** Abort the job from one rank, with this exit code; for failures that cannot be agreed on.
 */
_Noreturn void pons_par_abort(int exit_code);

/** All ranks of the job. Borrowed. Local. */
pons_comm *pons_par_world(void);

/** A communicator of this rank alone; usable before MPI starts, and every function below is then
 * Local. Borrowed.
 * Local. */
pons_comm *pons_par_alone(void);

/** Split comm into the ranks that pass the same `team` (at least 0), in their order in comm.
 * Collective on
 * comm. @return PONS_OK, PONS_ERR_NOMEM, the same on every rank. */
pons_status pons_comm_split(pons_comm *comm, int team, pons_comm **out);

/** Free a communicator made by pons_comm_split; takes the address, nulls it, accepts NULL.
 * Collective on it. */
void pons_comm_free(pons_comm **comm);

/** Directory on each node's local disk for the memory that its ranks share (par/shared.h),
 * inherited by splits; NULL: memory.
 * Borrowed. Local. */
const char *pons_comm_scratch(const pons_comm *comm);

/** This rank in [0, size). Local. */
int pons_comm_rank(const pons_comm *comm);

/** Number of ranks. Local. */
int pons_comm_size(const pons_comm *comm);

/**
 * Agree on a status: every rank returns the worst code, and every rank's error message becomes the
 * one of the lowest rank that failed with it.
 *
 * Collective on comm; must be reached by all ranks before any of them leaves. With more than one
 * rank the message is prefixed "rank R: ", once: R is the rank in the communicator that this one was split from. Cost: one all-reduce of 8 bytes when all is well.
 */
pons_status pons_comm_agree(pons_comm *comm, pons_status local);

/** Evaluate a Local expression, agree on it, and leave through `done:` on every rank when it failed
 * on any. Collective. */
#define PONS_TRY_ALL(st, comm, expr)                                                               \
    do {                                                                                           \
        (st) = pons_comm_agree((comm), (expr));                                                    \
        if ((st) != PONS_OK) goto done;                                                            \
    } while (0)

/** Copy `bytes` bytes at `data` from `root` to every rank. Collective. */
void pons_comm_bcast(pons_comm *comm, void *data, size_t bytes, int root);

/** x[i] <- sum over ranks, in place. Bits depend on the ranks unless the sums are exact (hessian/
 * makes them so). Collective. */
void pons_comm_sum_f64(pons_comm *comm, double *x, int64_t n);

/** x[i] <- maximum over ranks, in place. Collective. */
void pons_comm_max_f64(pons_comm *comm, double *x, int64_t n);

/** x[i] <- sum over ranks, in place. Collective. */
void pons_comm_sum_i64(pons_comm *comm, int64_t *x, int64_t n);

/** Whether `mine` is true on every rank. Collective. */
bool pons_comm_all(pons_comm *comm, bool mine);

/**
 * Gather the parts of a buffer, one filled by each rank, on all ranks.
 *
 * Collective. @param data whole buffer; rank r has filled bytes [offset[r], offset[r + 1])
 * @param offset [size + 1] ascending byte offsets, the same on every rank.
 */
void pons_comm_allgather_parts(pons_comm *comm, void *data, const size_t *offset);

/** Send bytes to rank `to`, matched by pons_comm_recv there with the same tag. Blocking. Point to
 * point. */
void pons_comm_send(pons_comm *comm, const void *data, size_t bytes, int to, int tag);

/** Receive bytes from rank `from`. Blocking. Point to point. */
void pons_comm_recv(pons_comm *comm, void *data, size_t bytes, int from, int tag);

/** A pending transfer; none when zero-initialised. */
typedef struct pons_transfer {
    void *request; /* of MPI; NULL: none */
} pons_transfer;

/** Start sending n floats, which must not change until pons_comm_wait. Point to point,
 * non-blocking.
 */
void pons_comm_start_send(pons_comm *comm, const float *x, int64_t n, int to, int tag,
                          pons_transfer *transfer);

/** Start receiving n floats. Point to point, non-blocking. */
void pons_comm_start_recv(pons_comm *comm, float *x, int64_t n, int from, int tag,
                          pons_transfer *transfer);

/** Wait for a transfer; no effect when there is none. */
void pons_comm_wait(pons_transfer *transfer);

/** Called after every communication above, with its start and end (pons_clock) on this rank. */
typedef void (*pons_comm_watch)(void *user, double start, double end);

/** Watch the communication of the calling thread's owner (base/hooks.h); NULL ends it. Local. */
void pons_comm_set_watch(pons_comm_watch watch, void *user);

/** Wait for all ranks. Collective. */
void pons_comm_barrier(pons_comm *comm);

/** First index of the contiguous share of rank r when n items are distributed over `size` ranks;
 * share r is [begin(r), begin(r + 1)). Local. */
static inline int64_t pons_share_begin(int64_t n, int size, int r)
{
    int64_t base = n / size, extra = n % size;
    return base * r + (r < extra ? r : extra);
}

#endif
