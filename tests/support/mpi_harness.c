#include "support/mpi_harness.h"

int pons_test_failures = 0;

int pons_test_mpi_main(int argc, char **argv, void (*test)(pons_comm *comm))
{
    if (pons_par_begin(&argc, &argv) != PONS_OK) return 1;
    pons_comm *comm = pons_par_world();
    test(comm);
    int64_t blocks = pons_mem_outstanding();
    CHECK(blocks == 0);
    int64_t failures = pons_test_failures;
    pons_comm_sum_i64(comm, &failures, 1);
    if (pons_comm_rank(comm) == 0)
        printf("%s, %d ranks: %lld failures\n", argv[0], pons_comm_size(comm), (long long)failures);
    pons_par_end();
    return failures != 0;
}
