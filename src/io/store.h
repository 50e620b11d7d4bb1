/**
 * A model on disk as a read-only set of named tensors: a rank reads only the bytes it requests.
 * Reads are calls, not a memory map: a disk error or a file that became shorter is an error that
 * names the file, where a map would end the process.
 *
 * Opens a Hugging Face directory (model.safetensors, or shards with model.safetensors.index.json),
 * one .safetensors file, or one GGUF v3 file. Everything the format promises is checked at open
 * (header length, tiling without gaps or overlap, shape times dtype against offsets, index against
 * shards, file length), so that a truncated or edited file is refused by name before any work
 * starts. A directory with both model.safetensors and an index is read as the single file, as its
 * loaders do. Dimensions are row-major, slowest first, whatever the file says. Safetensors: every
 * dtype of tensor/dtype.h that has a name there; GGUF: F32 F16 BF16 Q8_0 Q4_0 Q4_1. Source:
 * specification formats.md, sections 1, 2 and 7.
 */
#ifndef PONS_IO_STORE_H
#define PONS_IO_STORE_H

#include "base/task.h"
#include "tensor/dtype.h"

typedef struct pons_store pons_store;

/** Metadata value of a GGUF file. A number is given as u, i and f, whatever its type; where it does
 * not fit: u 0 for negatives, i INT64_MAX for large unsigned and INT64_MIN for large floats. */
typedef enum pons_gguf_type {
    PONS_GGUF_UINT, /* all unsigned integers and bool */
    PONS_GGUF_INT,
    PONS_GGUF_FLOAT,
    PONS_GGUF_STRING,
    PONS_GGUF_ARRAY
} pons_gguf_type;

typedef struct pons_gguf_value {
    pons_gguf_type type;
    uint64_t u;
    int64_t i;
    double f;
    const char *text; /* STRING: not zero-terminated, `length` bytes, borrowed from the store */
    size_t length;
    pons_gguf_type element; /* ARRAY */
    int64_t count;          /* ARRAY */
    const void *raw;        /* ARRAY: opaque cursor start; use pons_gguf_array_* */
    uint32_t raw_type;      /* ARRAY: GGUF type number of the elements */
} pons_gguf_value;

/** Open and check. Local. @return PONS_ERR_IO (cannot open or read), PONS_ERR_INPUT (malformed),
 * PONS_ERR_UNSUPPORTED (dtype or version). */
pons_status pons_store_open(const char *path, pons_store **out);

/**
 * Resolve the path of a model, in counted memory: a directory without safetensors that holds one
 * .gguf file means that file; any other path is unchanged. Local.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO, PONS_ERR_INPUT for several .gguf files.
 */
pons_status pons_store_locate(const char *path, char **out);

/** Close the files and free; takes the address. Local. */
void pons_store_close(pons_store **store);

/** Path it was opened with; whether it is a GGUF file. Borrowed. Local. */
const char *pons_store_path(const pons_store *store);
bool pons_store_is_gguf(const pons_store *store);

/** Number of tensors; the i-th in name order; by name, NULL when absent. Borrowed, `data` is NULL: it
 * is read by the functions below. Local. */
int64_t pons_store_count(const pons_store *store);
const pons_tensor_view *pons_store_at(const pons_store *store, int64_t i);
const pons_tensor_view *pons_store_find(const pons_store *store, const char *name);

/** Read bytes [at, at + bytes) of a tensor of this store into `out`. Local.
 * @return PONS_ERR_IO naming the file, and the tensor whose bytes are missing. */
pons_status pons_store_read(const pons_store *store, const pons_tensor_view *tensor, size_t at,
                            size_t bytes, void *out);

/** A whole tensor in counted memory. Local. @return as pons_store_read, PONS_ERR_NOMEM. */
pons_status pons_store_load(const pons_store *store, const pons_tensor_view *tensor, void **out);

/**
 * Start prefetching a tensor in the background; pons_store_read then waits for it and copies its
 * bytes from memory. After a failed prefetch the bytes are read again when needed, and that read
 * reports the error. Local; no effect when it was started before.
 * Memory: the tensor's bytes, if they can be allocated.
 */
void pons_store_read_ahead(pons_store *store, const pons_tensor_view *tensor);

/** Free the prefetched bytes of a tensor; no effect when there are none. Local.
 * @param[out] span when it was read; may be NULL @return whether it was. */
bool pons_store_forget(pons_store *store, const pons_tensor_view *tensor, pons_task_span *span);

/** GGUF metadata by key; NULL when absent or not a GGUF store. Borrowed. Local. */
const pons_gguf_value *pons_store_metadata(const pons_store *store, const char *key);

/**
 * Walk an array of strings: *cursor starts as value->raw; each call returns the next string's bytes
 * and length. Local. Bounds were checked at open.
 */
const char *pons_gguf_array_next_string(const void **cursor, size_t *length);

/** Element i of an array of numbers as double / int64 (converted as in pons_gguf_value). The caller
 * has checked `element` and `count`. Local. */
double pons_gguf_array_float(const pons_gguf_value *value, int64_t i);
int64_t pons_gguf_array_int(const pons_gguf_value *value, int64_t i);

#endif
