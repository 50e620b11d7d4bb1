/**
 * Checks for tests under MPI: failures are counted, added up over ranks, printed on rank 0, and
 * every rank exits alike. A failing check never leaves early, so no rank waits for another.
 */
#ifndef PONS_TESTS_MPI_HARNESS_H
#define PONS_TESTS_MPI_HARNESS_H

#include <stdio.h>

#include "base/mem.h"
#include "par/comm.h"

extern int pons_test_failures;

/** Count and print a failure with its place; goes on. Local. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            pons_test_failures++;                                                                  \
            fprintf(stderr, "rank %d: %s:%d: %s does not hold (%s)\n",                             \
                    pons_comm_rank(pons_par_world()), __FILE__, __LINE__, #cond,                   \
                    pons_error_message());                                                         \
        }                                                                                          \
    } while (0)

/** Run the test function between MPI start and stop; main returns its result. */
int pons_test_mpi_main(int argc, char **argv, void (*test)(pons_comm *comm));

#endif
