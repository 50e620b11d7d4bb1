/**
 * The values of a torch file as the pickle interpreter builds them. Private to io; everything is
 * Local.
 */
#ifndef PONS_IO_TORCH_BUILD_H
#define PONS_IO_TORCH_BUILD_H

#include <stdbool.h>
#include <zip.h>

#include "io/torch_file.h"

/** Globals that a pickle may name. A STORAGE is one type of element. */
typedef enum pons_torch_global {
    PONS_TORCH_ORDERED_DICT,
    PONS_TORCH_REBUILD_TENSOR,
    PONS_TORCH_REBUILD_PARAMETER,
    PONS_TORCH_STORAGE
} pons_torch_global;

/** What a record of the archive holds. */
typedef struct pons_torch_storage {
    uint64_t record; /* index in the archive */
    pons_dtype dtype;
    int64_t elements;
} pons_torch_storage;

struct pons_torch_value {
    pons_torch_kind kind;
    bool is_storage; /* OTHER: a storage, not the name of a type */
    int64_t number;  /* INT, BOOL; bytes of a TEXT; OTHER: pons_torch_global */
    double real;     /* FLOAT */
    char *text;      /* TEXT; owned */
    struct pons_torch_value *
        *items;                 /* TUPLE, LIST; DICT: key, value, key, value ...; owned array */
    int64_t count, capacity;    /* of items */
    pons_torch_storage storage; /* TENSOR, storage, type of a storage */
    int64_t offset;             /* TENSOR: first element in the storage */
    int ndim;
    int64_t shape[PONS_TORCH_DIMENSIONS], stride[PONS_TORCH_DIMENSIONS];
    struct pons_torch_value *next; /* all values of the file, to free them */
};

struct pons_torch_file {
    char *path;
    zip_t *archive;
    char *prefix; /* folder of the records, ending in '/' or empty */
    pons_torch_value *values, *root;
    void *cached; /* bytes of the storage read last; NULL: none */
    uint64_t cached_record;
};

/** A new value of this kind, owned by the file; NULL when out of memory. */
pons_torch_value *pons_torch_value_new(pons_torch_file *file, pons_torch_kind kind);

/** Append an item. @return PONS_OK, PONS_ERR_NOMEM. */
pons_status pons_torch_value_append(pons_torch_value *value, pons_torch_value *item);

/** Open file->path as an archive, check its form and byte order, set file->archive and file->prefix.
 * @param[out] record the pickle's @return PONS_ERR_IO, PONS_ERR_INPUT, PONS_ERR_UNSUPPORTED, PONS_ERR_NOMEM. */
pons_status pons_torch_open_archive(pons_torch_file *file, uint64_t *record);

/** Size of a record. @return PONS_OK, PONS_ERR_INPUT. */
pons_status pons_torch_record_bytes(const pons_torch_file *file, uint64_t record, uint64_t *bytes);

/** A whole record; libzip compares the checksum at its end. @return PONS_OK, PONS_ERR_INPUT. */
pons_status pons_torch_read_record(const pons_torch_file *file, uint64_t record, uint64_t bytes,
                                   void *out);

/** Find the record of a storage and check that it has the bytes that dtype and elements need.
 * @param at byte of the pickle, for the message */
pons_status pons_torch_find_storage(const pons_torch_file *file, const char *key, size_t at,
                                    pons_torch_storage *storage);

/** Interpret a pickle; sets file->root. */
pons_status pons_torch_unpickle(pons_torch_file *file, const unsigned char *data, size_t bytes);

/** The global `module name`. @return PONS_ERR_UNSUPPORTED naming it. */
pons_status pons_torch_look_up(pons_torch_file *file, size_t at, const char *module,
                               size_t module_bytes, const char *name, size_t name_bytes,
                               pons_torch_value **out);

/** callable(*arguments) for the globals that are known. */
pons_status pons_torch_reduce(pons_torch_file *file, size_t at, const pons_torch_value *callable,
                              const pons_torch_value *arguments, pons_torch_value **out);

/** The storage a persistent id stands for. */
pons_status pons_torch_persistent(pons_torch_file *file, size_t at, const pons_torch_value *id,
                                  pons_torch_value **out);

#endif
