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

/** Those ranks of comm that share this rank's node. Borrowed, kept until comm goes. Collective on
 * comm the first time; not for pons_par_alone. */
MPI_Comm pons_comm_node(pons_comm *comm);

/** What pons_comm_scratch gives from now on; checks nothing. @param directory kept. Local. */
void pons_comm_set_scratch(pons_comm *comm, const char *directory);

/** Around communication elsewhere in this room, for pons_comm_set_watch. Local. */
double pons_comm_begin(void);
void pons_comm_end(double start);

#endif
