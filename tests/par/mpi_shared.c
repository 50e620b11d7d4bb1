/* Memory shared on a node: starts as zeros, every rank's part is seen by all; teams of ranks. */
#include "par/shared.h"

#include "support/mpi_harness.h"

enum { N = 100003 };

static void test_shared(pons_comm *comm)
{
    pons_shared *s = NULL;
    CHECK(pons_shared_create_zeroed(comm, N * sizeof(int), &s) == PONS_OK);
    int *x = pons_shared_data(s), rank = pons_shared_rank(s), size = pons_shared_size(s);
    CHECK(size == pons_comm_size(comm)); /* the tests run on one node */
    int wrong = 0;
    for (int i = 0; i < N; i++)
        wrong += x[i] != 0;
    pons_shared_settle(s); /* all have looked */
    for (int i = rank; i < N; i += size)
        x[i] = i + 1;
    pons_shared_settle(s);
    for (int i = 0; i < N; i++)
        wrong += x[i] != i + 1;
    CHECK(wrong == 0);
    pons_shared_destroy(&s);
    CHECK(s == NULL);
    pons_shared_destroy(&s);
}

static void test_split(pons_comm *comm)
{
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    pons_comm *team = NULL;
    CHECK(pons_comm_split(comm, rank % 2, &team) == PONS_OK);
    CHECK(pons_comm_rank(team) == rank / 2);
    CHECK(pons_comm_size(team) == (size + 1 - rank % 2) / 2);
    int64_t sum = rank;
    pons_comm_sum_i64(team, &sum, 1);
    int64_t expected = 0;
    for (int r = rank % 2; r < size; r += 2)
        expected += r;
    CHECK(sum == expected);
    test_shared(team);
    pons_comm_free(&team);
    CHECK(team == NULL);

    double x = 3;
    pons_comm *alone = pons_par_alone();
    pons_comm_sum_f64(alone, &x, 1);
    CHECK(x == 3 && pons_comm_size(alone) == 1 && pons_comm_agree(alone, PONS_OK) == PONS_OK);
}

static void test(pons_comm *comm)
{
    test_shared(comm);
    test_split(comm);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
