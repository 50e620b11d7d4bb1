/* Owns what is known about ranks that share a node. Does not start threads. */
#include "par/node.h"

#include <sched.h>

#include "par/mpi_handle.h"

static MPI_Comm node_of(pons_comm *comm)
{
    MPI_Comm node;
    MPI_Comm_split_type(pons_comm_mpi(comm), MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    return node;
}

int pons_par_ranks_on_node(pons_comm *comm)
{
    MPI_Comm node = node_of(comm);
    int ranks;
    MPI_Comm_size(node, &ranks);
    MPI_Comm_free(&node);
    return ranks;
}

int pons_par_fair_threads(pons_comm *comm)
{
    cpu_set_t own, all;
    CPU_ZERO(&own);
    if (sched_getaffinity(0, sizeof own, &own)) CPU_SET(0, &own);
    MPI_Comm node = node_of(comm);
    int ranks;
    MPI_Comm_size(node, &ranks);
    MPI_Allreduce(&own, &all, (int)sizeof own, MPI_BYTE, MPI_BOR, node);
    MPI_Comm_free(&node);
    int share = CPU_COUNT(&all) / ranks, limit = CPU_COUNT(&own);
    if (share > limit) share = limit;
    return share > 1 ? share : 1;
}
