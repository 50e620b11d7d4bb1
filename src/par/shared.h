/**
 * Memory shared by the ranks of a node: written once by all of them, then read only.
 */
#ifndef PONS_PAR_SHARED_H
#define PONS_PAR_SHARED_H

#include "par/comm.h"

typedef struct pons_shared pons_shared;

/**
 * Put shared memory created on comm, and on communicators split from it later, into files on the
 * node's local disk, so that the system can write pages back: for matrices larger than a node's
 * memory.
 *
 * Collective on comm. @param directory on every node, kept until replaced; NULL: memory again, checks nothing
 * @param name the name of the setting, for messages
 * @return PONS_OK, PONS_ERR_CONFIG where it does not exist or cannot be written, the same on every
 * rank.
 */
pons_status pons_shared_use_scratch(pons_comm *comm, const char *directory, const char *name);

/**
 * One block per node, its contents undefined: an MPI shared-memory window; private memory of each
 * rank where a node holds one rank of comm, and on all nodes, with a warning, where one of them
 * lacks shared memory (/dev/shm). With a scratch directory, an anonymous file there whose space is
 * reserved when this returns: nothing survives the job, and no later write fails.
 * Blocks below 16 KiB stay in memory.
 *
 * Collective on comm. @param bytes the same on every rank
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO where the scratch directory has no room, the same on every rank.
 */
pons_status pons_shared_create(pons_comm *comm, size_t bytes, pons_shared **out);

/** The same, all zero. Collective on comm; parallel. */
pons_status pons_shared_create_zeroed(pons_comm *comm, size_t bytes, pons_shared **out);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of its creation. */
void pons_shared_destroy(pons_shared **shared);

/** The block, 64-byte aligned. Borrowed. Local. */
void *pons_shared_data(const pons_shared *shared);

/** This rank among those that share the block, and their number, to divide the writing. Local. */
int pons_shared_rank(const pons_shared *shared);
int pons_shared_size(const pons_shared *shared);

/** Make the writes of every rank visible on the node. Collective on the ranks that share. */
void pons_shared_settle(pons_shared *shared);

#endif
