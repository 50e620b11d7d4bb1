/**
 * The MPI handle behind a pons_comm, for libraries that take one (parallel HDF5). No MPI call is
 * made outside par.
 */
#ifndef PONS_PAR_MPI_HANDLE_H
#define PONS_PAR_MPI_HANDLE_H

#include <mpi.h>

#include "par/comm.h"

/** Borrowed MPI communicator of comm. Local. */
MPI_Comm pons_comm_mpi(const pons_comm *comm);

#endif
