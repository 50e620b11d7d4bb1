/**
 * A file that is written under NAME.part and renamed to NAME at commit. Private to io.
 *
 * All Local. An open part is either committed or abandoned; a failed commit has already abandoned.
 */
#ifndef PONS_IO_PART_H
#define PONS_IO_PART_H

#include <stdio.h>

#include "base/error.h"

typedef struct pons_part {
    char *path, *part; /* final and temporary name, counted memory */
    FILE *stream;
} pons_part;

/** Create (or empty a stale) `path`.part. @return PONS_ERR_IO. */
pons_status pons_part_open(const char *path, pons_part *out);

/** Append bytes. @return PONS_ERR_IO; the part stays open and must be abandoned. */
pons_status pons_part_write(pons_part *p, const void *data, size_t bytes);

/** Flush, sync, close, rename, sync the directory; on failure the .part is removed. Frees the
 * names either way. */
pons_status pons_part_commit(pons_part *p);

/** Close and remove the .part; no effect on a part that is not open. */
void pons_part_abandon(pons_part *p);

/** Sync the bytes of a closed file (or the entries of a directory) to disk. */
pons_status pons_part_sync(const char *path);

/** Sync the directory that holds `path`, so that a new or renamed entry is durable. */
pons_status pons_part_sync_parent(const char *path);

/** Rename a closed, synced file or directory and sync the directory it lies in. */
pons_status pons_part_publish(const char *part, const char *path);

#endif
