/**
 * Memory blocks of a node in anonymous files on its local disk. Internal to the room; used by
 * pons_shared.
 */
#ifndef PONS_PAR_SCRATCH_H
#define PONS_PAR_SCRATCH_H

#include <mpi.h>

#include "par/comm.h"

/**
 * Map one zeroed file per node, in pons_comm_scratch, into all of its ranks. The file is anonymous
 * (O_TMPFILE); where the file system or the ranks' name spaces do not allow that, it is named
 * pons-scratch-XXXXXX until all ranks have opened it, while it is still empty.
 *
 * Collective on comm. @param node its ranks on this node; MPI_COMM_NULL when comm has one rank
 * @return PONS_OK, PONS_ERR_IO naming directory and bytes, PONS_ERR_NOMEM, the same on every rank.
 */
pons_status pons_scratch_map(pons_comm *comm, MPI_Comm node, size_t bytes, void **out);

/** Unmap it; its disk space is released with the last rank. Accepts NULL. Local. */
void pons_scratch_unmap(void *data, size_t bytes);

#endif
