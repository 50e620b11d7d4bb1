/**
 * Forms of an output. A form is a constant struct of functions that fill a directory from a source; the
 * export (export.h) opens the source, deals the blocks to ranks, writes the manifest and renames the
 * directory. To add a form: one file with its struct, one line in formats.c.
 */
#ifndef PONS_PACK_FORMAT_H
#define PONS_PACK_FORMAT_H

#include <jansson.h>

#include "pack/source.h"

/** What is to be written. Borrowed. */
typedef struct pons_format_job {
    pons_pack_source *source; /* of this rank */
    const char *directory;    /* that is filled; on a file system all ranks see */
    pons_dtype dtype;         /* of plain floats */
} pons_format_job;

/** A file that was written, for the manifest; an empty name: none. */
typedef struct pons_format_file {
    char name[64], sha256[65];
} pons_format_file;

typedef struct pons_format {
    const char *name;    /* of --to */
    const char *summary; /* one line for help */
    bool one_writer;     /* all blocks go to rank 0, in order: one file takes them all */

    /** Refuse, before anything is written, a source that the form cannot hold. Local, with a block open.
     * NULL: it can hold all. @return PONS_ERR_UNSUPPORTED naming what is in the way. */
    pons_status (*check)(const pons_format_job *job);

    /** State of this rank. Local. */
    pons_status (*begin)(const pons_format_job *job, void **state);

    /** Write one block, which the source has open, and compare what is read back. Local: the blocks of a
     * model are dealt to the ranks. @param[out] file of this block */
    pons_status (*block)(void *state, int64_t layer, pons_format_file *file);

    /** Write the rest but the manifest and add name: SHA-256 of each file of weights to `files`. Rank 0,
     * after all blocks. Local. @param blocks [layers] files of the blocks, of all ranks */
    pons_status (*finish)(void *state, const pons_format_file *blocks, json_t *files);

    /** Free the state; takes the address, accepts NULL. Local. */
    void (*end)(void **state);
} pons_format;

/** The form of this name, NULL when there is none; form number i, NULL past the last. Local. */
const pons_format *pons_format_find(const char *name);
const pons_format *pons_format_at(int i);

/** The two forms that Hugging Face loaders read. */
#define PONS_FORMAT_COMPRESSED_TENSORS "compressed-tensors"
#define PONS_FORMAT_DENSE "dense"
extern const pons_format pons_format_compressed_tensors, pons_format_dense;

#endif
