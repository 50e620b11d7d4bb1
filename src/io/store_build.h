/**
 * What the readers of the formats put into a store. Private to io; everything is Local.
 *
 * A store owns its open files, its names and its tensors. The readers (safetensors.c, gguf.c) add the
 * tensors of one file; store.c sorts and looks up, store_read.c reads.
 */
#ifndef PONS_IO_STORE_BUILD_H
#define PONS_IO_STORE_BUILD_H

#include <stdbool.h>

#include "io/store.h"

/** Largest JSON header of a safetensors file, in bytes; a rule of the format. */
#define PONS_SAFETENSORS_HEADER_MAX 100000000

/** The one header key that is not a tensor. */
#define PONS_SAFETENSORS_METADATA "__metadata__"

/** Bytes of a label as made by pons_store_label, with the terminating zero. */
#define PONS_LABEL_BYTES 112

/** An open file. Opening checks that it is a regular one. */
typedef struct pons_store_file {
    char *path;
    int fd;
    size_t bytes;      /* when it was opened */
    size_t data_begin; /* where the tensors' bytes begin */
    uint8_t *head;     /* its first bytes, where the reader keeps them; counted memory */
} pons_store_file;

/** A tensor and the bytes it takes: [begin, end) from the start of its file's data section. */
typedef struct pons_store_tensor {
    pons_tensor_view view;
    uint64_t begin, end;
    int64_t file;
    struct pons_store_ahead
        *ahead; /* its bytes, read ahead of their use (store_read.c); NULL: on disk only */
} pons_store_tensor;

/** The file of a tensor. */
const pons_store_file *pons_store_file_of(const pons_store *store, const pons_store_tensor *tensor);

/** One GGUF metadata pair; the key lies in the file's head and is not terminated. */
typedef struct pons_gguf_pair {
    const char *key;
    size_t key_length;
    pons_gguf_value value;
} pons_gguf_pair;

typedef struct pons_store_names pons_store_names;

struct pons_store {
    char *path;
    bool gguf;
    pons_store_file *files;
    int64_t file_count, file_capacity;
    pons_store_tensor *tensors; /* in name order once open */
    int64_t count, capacity;
    pons_gguf_pair *pairs; /* in key order */
    int64_t pair_count;
    pons_store_names *names;
};

/** Close the files and free them, the names and the table of tensors. */
void pons_store_clear(pons_store *store);

/** Open a file; its index is store->file_count - 1 afterwards. @return PONS_ERR_IO. */
pons_status pons_store_add_file(pons_store *store, const char *path);

/** Bytes [at, at + bytes) of a file. @param what is read, for the message @return PONS_ERR_IO: the cause,
 * or that the file has become too short. */
pons_status pons_store_read_file(const pons_store_file *file, const char *what, size_t at,
                                 size_t bytes, void *out);

/**
 * Add a tensor of the file `file`, copying its name.
 * @param length bytes of `name`, which need not be terminated; no zero byte inside
 */
pons_status pons_store_add_tensor(pons_store *store, const char *name, size_t length,
                                  const pons_store_tensor *tensor);

/**
 * Check that the tensors from index `first` on (all of one file) tile the data section, and record
 * where it begins.
 *
 * Each tensor must begin where the one before ends, rounded up to `alignment`, and the section must
 * end with the last one (or its rounding). Reorders them by offset.
 * @param section first byte of the data section; @param bytes its length
 * @return PONS_ERR_INPUT naming tensor and bytes: overlap, gap, beyond the end, bytes left over.
 */
pons_status pons_store_place(pons_store *store, int64_t file, int64_t first, size_t section,
                             size_t bytes, uint64_t alignment);

/** Read the header of one file. @return PONS_ERR_IO, PONS_ERR_INPUT, PONS_ERR_UNSUPPORTED. */
pons_status pons_safetensors_scan(pons_store *store, int64_t file);
pons_status pons_gguf_scan(pons_store *store, int64_t file);

/** Read the header of the store's GGUF file and, where it is a part of a split one, of all other parts, which lie
 * beside it as NAME-00001-of-00003.gguf. The store has the metadata of the first part. @return as above; PONS_ERR_INPUT
 * where a part is missing or is another one; PONS_ERR_UNSUPPORTED where the name does not tell the others. */
pons_status pons_gguf_scan_parts(pons_store *store);

/** Open every shard named by DIR/model.safetensors.index.json and check index against shards. */
pons_status pons_shards_scan(pons_store *store, const char *directory);

/** Sort the tensors by name. @return PONS_ERR_INPUT when two have one name. */
pons_status pons_store_sort(pons_store *store);

/** Bytes of a tensor; false when the shape is negative, its product overflows, or a row is not
 * whole storage units. */
bool pons_shape_bytes(pons_dtype dtype, int ndim, const int64_t *shape, int64_t *bytes);

/** Copy text of a file for a message: control characters become '?', a long one is cut. @return
 * `label`. */
const char *pons_store_label(char label[PONS_LABEL_BYTES], const char *text, size_t length);

#endif
