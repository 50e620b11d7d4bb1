/**
 * Memory that the ranks of one node share: written once by all of them, then only read.
 */
#ifndef PONS_PAR_SHARED_H
#define PONS_PAR_SHARED_H

#include "par/comm.h"

typedef struct pons_shared pons_shared;

/**
 * One zeroed block per node (an MPI shared-memory window); a private one per rank where a node
 * holds one rank of comm, and on all nodes, with a line in the log, where one has no room for
 * shared memory (/dev/shm).
 *
 * Collective on comm. @param bytes the same on every rank
 * @return PONS_OK, PONS_ERR_NOMEM, the same on every rank.
 */
pons_status pons_shared_create(pons_comm *comm, size_t bytes, pons_shared **out);

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
