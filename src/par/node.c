/* Owns what is known about ranks that share a node. Does not start threads. */
#include "par/node.h"

#include <sched.h>

#include "par/mpi_handle.h"

int pons_par_ranks_on_node(pons_comm *comm)
{
    int ranks;
    if (pons_comm_mpi(comm) == MPI_COMM_NULL) return 1;
    MPI_Comm_size(pons_comm_node(comm), &ranks);
    return ranks;
}

int pons_par_fair_threads(pons_comm *comm)
{
    cpu_set_t own, all;
    CPU_ZERO(&own);
    if (sched_getaffinity(0, sizeof own, &own)) CPU_SET(0, &own);
    int ranks = pons_par_ranks_on_node(comm);
    all = own;
    if (ranks > 1)
        MPI_Allreduce(&own, &all, (int)sizeof own, MPI_BYTE, MPI_BOR, pons_comm_node(comm));
    int share = CPU_COUNT(&all) / ranks, limit = CPU_COUNT(&own);
    if (share > limit) share = limit;
    return share > 1 ? share : 1;
}
