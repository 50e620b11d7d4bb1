/**
 * Hessians of one block in one parallel HDF5 file: RUN/hessians/block-NNN.h5.
 *
 * Groups /qkv /o /gate_up /down, each with H [d, d] f64 (full symmetric, undamped, sum over windows
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

/** Create RUN/hessians/block-NNN.h5.part. Collective on comm. */
pons_status pons_hessian_file_create(pons_comm *comm, const char *path,
                                     const pons_hessian_attributes *attributes,
                                     pons_hessian_file **out);

/**
 * Write one group. Collective; every rank holds the whole H and norm and writes its share of rows
 * with a collective call.
 * @param H [d, d] f64, @param norm [d] f64
 */
pons_status pons_hessian_file_write(pons_hessian_file *file, const char *group, int64_t d,
                                    const double *H, const double *norm);

/** Close, sync, rename (rank 0). Collective; destroys the handle either way. */
pons_status pons_hessian_file_commit(pons_hessian_file **file);

/** Read one group's H and norm (serial, any rank). Local. Buffers in counted memory. */
pons_status pons_hessian_file_read(const char *path, const char *group, int64_t *d, double **H,
                                   double **norm);

#endif
