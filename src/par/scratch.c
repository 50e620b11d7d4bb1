/* Owns the scratch files of a node: creation and removal. The system writes their pages back when
 * memory is short. */
#include "par/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "par/mpi_handle.h"
#include "par/shared.h"

enum { PATH_BYTES = 1100 };

static pons_status refuse(pons_comm *comm, size_t bytes, const char *what, int error)
{
    return pons_fail(PONS_ERR_IO, "layout.scratch: %s: cannot %s %zu bytes: %s",
                     pons_comm_scratch(comm), what, bytes, strerror(error));
}

static void share(MPI_Comm node, void *data, int bytes)
{
    double start = pons_comm_begin();
    if (node != MPI_COMM_NULL) MPI_Bcast(data, bytes, MPI_BYTE, 0, node);
    pons_comm_end(start);
}

/* How a process opens a file of another one. */
typedef struct handle {
    int process, fd; /* -1: no file */
    dev_t device;
    ino_t inode;
} handle;

/* Local, the node's first rank: a file that never had a name. */
static handle make_nameless(const char *directory, int *fd)
{
    struct stat s;
    *fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0) return (handle){.fd = -1};
    if (fstat(*fd, &s)) {
        close(*fd);
        *fd = -1;
        return (handle){.fd = -1};
    }
    return (handle){getpid(), *fd, s.st_dev, s.st_ino};
}

/* Local, the other ranks. In other name spaces the number is another process's: what is there tells,
 * before it is opened. */
static int open_handle(const handle *d)
{
    char path[64];
    struct stat s;
    if (d->fd < 0) return -1;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", d->process, d->fd);
    if (stat(path, &s) || s.st_dev != d->device || s.st_ino != d->inode) return -1;
    return open(path, O_RDWR | O_CLOEXEC);
}

/* A file without a name, of all ranks of each node; false, and no file, unless all nodes have it. Collective. */
static bool open_nameless(pons_comm *comm, MPI_Comm node, int rank, int *fd)
{
    handle d = {.fd = -1};
    if (rank == 0) d = make_nameless(pons_comm_scratch(comm), fd);
    share(node, &d, sizeof d);
    if (rank > 0) *fd = open_handle(&d);
    if (pons_comm_all(comm, *fd >= 0 && !pons_fault(PONS_FAULT_SCRATCH_NAME))) return true;
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return false;
}

/* A new empty file; -1 and errno. */
static int make_named(const char *directory, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/pons-scratch-XXXXXX", directory);
    return mkostemp(path, O_CLOEXEC);
}

/* A file whose name goes when all ranks of the node have it open. Collective. */
static pons_status open_named(pons_comm *comm, MPI_Comm node, int rank, size_t bytes, int *fd)
{
    char path[PATH_BYTES] = "";
    if (rank == 0) *fd = make_named(pons_comm_scratch(comm), path);
    bool named = *fd >= 0;
    pons_status st = pons_comm_agree(
        comm, rank > 0 || named ? PONS_OK : refuse(comm, bytes, "make a file of", errno));
    if (st == PONS_OK) {
        share(node, path, PATH_BYTES);
        if (rank > 0) *fd = open(path, O_RDWR | O_CLOEXEC);
        st = pons_comm_agree(comm,
                             *fd >= 0 ? PONS_OK : refuse(comm, bytes, "open the file of", errno));
    }
    if (named) unlink(path);
    return st;
}

/* Local, the node's first rank: a write into a hole of a full disk would be SIGBUS. */
static pons_status reserve(pons_comm *comm, size_t bytes, int fd)
{
    int error = pons_fault(PONS_FAULT_SCRATCH) ? ENOSPC : EINTR;
    while (error == EINTR) /* a stop signal is handled later */
        error = posix_fallocate(fd, 0, (off_t)bytes);
    return error ? refuse(comm, bytes, "reserve", error) : PONS_OK;
}

static pons_status map_file(size_t bytes, int fd, void **out)
{
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return pons_fail(PONS_ERR_NOMEM, "cannot map %zu bytes of scratch: %s", bytes,
                         strerror(errno));
    madvise(data, bytes, MADV_DONTDUMP); /* keep it out of core files */
    *out = data;
    return PONS_OK;
}

pons_status pons_scratch_map(pons_comm *comm, MPI_Comm node, size_t bytes, void **out)
{
    pons_status st = PONS_OK;
    void *data = NULL;
    int fd = -1, rank = 0;
    *out = NULL;
    if (node != MPI_COMM_NULL) MPI_Comm_rank(node, &rank);
    if (!open_nameless(comm, node, rank, &fd))
        PONS_TRY(st, open_named(comm, node, rank, bytes, &fd));
    PONS_TRY_ALL(st, comm, rank == 0 ? reserve(comm, bytes, fd) : PONS_OK);
    PONS_TRY_ALL(st, comm, map_file(bytes, fd, &data));
    *out = data;
    data = NULL;
done:
    pons_scratch_unmap(data, bytes);
    if (fd >= 0) close(fd);
    return st;
}

void pons_scratch_unmap(void *data, size_t bytes)
{
    if (data) munmap(data, bytes);
}

/* Local. Creating a file is the only reliable check. */
static pons_status check(const char *directory, const char *name)
{
    char path[PATH_BYTES] = "", host[65] = "";
    int fd, error;
    if (make_nameless(directory, &fd).fd < 0) fd = make_named(directory, path);
    error = errno;
    if (path[0] && fd >= 0) unlink(path);
    if (fd >= 0) {
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
