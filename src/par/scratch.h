/**
 * Blocks of a node in nameless files on its own disk. Internal to the room; pons_shared decides when.
 */
#ifndef PONS_PAR_SCRATCH_H
#define PONS_PAR_SCRATCH_H

#include <mpi.h>

#include "par/comm.h"

/**
 * Map one zeroed file per node, in pons_comm_scratch, into all of its ranks. It has no name; where a file system or the
 * ranks' name spaces know no such files, it is called pons-scratch-XXXXXX until all have opened it, before it takes room.
 *
 * Collective on comm. @param node its ranks on this node; MPI_COMM_NULL when comm has one rank
 * @return PONS_OK, PONS_ERR_IO naming directory and bytes, PONS_ERR_NOMEM, the same on every rank.
 */
pons_status pons_scratch_map(pons_comm *comm, MPI_Comm node, size_t bytes, void **out);

/** Give it back, its room on the disk with the last rank; accepts NULL. Local. */
void pons_scratch_unmap(void *data, size_t bytes);

#endif
