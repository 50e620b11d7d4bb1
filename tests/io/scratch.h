/**
 * A scratch directory for one test program, and whole files written without ceremony.
 */
#ifndef PONS_TESTS_IO_SCRATCH_H
#define PONS_TESTS_IO_SCRATCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

static char scratch_directory[64];

/* cmocka group set-up and tear-down. */
static inline int scratch_begin(void **state)
{
    (void)state;
    strcpy(scratch_directory, "/tmp/pons-io-XXXXXX");
    return mkdtemp(scratch_directory) ? 0 : -1;
}

static inline int scratch_end(void **state)
{
    (void)state;
    return pons_dir_remove(scratch_directory) == PONS_OK ? 0 : -1;
}

/* SCRATCH/name; good until the fourth next call. */
static inline const char *scratch(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", scratch_directory, name);
    return path[turn];
}

static inline void spill(const char *path, const void *data, size_t bytes)
{
    unlink(path); /* a new file each time: rewriting one makes some file systems flush it */
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f)) abort();
}

/* Small generator for mutations; the tests' own, so that it does not lean on what is tested. */
static inline uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif
