/* Agreement: the worst code and the owner's sentence reach every rank; transfers arrive whole. */
#include <string.h>

#include "support/mpi_harness.h"

static void test(pons_comm *comm)
{
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    CHECK(pons_comm_agree(comm, PONS_OK) == PONS_OK);

    pons_status mine = PONS_OK;
    if (rank == size - 1) mine = pons_fail(PONS_ERR_IO, "disk %d is full", rank);
    CHECK(pons_comm_agree(comm, mine) == PONS_ERR_IO);
    char expected[64];
    if (size > 1)
        snprintf(expected, sizeof expected, "rank %d: disk %d is full", size - 1, size - 1);
    else
        snprintf(expected, sizeof expected, "disk 0 is full");
    CHECK(!strcmp(pons_error_message(), expected));

    double x[3] = {rank + 1.0, -rank, 0.5};
    pons_comm_sum_f64(comm, x, 3);
    CHECK(x[0] == size * (size + 1) / 2.0 && x[2] == 0.5 * size);
    double m = rank;
    pons_comm_max_f64(comm, &m, 1);
    CHECK(m == size - 1);

    CHECK(pons_comm_all(comm, true) && !pons_comm_all(comm, rank > 0));

    char parts[64];
    size_t offset[65];
    memset(parts, '?', sizeof parts);
    for (int r = 0; r <= size; r++)
        offset[r] = (size_t)pons_share_begin(11, size, r);
    CHECK(offset[0] == 0 && offset[size] == 11);
    for (size_t i = offset[rank]; i < offset[rank + 1]; i++)
        parts[i] = (char)('a' + i);
    pons_comm_allgather_parts(comm, parts, offset);
    CHECK(!memcmp(parts, "abcdefghijk", 11));

    if (size > 1 && rank == 0) pons_comm_send(comm, parts, 11, size - 1, 7);
    if (size > 1 && rank == size - 1) {
        char got[11];
        pons_comm_recv(comm, got, 11, 0, 7);
        CHECK(!memcmp(got, "abcdefghijk", 11));
    }
}

/* Three transfers around the ring, all under way at once; they arrive in order. */
static void test_transfers(pons_comm *comm)
{
    enum { N = 50000, TURNS = 3 };
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    float *x = pons_mem_alloc(2 * TURNS * N, sizeof *x);
    pons_transfer in[TURNS] = {{0}}, out[TURNS] = {{0}};
    pons_comm_wait(&in[0]); /* none */
    for (int t = 0; t < TURNS; t++) {
        float *from = x + t * N, *to = x + (TURNS + t) * N;
        for (int i = 0; i < N; i++)
            from[i] = (float)(100 * rank + t);
        pons_comm_start_recv(comm, to, N, (rank + size - 1) % size, 9, &in[t]);
        pons_comm_start_send(comm, from, N, (rank + 1) % size, 9, &out[t]);
    }
    for (int t = 0; t < TURNS; t++) {
        float expected = (float)(100 * ((rank + size - 1) % size) + t);
        pons_comm_wait(&in[t]);
        pons_comm_wait(&out[t]);
        CHECK(x[(TURNS + t) * N] == expected && x[(TURNS + t + 1) * N - 1] == expected);
    }
    pons_mem_free(x);
}

/* A failure agreed on in a team, then by all: one rank is named, by its number among all. */
static void test_nested(pons_comm *comm)
{
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    pons_comm *team = NULL;
    pons_status st = PONS_OK;
    char expected[64] = "disk is full";
    CHECK(pons_comm_split(comm, rank >= size / 2, &team) == PONS_OK);
    if (rank == size - 1) st = pons_fail(PONS_ERR_IO, "disk is full");
    st = pons_comm_agree(comm, pons_comm_agree(team, st));
    CHECK(st == PONS_ERR_IO);
    if (size > 1) snprintf(expected, sizeof expected, "rank %d: disk is full", size - 1);
    CHECK(!strcmp(pons_error_message(), expected));
    pons_comm_free(&team);
}

static void test_all(pons_comm *comm)
{
    test(comm);
    test_nested(comm);
    test_transfers(comm);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test_all); }
