/**
 * The MPI handle behind a pons_comm, for libraries that take one (parallel HDF5). No MPI call is
 * made outside par.
 */
#ifndef PONS_PAR_MPI_HANDLE_H
#define PONS_PAR_MPI_HANDLE_H

#include <mpi.h>

#include "par/comm.h"

/** A duplicate of an MPI communicator, for ranks that work together; MPI_COMM_NULL: this process by itself, before or
 * without MPI. pons_comm_free frees it. An internal error aborts the MPI job from now on. Collective on mpi.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_USAGE when MPI was not started or has no MPI_THREAD_FUNNELED; the same on
 * every rank. */
pons_status pons_comm_adopt(MPI_Comm mpi, pons_comm **out);

/** Borrowed MPI communicator of comm; MPI_COMM_NULL for this process by itself. Local. */
MPI_Comm pons_comm_mpi(const pons_comm *comm);

/** Those ranks of comm that share this rank's node. Borrowed, kept until comm goes. Collective on
 * comm the first time; not for pons_par_alone. */
MPI_Comm pons_comm_node(pons_comm *comm);

/** Set what pons_comm_scratch returns; checks nothing. @param directory kept. Local. */
void pons_comm_set_scratch(pons_comm *comm, const char *directory);

/** Enclose communication in other files of this room, for pons_comm_set_watch. Local. */
double pons_comm_begin(void);
void pons_comm_end(double start);

#endif
