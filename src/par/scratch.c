/* Owns the files behind a node's blocks: their making, and that nothing remains of them. What lies in them is
 * written back by the system, which takes their pages first where memory is short. */
#include "par/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"
#include "par/mpi_handle.h"
#include "par/shared.h"

enum { PATH_BYTES = 1100 };

static pons_status refuse(const char *path, size_t bytes, const char *what, int error)
{
    return pons_fail(PONS_ERR_IO, "layout.scratch: %s: cannot %s %zu bytes: %s", path, what, bytes,
                     strerror(error));
}

/* A new empty file; -1 and errno. */
static int name_file(const char *directory, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/pons-scratch-XXXXXX", directory);
    return mkostemp(path, O_CLOEXEC);
}

/* Local, the node's first rank. */
static pons_status make_file(const char *directory, size_t bytes, char path[PATH_BYTES], int *fd)
{
    *fd = name_file(directory, path);
    return *fd >= 0 ? PONS_OK : refuse(path, bytes, "make a file of", errno);
}

/* Local, the other ranks. */
static pons_status open_file(const char *path, size_t bytes, int *fd)
{
    *fd = open(path, O_RDWR | O_CLOEXEC);
    return *fd >= 0 ? PONS_OK : refuse(path, bytes, "open the file of", errno);
}

/* Local, the node's first rank: a write into a hole of a full disk would be SIGBUS. */
static pons_status reserve(const char *path, size_t bytes, int fd)
{
    int error = pons_fault(PONS_FAULT_SCRATCH) ? ENOSPC : posix_fallocate(fd, 0, (off_t)bytes);
    return error ? refuse(path, bytes, "reserve", error) : PONS_OK;
}

static pons_status map_file(size_t bytes, int fd, void **out)
{
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return pons_fail(PONS_ERR_NOMEM, "cannot map %zu bytes of scratch: %s", bytes,
                         strerror(errno));
    madvise(data, bytes, MADV_DONTDUMP); /* a core file would not fit, either */
    *out = data;
    return PONS_OK;
}

pons_status pons_scratch_map(pons_comm *comm, MPI_Comm node, size_t bytes, void **out)
{
    pons_status st = PONS_OK;
    char path[PATH_BYTES] = "";
    void *data = NULL;
    int fd = -1, rank = 0;
    *out = NULL;
    if (node != MPI_COMM_NULL) MPI_Comm_rank(node, &rank);
    st = rank == 0 ? make_file(pons_comm_scratch(comm), bytes, path, &fd) : PONS_OK;
    bool named = fd >= 0;
    PONS_TRY_ALL(st, comm, st);
    if (node != MPI_COMM_NULL) {
        double start = pons_comm_begin();
        MPI_Bcast(path, PATH_BYTES, MPI_CHAR, 0, node);
        pons_comm_end(start);
    }
    st = pons_comm_agree(comm, rank == 0 ? PONS_OK : open_file(path, bytes, &fd));
    if (named) unlink(path);
    named = false;
    if (st != PONS_OK) goto done;
    PONS_TRY_ALL(st, comm, rank == 0 ? reserve(path, bytes, fd) : PONS_OK);
    PONS_TRY_ALL(st, comm, map_file(bytes, fd, &data));
    *out = data;
    data = NULL;
done:
    if (named) unlink(path);
    pons_scratch_unmap(data, bytes);
    if (fd >= 0) close(fd);
    return st;
}

void pons_scratch_unmap(void *data, size_t bytes)
{
    if (data) munmap(data, bytes);
}

/* Local. Only making a file shows that one can be made. */
static pons_status check(const char *directory, const char *name)
{
    char path[PATH_BYTES], host[65] = "";
    int fd = name_file(directory, path), error = errno;
    if (fd >= 0) {
        unlink(path);
        close(fd);
        return PONS_OK;
    }
    gethostname(host, sizeof host - 1);
    return pons_fail(
        PONS_ERR_CONFIG,
        "%s: found %s, allowed: a directory that this user can write to on every node (%s: %s)",
        name, directory, host, strerror(error));
}

pons_status pons_shared_use_scratch(pons_comm *comm, const char *directory, const char *name)
{
    pons_status st = PONS_OK;
    if (directory) PONS_TRY_ALL(st, comm, check(directory, name));
    pons_comm_set_scratch(comm, directory);
done:
    return st;
}
