/**
 * Exclusive use of a directory by one process.
 *
 * A record lock (fcntl) on a file that names its holder: the kernel, or the server of a shared file
 * system, releases it when the process ends in any way. All Local: one rank of a job holds it.
 */
#ifndef PONS_IO_LOCK_H
#define PONS_IO_LOCK_H

#include "base/error.h"

typedef struct pons_lock pons_lock;

/**
 * Take the lock of `directory` (its file is named "lock").
 * @return PONS_ERR_EXISTS naming host and process that hold it; PONS_ERR_IO. Where the file system
 * has no locks a warning is logged and the directory is not protected.
 */
pons_status pons_lock_take(const char *directory, pons_lock **out);

/** Release it; its file remains. Takes the address, nulls it, accepts NULL. */
void pons_lock_release(pons_lock **lock);

#endif
