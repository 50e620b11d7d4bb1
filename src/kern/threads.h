/**
 * How many OpenMP threads a loop of this room may start. Internal to the room.
 */
#ifndef PONS_KERN_THREADS_H
#define PONS_KERN_THREADS_H

#include <omp.h>

/** Threads for a parallel region opened here: one when already inside a parallel region. */
static inline int pons_kern_threads(void) { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

#endif
