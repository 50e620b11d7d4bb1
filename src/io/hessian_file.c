/* Owns writing the Hessians of a block with all ranks: collective HDF5 calls, and the appearance of the
 * file under its name. The content does not depend on the number of ranks. Reading is in
 * hessian_read.c.
 *
 * Every collective call is prepared by each rank for itself, the preparations are agreed on, then all
 * ranks enter it (settle). A call that only some ranks come out of well leaves a file that neither they nor
 * the others can close: they end the job, and what was committed before stays.
 *
 * Disk space is reserved before it is written: when a write inside MPI's collective file layer
 * fails, that layer may report success or leave ranks waiting for each other (seen with Open MPI
 * 4.1.4), so that the one failure to be expected, a full disk, must be met outside of it. */
#include "io/hessian_file.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/hdf5_error.h"
#include "io/hessian_digest.h"
#include "io/part.h"
#include "par/mpi_handle.h"

/* A chunk is some whole rows and the unit of the checksum. HDF5 copies all chunks of one call, so a
 * call takes few. */
enum { CHUNK_BYTES = 4 << 20, CHUNKS_PER_CALL = 16 };

/* Room for the metadata of one group: headers and the index of up to some thousand chunks. */
enum { METADATA_BYTES = 1 << 20 };

struct pons_hessian_file {
    pons_comm *comm;
    char *path, *part;
    hid_t file;
    int64_t reserved;   /* bytes that the disk has promised */
    pons_status failed; /* of an earlier write; the same on every rank */
};

/* A whole matrix [rows, columns], or a vector when ndim is 1. */
typedef struct matrix {
    const char *name;
    const double *data;
    int ndim;
    int64_t rows, columns, chunk_rows;
} matrix;

/* Open MPI guards a file that one node's ranks open by a semaphore of the file's name. Rank 0 makes, takes and
 * gives it, then removes the name: a job that is killed in between leaves it taken, and the next one would wait
 * for it for ever. No job that has it open minds its name going. */
static pons_status forget_semaphore(const char *part)
{
    char name[252];
    const char *slash = strrchr(part, '/');
    snprintf(name, sizeof name, "OMPIO_%s", slash ? slash + 1 : part);
    if (!sem_unlink(name) || (errno != EACCES && errno != EPERM)) return PONS_OK;
    return pons_fail_errno(PONS_ERR_IO, errno,
                           "cannot create %s: another user's job left /dev/shm/sem.%s", part, name);
}

/* Rank 0 tries the name first: a plain errno says more than the MPI file layer, which may also
 * behave differently from rank to rank. Collective. */
static pons_status try_name(pons_comm *comm, const char *part)
{
    pons_status st = PONS_OK;
    if (pons_comm_rank(comm) == 0) {
        if ((st = forget_semaphore(part)) == PONS_OK) {
            int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
            if (fd < 0)
                st = pons_fail_errno(PONS_ERR_IO, errno, "cannot create %s", part);
            else
                close(fd);
        }
    }
    return pons_comm_agree(comm, st);
}

/* Make the disk promise `bytes` more for the file; HDF5 cuts off what it does not use. Collective.
 */
static pons_status reserve(pons_hessian_file *f, int64_t bytes)
{
    pons_status st = PONS_OK;
    f->reserved += bytes;
    if (pons_comm_rank(f->comm) == 0) {
        struct statvfs disk;
        int fd = open(f->part, O_WRONLY | O_CLOEXEC);
        int cause = fd < 0 ? errno : 0;
        while (fd >= 0 && (cause = fallocate(fd, 0, 0, f->reserved) ? errno : 0) == EINTR)
            ;                    /* a signal, as a long reservation may get from the batch system */
        if (cause == EOPNOTSUPP) /* then the free space must do */
            cause = fstatvfs(fd, &disk)                               ? errno
                    : disk.f_bavail < (uint64_t)bytes / disk.f_frsize ? ENOSPC
                                                                      : 0;
        if (fd >= 0) close(fd);
        if (cause)
            st = pons_fail_errno(PONS_ERR_IO, cause, "cannot reserve %lld bytes for %s",
                                 (long long)f->reserved, f->part);
    }
    return pons_comm_agree(f->comm, st);
}

/* After a collective call of HDF5: what it came to on this rank becomes what all ranks return; ranks
 * that disagree cannot go on together. Collective. */
static pons_status settle(const pons_hessian_file *f, bool good, const char *what)
{
    pons_status st = good ? PONS_OK : pons_hdf5_fail(PONS_ERR_IO, f->part, what);
    bool all = pons_comm_all(f->comm, good), none = pons_comm_all(f->comm, !good);
    if (!all && !none && !good) {
        pons_log(PONS_LOG_ERROR, "%s; other ranks have the file open", pons_error_message());
        pons_par_abort(pons_status_exit_code(st));
    }
    if (!all && !none) pons_comm_barrier(f->comm); /* wait for the end */
    return st;
}

/* A new file of all ranks. Collective. */
static pons_status create_file(pons_hessian_file *f)
{
    pons_status st;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    MPI_Comm mpi = pons_comm_mpi(f->comm);
    bool ready = access >= 0;
    if (ready && mpi != MPI_COMM_NULL) /* duplicates the communicator: every rank takes part */
        ready = H5Pset_fapl_mpio(access, mpi, MPI_INFO_NULL) >= 0 &&
                H5Pset_all_coll_metadata_ops(access, true) >= 0 &&
                H5Pset_coll_metadata_write(access, true) >= 0;
    ready = ready && !pons_fault(PONS_FAULT_HESSIANS_CREATE);
    PONS_TRY_ALL(st, f->comm,
                 ready ? PONS_OK : pons_hdf5_fail(PONS_ERR_IO, f->part, "cannot create"));
    f->file = H5Fcreate(f->part, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    st = settle(f, f->file >= 0, "cannot create");
done:
    if (access >= 0) H5Pclose(access);
    return st;
}

/* A scalar attribute; every rank writes the same value. Collective. */
static pons_status put_attribute(const pons_hessian_file *f, hid_t object, const char *name,
                                 hid_t type, const void *value)
{
    pons_status st;
    hid_t space = H5Screate(H5S_SCALAR), attribute = H5I_INVALID_HID;
    PONS_TRY_ALL(st, f->comm,
                 space >= 0 ? PONS_OK
                            : pons_hdf5_fail(PONS_ERR_IO, f->part, "cannot prepare an attribute"));
    attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    st = settle(f, attribute >= 0 && H5Awrite(attribute, type, value) >= 0,
                "cannot write an attribute");
done:
    if (attribute >= 0) H5Aclose(attribute);
    if (space >= 0) H5Sclose(space);
    return st;
}

static pons_status put_attributes(const pons_hessian_file *f, const pons_hessian_attributes *a)
{
    pons_status st;
    hid_t text = H5Tcopy(H5T_C_S1);
    bool ready = text >= 0 && H5Tset_size(text, strlen(a->fingerprint) + 1) >= 0;
    PONS_TRY_ALL(st, f->comm,
                 ready ? PONS_OK : pons_hdf5_fail(PONS_ERR_IO, f->part, "cannot make a text type"));
    PONS_TRY(st, put_attribute(f, f->file, "windows", H5T_STD_I64LE, &a->windows));
    PONS_TRY(st, put_attribute(f, f->file, "tokens", H5T_STD_I64LE, &a->tokens));
    PONS_TRY(st, put_attribute(f, f->file, "wave", H5T_STD_I64LE, &a->wave));
    PONS_TRY(st, put_attribute(f, f->file, "damping", H5T_IEEE_F64LE, &a->damping));
    PONS_TRY(st, put_attribute(f, f->file, "fingerprint", text, a->fingerprint));
done:
    if (text >= 0) H5Tclose(text);
    return st;
}

static void destroy(pons_hessian_file **file)
{
    pons_mem_free((*file)->path);
    pons_mem_free((*file)->part);
    pons_mem_free(*file);
    *file = NULL;
}

pons_status pons_hessian_file_create(pons_comm *comm, const char *path,
                                     const pons_hessian_attributes *attributes,
                                     pons_hessian_file **out)
{
    pons_status st = PONS_OK;
    pons_hessian_file *f = pons_mem_calloc(1, sizeof *f);
    if (f) {
        f->comm = comm;
        f->file = H5I_INVALID_HID;
        f->path = pons_mem_strdup(path);
        f->part = pons_mem_printf("%s.part", path);
    }
    PONS_TRY_ALL(st, comm, f && f->path && f->part ? PONS_OK : PONS_ERR_NOMEM);
    pons_hdf5_quiet();
    PONS_TRY(st, try_name(comm, f->part));
    PONS_TRY(st, create_file(f));
    PONS_TRY(st, reserve(f, METADATA_BYTES));
    PONS_TRY(st, put_attributes(f, attributes));
    *out = f;
    return PONS_OK;
done:
    if (f && f->file >= 0) {
        pons_hessian_file_abandon(&f);
    } else if (f) {
        if (pons_comm_rank(comm) == 0 && f->part) unlink(f->part);
        destroy(&f);
    }
    return st;
}

/* An empty dataset with its digest. Collective. */
static pons_status create_dataset(const pons_hessian_file *f, hid_t group, const matrix *m,
                                  hid_t *out)
{
    pons_status st;
    hsize_t dims[2] = {(hsize_t)m->rows, (hsize_t)m->columns},
            chunk[2] = {(hsize_t)m->chunk_rows, (hsize_t)m->columns};
    uint64_t digest = pons_hessian_digest(m->data, m->rows * m->columns);
    hid_t space = H5Screate_simple(m->ndim, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
    bool ready = space >= 0 && list >= 0 && H5Pset_chunk(list, m->ndim, chunk) >= 0 &&
                 H5Pset_fletcher32(list) >= 0 && H5Pset_fill_time(list, H5D_FILL_TIME_NEVER) >= 0 &&
                 H5Pset_obj_track_times(list, false) >= 0;
    PONS_TRY_ALL(st, f->comm,
                 ready ? PONS_OK
                       : pons_hdf5_fail(PONS_ERR_IO, f->part, "cannot prepare a dataset"));
    *out = H5Dcreate2(group, m->name, H5T_IEEE_F64LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
    PONS_TRY(st, settle(f, *out >= 0, "cannot create a dataset"));
    PONS_TRY(st, put_attribute(f, *out, "digest", H5T_STD_U64LE, &digest));
done:
    if (list >= 0) H5Pclose(list);
    if (space >= 0) H5Sclose(space);
    return st;
}

/* Select rows [begin, end), maybe none, of the file and as many elements in memory. */
static bool select_rows(const matrix *m, int64_t begin, int64_t end, hid_t in_file,
                        hid_t *in_memory)
{
    hsize_t start[2] = {(hsize_t)begin, 0},
            count[2] = {(hsize_t)(end - begin), (hsize_t)m->columns},
            elements = count[0] * count[1];
    *in_memory = elements ? H5Screate_simple(1, &elements, NULL) : H5Screate(H5S_NULL);
    if (*in_memory < 0) return false;
    return (elements ? H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL)
                     : H5Sselect_none(in_file)) >= 0;
}

/* Rows [begin, end) of this rank, in one collective call. Collective. */
static pons_status write_rows(pons_hessian_file *f, const matrix *m, hid_t set, hid_t transfer,
                              int64_t begin, int64_t end)
{
    pons_status st;
    hid_t in_memory = H5I_INVALID_HID, in_file = H5Dget_space(set);
    bool ready = in_file >= 0 && select_rows(m, begin, end, in_file, &in_memory) &&
                 !pons_fault(PONS_FAULT_HESSIANS_WRITE);
    PONS_TRY_ALL(st, f->comm,
                 ready ? PONS_OK : pons_hdf5_fail(PONS_ERR_IO, f->part, "cannot select rows"));
    herr_t rc = H5Dwrite(set, H5T_NATIVE_DOUBLE, in_memory, in_file, transfer,
                         m->data + begin * m->columns);
    st = settle(f, rc >= 0, "cannot write");
done:
    if (in_memory >= 0) H5Sclose(in_memory);
    if (in_file >= 0) H5Sclose(in_file);
    return st;
}

/* Deal the chunks to the ranks and write them, a few per call. Collective. */
static pons_status write_matrix(pons_hessian_file *f, hid_t group, matrix m)
{
    pons_status st;
    int size = pons_comm_size(f->comm), rank = pons_comm_rank(f->comm);
    int64_t row_bytes = m.columns * (int64_t)sizeof(double);
    m.chunk_rows = CHUNK_BYTES / row_bytes > 1 ? CHUNK_BYTES / row_bytes : 1;
    if (m.chunk_rows > m.rows) m.chunk_rows = m.rows;
    int64_t chunks = (m.rows + m.chunk_rows - 1) / m.chunk_rows;
    int64_t begin = pons_share_begin(chunks, size, rank),
            end = pons_share_begin(chunks, size, rank + 1);
    int64_t longest = (chunks + size - 1) / size; /* the share of rank 0 */

    hid_t set = H5I_INVALID_HID, transfer = H5Pcreate(H5P_DATASET_XFER);
    bool ready = transfer >= 0 && (pons_comm_mpi(f->comm) == MPI_COMM_NULL ||
                                   H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE) >= 0);
    PONS_TRY_ALL(st, f->comm,
                 ready ? PONS_OK : pons_hdf5_fail(PONS_ERR_IO, f->part, "cannot prepare writing"));
    PONS_TRY(st, create_dataset(f, group, &m, &set));
    for (int64_t call = 0; call < longest; call += CHUNKS_PER_CALL) {
        int64_t first = begin + call, last = first + CHUNKS_PER_CALL;
        if (first > end) first = end;
        if (last > end) last = end;
        int64_t first_row = first * m.chunk_rows, last_row = last * m.chunk_rows;
        if (first_row > m.rows) first_row = m.rows;
        if (last_row > m.rows) last_row = m.rows;
        PONS_TRY(st, write_rows(f, &m, set, transfer, first_row, last_row));
    }
    herr_t closed = H5Dclose(set);
    set = H5I_INVALID_HID;
    st = settle(f, closed >= 0, "cannot close a dataset");
done:
    if (transfer >= 0) H5Pclose(transfer);
    if (set >= 0) H5Dclose(set);
    return st;
}

pons_status pons_hessian_file_write(pons_hessian_file *file, const char *group, int64_t d,
                                    const double *H, const double *norm)
{
    pons_status st;
    PONS_ASSERT(d > 0);
    if (file->failed != PONS_OK)
        return pons_fail(file->failed, "%s: an earlier write failed", file->part);
    hid_t g = H5I_INVALID_HID;
    PONS_TRY(st, reserve(file, d * (d + 1) * (int64_t)sizeof(double) + METADATA_BYTES));
    g = H5Gcreate2(file->file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    PONS_TRY(st, settle(file, g >= 0, "cannot create a group"));
    PONS_TRY(st, write_matrix(file, g, (matrix){"H", H, 2, d, d, 0}));
    PONS_TRY(st, write_matrix(file, g, (matrix){"norm", norm, 1, d, 1, 0}));
done:
    if (g >= 0) H5Gclose(g);
    file->failed = st;
    return st;
}

pons_status pons_hessian_file_commit(pons_hessian_file **file)
{
    pons_hessian_file *f = *file;
    pons_comm *comm = f->comm;
    pons_status st = f->failed;
    if (st != PONS_OK) {
        st = pons_fail(st, "%s: an earlier write failed", f->part);
        goto done;
    }
    /* The flush syncs what each rank wrote, on its own node. */
    PONS_TRY(st, settle(f, H5Fflush(f->file, H5F_SCOPE_GLOBAL) >= 0, "cannot flush"));
    herr_t closed = H5Fclose(f->file);
    f->file = H5I_INVALID_HID;
    PONS_TRY(st, settle(f, closed >= 0, "cannot close"));
    PONS_TRY_ALL(st, comm, pons_part_sync(f->part)); /* a late write error shows here */
    if (pons_comm_rank(comm) == 0) st = pons_part_publish(f->part, f->path);
    PONS_TRY_ALL(st, comm, st);
    destroy(file);
    return PONS_OK;
done:
    pons_hessian_file_abandon(file);
    return st;
}

void pons_hessian_file_abandon(pons_hessian_file **file)
{
    pons_hessian_file *f = *file;
    if (!f) return;
    if (f->file >= 0) H5Fclose(f->file); /* it goes away: a failure to flush it means nothing */
    pons_comm_barrier(f->comm);
    if (pons_comm_rank(f->comm) == 0) unlink(f->part);
    pons_comm_barrier(f->comm);
    destroy(file);
}
