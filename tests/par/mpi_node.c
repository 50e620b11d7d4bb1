/* Sharing a node: all ranks of these tests run on one, and agree on how its cores are dealt. */
#include "par/node.h"

#include <sched.h>

#include "support/mpi_harness.h"

static void test(pons_comm *comm)
{
    CHECK(pons_par_ranks_on_node(comm) == pons_comm_size(comm));

    cpu_set_t own;
    CHECK(sched_getaffinity(0, sizeof own, &own) == 0);
    int cores = CPU_COUNT(&own), threads = pons_par_fair_threads(comm);
    CHECK(threads >= 1 && threads <= cores);
    /* unbound ranks all see the same cores and get the whole of them between them */
    if (pons_comm_size(comm) == 1) CHECK(threads == cores);
    CHECK(threads == 1 || threads * pons_comm_size(comm) <= cores);
}

/* Ranks bound to one core each: every rank may run one thread, however many ranks there are. */
static void test_bound(pons_comm *comm)
{
    cpu_set_t before, one;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    int cores = CPU_COUNT(&before), wanted = pons_comm_rank(comm) % cores, seen = 0;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &before) && seen++ == wanted) CPU_SET(i, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(pons_par_fair_threads(comm) == 1);
    CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
}

static void test_all(pons_comm *comm)
{
    test(comm);
    pons_comm_barrier(comm);
    test_bound(comm);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test_all); }
