/**
 * One shard of an output: a list of tensors with where their numbers come from, written in one go.
 * Internal to the room; all Local.
 */
#ifndef PONS_PACK_SHARD_H
#define PONS_PACK_SHARD_H

#include <jansson.h>

#include "io/store.h"
#include "pack/ends.h"

typedef enum pons_shard_kind {
    PONS_SHARD_SHAPE,  /* I64 [2]: rows, cols */
    PONS_SHARD_CODES,  /* I32: codes [rows, cols] packed along each row */
    PONS_SHARD_SCALES, /* F32 [rows, cols] */
    PONS_SHARD_ZEROS,  /* I32: zero points [rows, cols] packed along each column */
    PONS_SHARD_REALS,  /* floats [rows, cols], or [cols] when rows is 0, in the output dtype */
    PONS_SHARD_READER  /* the same from a row reader */
} pons_shard_kind;

/** One tensor; arrays are borrowed. */
typedef struct pons_shard_tensor pons_shard_tensor;
struct pons_shard_tensor {
    char name[128];
    pons_shard_kind kind;
    int bits;
    int64_t rows, cols;
    const int8_t *codes;
    const float *values;
    pons_pack_rows reader;
    /** Called before the data are written, to set codes or values; NULL: they are set. */
    pons_status (*load)(pons_shard_tensor *tensor);
    void *user; /* of reader and load */
    int linear; /* for load */
};

/** What the shards written so far hold together: the index file. */
typedef struct pons_shard_index {
    json_t *weight_map; /* tensor name -> file name */
    int64_t total_bytes;
} pons_shard_index;

/**
 * Write DIR/FILE with these tensors, larger elements first.
 * @return PONS_ERR_IO; PONS_ERR_NUMERIC naming tensor and row when a value does not fit `dtype`.
 */
pons_status pons_shard_write(const char *dir, const char *file, pons_dtype dtype,
                             pons_shard_tensor *tensors, int count);

/** Enter the tensors of the shard DIR/FILE, in order of their names. @return as pons_store_open,
 * PONS_ERR_NOMEM. */
pons_status pons_shard_index_enter(pons_shard_index *index, const char *dir, const char *file);

/** model.safetensors.index.json. */
pons_status pons_shard_index_write(const char *dir, const pons_shard_index *index);

#endif
