/**
 * Making an output directory of a finished run, or of another output.
 *
 * The directory is filled under another name and appears by one rename, complete or not at all. The
 * source is only read.
 */
#ifndef PONS_PACK_EXPORT_H
#define PONS_PACK_EXPORT_H

#include "pack/format.h"
#include "par/comm.h"

/** Where it is filled, and what to do with an output that is there. */
typedef enum pons_export_staging {
    PONS_EXPORT_NEW,     /* in OUT.export; an existing OUT is refused */
    PONS_EXPORT_REPLACE, /* in OUT.export; an existing output of Pons is replaced */
    PONS_EXPORT_STAGED   /* in OUT.part, which the run has had since it began; an OUT is replaced */
} pons_export_staging;

/** What is exported. Borrowed; the same on every rank. */
typedef struct pons_export_options {
    const char *source; /* RUN or an output directory */
    const char *out;
    const pons_format *format;
    const pons_dtype *dtype; /* of plain floats: F32, F16 or BF16; NULL: that of the source */
    pons_export_staging staging;
} pons_export_options;

/** What came of it. */
typedef struct pons_export_result {
    pons_dtype dtype;
    int64_t files, bytes; /* of weights */
} pons_export_result;

/**
 * Export. Collective on comm; blocks are dealt to the ranks.
 * @param[out] result on rank 0
 * @return the same on every rank: PONS_ERR_USAGE (OUT and source overlap), PONS_ERR_EXISTS,
 * PONS_ERR_UNSUPPORTED, PONS_ERR_INPUT (a damaged source), PONS_ERR_IO, PONS_ERR_NUMERIC. After a failure
 * OUT is what it was. Memory: the largest linear, 5 bytes per weight.
 */
pons_status pons_export(pons_comm *comm, const pons_export_options *options,
                        pons_export_result *result);

#endif
