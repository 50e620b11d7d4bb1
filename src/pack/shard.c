/* Owns turning given arrays into the bytes of one safetensors shard. Does not know which tensors a
 * model has. */
#include "pack/shard.h"

#include <errno.h>
#include <math.h>

#include "base/fault.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/safetensors_writer.h"
#include "model/codes.h"
#include "pack/bits.h"

enum { READER_ROWS = 256 };

static pons_dtype stored_dtype(const pons_shard_tensor *t, pons_dtype dtype)
{
    switch (t->kind) {
    case PONS_SHARD_SHAPE: return PONS_DTYPE_I64;
    case PONS_SHARD_CODES:
    case PONS_SHARD_ZEROS: return PONS_DTYPE_I32;
    case PONS_SHARD_SCALES: return PONS_DTYPE_F32;
    default: return dtype;
    }
}

static int stored_shape(const pons_shard_tensor *t, int64_t shape[2])
{
    shape[0] = t->rows;
    shape[1] = t->cols;
    switch (t->kind) {
    case PONS_SHARD_SHAPE: shape[0] = 2; return 1;
    case PONS_SHARD_CODES: shape[1] = pons_code_words(t->bits, t->cols); return 2;
    case PONS_SHARD_ZEROS: shape[0] = pons_code_words(t->bits, t->rows); return 2;
    default: break;
    }
    if (t->rows) return 2;
    shape[0] = t->cols;
    return 1;
}

/* ---- Data of one tensor. */

static pons_status write_codes(pons_st_writer *w, const pons_shard_tensor *t)
{
    pons_status st = PONS_OK;
    uint32_t *words = NULL;
    int64_t count = pons_code_words(t->bits, t->cols);
    PONS_ALLOC(st, words, count);
    for (int64_t r = 0; r < t->rows; r++) {
        pons_pack_row(t->bits, t->cols, t->codes + r * t->cols, words);
        PONS_TRY(st, pons_st_writer_write(w, words, (size_t)count * sizeof *words));
    }
done:
    pons_mem_free(words);
    return st;
}

/* Zero points [rows, groups] are packed along the rows: word k of group g at [k, g]. */
static pons_status write_zeros(pons_st_writer *w, const pons_shard_tensor *t)
{
    pons_status st = PONS_OK;
    int8_t *column = NULL;
    uint32_t *packed = NULL, *words = NULL;
    int64_t count = pons_code_words(t->bits, t->rows);
    PONS_ALLOC(st, column, t->rows);
    PONS_ALLOC(st, packed, count);
    PONS_ALLOC(st, words, count * t->cols);
    for (int64_t g = 0; g < t->cols; g++) {
        for (int64_t r = 0; r < t->rows; r++)
            column[r] = t->codes[r * t->cols + g];
        pons_pack_row(t->bits, t->rows, column, packed);
        for (int64_t k = 0; k < count; k++)
            words[k * t->cols + g] = packed[k];
    }
    PONS_TRY(st, pons_st_writer_write(w, words, (size_t)(count * t->cols) * sizeof *words));
done:
    pons_mem_free(words);
    pons_mem_free(packed);
    pons_mem_free(column);
    return st;
}

/* One row in the output dtype; a finite float that becomes Inf there is refused. */
static pons_status write_row(pons_st_writer *w, const pons_shard_tensor *t, pons_dtype dtype,
                             int64_t row, const float *values, void *buffer, float *back)
{
    pons_dtype_from_float(dtype, values, t->cols, buffer);
    pons_dtype_to_float(dtype, buffer, t->cols, back);
    for (int64_t j = 0; j < t->cols; j++)
        if (!isfinite(back[j]))
            return pons_fail(PONS_ERR_NUMERIC, "tensor %s row %lld: found %g, which %s cannot hold",
                             t->name, (long long)row, (double)values[j], pons_dtype_name(dtype));
    return pons_st_writer_write(w, buffer, pons_dtype_bytes(dtype, t->cols));
}

static pons_status write_reals(pons_st_writer *w, const pons_shard_tensor *t, pons_dtype dtype)
{
    pons_status st = PONS_OK;
    float *buffer = NULL, *back = NULL, *panel = NULL;
    int64_t rows = t->rows ? t->rows : 1, step = t->kind == PONS_SHARD_READER ? READER_ROWS : rows;
    PONS_ALLOC(st, buffer, t->cols);
    PONS_ALLOC(st, back, t->cols);
    if (t->kind == PONS_SHARD_READER) PONS_ALLOC(st, panel, READER_ROWS * t->cols);
    for (int64_t r = 0; r < rows; r += step) {
        int64_t n = rows - r < step ? rows - r : step;
        const float *values = t->values;
        if (panel) {
            PONS_TRY(st, t->reader(t->user, r, n, panel));
            values = panel;
        }
        for (int64_t i = 0; i < n; i++)
            PONS_TRY(st, write_row(w, t, dtype, r + i, values + i * t->cols, buffer, back));
    }
done:
    pons_mem_free(panel);
    pons_mem_free(back);
    pons_mem_free(buffer);
    return st;
}

static pons_status write_data(pons_st_writer *w, pons_shard_tensor *t, pons_dtype dtype)
{
    pons_status st = t->load ? t->load(t) : PONS_OK;
    if (st != PONS_OK) return st;
    switch (t->kind) {
    case PONS_SHARD_SHAPE: {
        const int64_t shape[2] = {t->rows, t->cols};
        return pons_st_writer_write(w, shape, sizeof shape);
    }
    case PONS_SHARD_CODES: return write_codes(w, t);
    case PONS_SHARD_ZEROS: return write_zeros(w, t);
    case PONS_SHARD_SCALES: return write_reals(w, t, PONS_DTYPE_F32);
    default: return write_reals(w, t, dtype);
    }
}

/* ---- The shard. */

/* Tensors whose elements have this many bytes: declared, or written. Larger elements come first so
 * that every offset is a multiple of its element size. */
static pons_status each_of_size(size_t bytes, bool write, pons_st_writer *w, pons_dtype dtype,
                                pons_shard_tensor *tensors, int count)
{
    pons_status st = PONS_OK;
    for (int i = 0; i < count; i++) {
        int64_t shape[2];
        pons_dtype type = stored_dtype(&tensors[i], dtype);
        if (pons_dtype_bytes(type, 1) != bytes) continue;
        int ndim = stored_shape(&tensors[i], shape);
        PONS_TRY(st, write ? write_data(w, &tensors[i], dtype)
                           : pons_st_writer_declare(w, tensors[i].name, type, ndim, shape));
    }
done:
    return st;
}

pons_status pons_shard_index_enter(pons_shard_index *index, const char *dir, const char *file)
{
    pons_status st = PONS_OK;
    pons_store *shard = NULL;
    char *path = pons_mem_printf("%s/%s", dir, file);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_store_open(path, &shard));
    for (int64_t i = 0; i < pons_store_count(shard); i++) {
        const pons_tensor_view *t = pons_store_at(shard, i);
        index->total_bytes += (int64_t)pons_dtype_bytes(t->dtype, pons_tensor_elements(t));
        if (json_object_set_new(index->weight_map, t->name, json_string(file)))
            PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for the index of shards"));
    }
done:
    pons_store_close(&shard);
    pons_mem_free(path);
    return st;
}

pons_status pons_shard_write(const char *dir, const char *file, pons_dtype dtype,
                             pons_shard_tensor *tensors, int count)
{
    pons_status st = PONS_OK;
    pons_st_writer *w = NULL;
    char *path = pons_mem_printf("%s/%s", dir, file);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_st_writer_create(path, &w));
    for (int pass = 0; pass < 2; pass++)
        for (size_t bytes = 8; bytes >= 2; bytes /= 2)
            PONS_TRY(st, each_of_size(bytes, pass == 1, w, dtype, tensors, count));
    if (pons_fault(PONS_FAULT_SHARD_WRITE))
        PONS_TRY(st, pons_fail_errno(PONS_ERR_IO, ENOSPC, "cannot write %s", path));
    PONS_TRY(st, pons_st_writer_commit(&w));
    pons_fault_die(PONS_FAULT_SHARD_DIE);
done:
    pons_st_writer_abandon(&w);
    pons_mem_free(path);
    return st;
}

pons_status pons_shard_index_write(const char *dir, const pons_shard_index *index)
{
    pons_status st = PONS_OK;
    json_t *root = NULL;
    char *path = pons_mem_printf("%s/model.safetensors.index.json", dir);
    if (!path) return PONS_ERR_NOMEM;
    root = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)index->total_bytes,
                     "weight_map", index->weight_map);
    st = root ? pons_json_write(path, root)
              : pons_fail(PONS_ERR_NOMEM, "out of memory for %s", path);
    json_decref(root);
    pons_mem_free(path);
    return st;
}
