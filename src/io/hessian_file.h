/**
 * Hessians of one block in one parallel HDF5 file: RUN/hessians/block-NNN.h5.
 *
 * Groups /qkv /o /gate_up /down, or one per linear where each has an input of its own, each with H [d, d] f64 (full symmetric, undamped, sum over windows
 * of X^T X times 2/N) and norm [d] f64 (Wanda c_j); chunked with fletcher32; attributes windows,
 * tokens, wave, damping, fingerprint on the file. Written as .part, closed, synced, renamed.
 */
#ifndef PONS_IO_HESSIAN_FILE_H
#define PONS_IO_HESSIAN_FILE_H

#include "base/error.h"
#include "par/comm.h"

typedef struct pons_hessian_file pons_hessian_file;

typedef struct pons_hessian_attributes {
    int64_t windows, tokens, wave;
    double damping;
    const char *fingerprint; /* text */
} pons_hessian_attributes;

/** Create RUN/hessians/block-NNN.h5.part; the directory must exist. Collective on comm, same
 * arguments on every rank. @return PONS_ERR_IO naming the file, the same on every rank. */
pons_status pons_hessian_file_create(pons_comm *comm, const char *path,
                                     const pons_hessian_attributes *attributes,
                                     pons_hessian_file **out);

/**
 * Write one group. Collective; every rank holds the whole H and norm and writes its share of rows
 * with a collective call.
 * @param H [d, d] f64, @param norm [d] f64
 * @return PONS_ERR_IO, the same on every rank, when any rank's write failed; the file can then only
 * be abandoned (commit does so). Memory: HDF5 copies up to 64 MiB per rank.
 */
pons_status pons_hessian_file_write(pons_hessian_file *file, const char *group, int64_t d,
                                    const double *H, const double *norm);

/** Close, sync, rename (rank 0). Collective; destroys the handle either way. @return PONS_ERR_IO,
 * the same on every rank, also when an earlier write failed; the .part is then removed. */
pons_status pons_hessian_file_commit(pons_hessian_file **file);

/** Close and remove the .part. Collective; accepts NULL, then Local. */
void pons_hessian_file_abandon(pons_hessian_file **file);

/**
 * Read one group's H and norm (serial, any rank). Local. Buffers in counted memory.
 *
 * @return PONS_ERR_IO (cannot open), PONS_ERR_INPUT (not such a file, group or shape missing or
 * wrong, checksum absent or not matching).
 */
pons_status pons_hessian_file_read(const char *path, const char *group, int64_t *d, double **H,
                                   double **norm);

/** One group of a file, whose H is read in parts. All Local; serial, any rank. */
typedef struct pons_hessian_reader pons_hessian_reader;

/** Open a group and read its norm. @param norm receives [d] in counted memory @return as pons_hessian_file_read. */
pons_status pons_hessian_reader_open(const char *path, const char *group, int64_t *d, double **norm,
                                     pons_hessian_reader **out);

/** Rows [first, first + rows) of H. Parts follow each other from row 0 on; row 0 begins again. With the last row the
 * digest of all is checked. @param out [rows, d] @return PONS_ERR_INPUT (unreadable, or not what the digest says). */
pons_status pons_hessian_reader_rows(pons_hessian_reader *reader, int64_t first, int64_t rows,
                                     double *out);

/** Close; takes the address, nulls it, accepts NULL. */
void pons_hessian_reader_close(pons_hessian_reader **reader);

/** Receives the name of one group. */
typedef pons_status (*pons_hessian_file_group)(void *user, const char *group);

/** Call `visit` for every group, in order of their names, until one fails. Local. @return as
 * pons_hessian_file_read, or what visit returned. */
pons_status pons_hessian_file_each_group(const char *path, pons_hessian_file_group visit,
                                         void *user);

/** Read the attributes, to detect files of another run. Local. @param fingerprint
 * counted memory; attributes->fingerprint points to it. @return as pons_hessian_file_read. */
pons_status pons_hessian_file_read_attributes(const char *path, pons_hessian_attributes *attributes,
                                              char **fingerprint);

#endif
