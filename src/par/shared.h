/**
 * Memory that the ranks of one node share: written once by all of them, then only read.
 */
#ifndef PONS_PAR_SHARED_H
#define PONS_PAR_SHARED_H

#include "par/comm.h"

typedef struct pons_shared pons_shared;

/**
 * Let what is created on comm, and on communicators split from it later, lie in files on the node's own disk, where
 * the system takes memory back by writing it: for matrices that are larger than a node's memory.
 *
 * Collective on comm. @param directory on every node, kept until replaced; NULL: memory again, checks nothing
 * @param name what the directory is called where it was asked for, for messages
 * @return PONS_OK, PONS_ERR_CONFIG where it is not there or cannot be written to, the same on every rank.
 */
pons_status pons_shared_use_scratch(pons_comm *comm, const char *directory, const char *name);

/**
 * One block per node, its contents undefined: an MPI shared-memory window; a private one per rank where a node
 * holds one rank of comm, and on all nodes, with a line in the log, where one has no room for
 * shared memory (/dev/shm). With a scratch directory a file there, whose name is gone and whose room is
 * reserved when this returns: nothing is left of it however the job ends, and no write fails later.
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

/** This rank among those that share the block, and their number: how to deal the writing. Local. */
int pons_shared_rank(const pons_shared *shared);
int pons_shared_size(const pons_shared *shared);

/** Make every rank's writes visible to the whole node. Collective on the ranks that share. */
void pons_shared_settle(pons_shared *shared);

#endif
