/* Owns the writing of one safetensors file: header text, tiling of the data, byte count. Does not
 * choose names, shards or dtypes. */
#include "io/safetensors_writer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/part.h"
#include "io/store_build.h"

struct pons_st_writer {
    pons_part part;
    json_t *header;         /* name -> {dtype, shape, data_offsets}, in declaration order */
    int64_t bytes;          /* declared so far */
    int64_t written;        /* data bytes given so far */
    bool header_is_written; /* no more declarations */
};

static void destroy(pons_st_writer **writer)
{
    pons_part_abandon(&(*writer)->part);
    json_decref((*writer)->header);
    pons_mem_free(*writer);
    *writer = NULL;
}

pons_status pons_st_writer_create(const char *path, pons_st_writer **out)
{
    pons_status st;
    pons_st_writer *w;
    PONS_CALLOC(st, w, 1);
    w->header = json_pack("{s:{s:s}}", PONS_SAFETENSORS_METADATA, "format", "pt");
    st = w->header ? pons_part_open(path, &w->part)
                   : pons_fail(PONS_ERR_NOMEM, "out of memory for the header of %s", path);
    if (st != PONS_OK)
        destroy(&w);
    else
        *out = w;
done:
    return st;
}

pons_status pons_st_writer_declare(pons_st_writer *w, const char *name, pons_dtype dtype, int ndim,
                                   const int64_t *shape)
{
    const char *path = w->part.path;
    if (w->header_is_written)
        return pons_fail(PONS_ERR_BUG, "%s: tensor '%s' declared after data", path, name);
    if (json_object_get(w->header, name))
        return pons_fail(PONS_ERR_BUG, "%s: tensor '%s' declared twice", path, name);
    if (pons_dtype_unit_elements(dtype) != 1)
        return pons_fail(PONS_ERR_BUG, "%s: tensor '%s': safetensors has no dtype %s", path, name,
                         pons_dtype_name(dtype));
    int64_t bytes, end;
    if (!pons_shape_bytes(dtype, ndim, shape, &bytes) ||
        __builtin_add_overflow(w->bytes, bytes, &end))
        return pons_fail(PONS_ERR_BUG, "%s: tensor '%s': the shape is invalid", path, name);

    json_t *dims = json_array();
    for (int i = 0; i < ndim; i++)
        json_array_append_new(dims, json_integer(shape[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", pons_dtype_name(dtype), "shape",
                              dims, "data_offsets", (json_int_t)w->bytes, (json_int_t)end);
    if (!entry || json_object_set_new(w->header, name, entry))
        return pons_fail(PONS_ERR_BUG, "%s: tensor '%s': the name is not UTF-8, or out of memory",
                         path, name);
    w->bytes = end;
    return PONS_OK;
}

/* Eight bytes of length, the JSON text, spaces up to a multiple of 8. */
static pons_status write_header(pons_st_writer *w)
{
    if (w->header_is_written) return PONS_OK;
    w->header_is_written = true;
    char *text = json_dumps(w->header, JSON_COMPACT);
    if (!text) return pons_fail(PONS_ERR_NOMEM, "out of memory for the header of %s", w->part.path);
    pons_status st = PONS_OK;
    uint64_t length = strlen(text), padded = (length + 7) / 8 * 8;
    if (padded > PONS_SAFETENSORS_HEADER_MAX) {
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: a header of %llu bytes; allowed: at most %d",
                       w->part.path, (unsigned long long)padded, PONS_SAFETENSORS_HEADER_MAX);
        goto done;
    }
    PONS_TRY(st, pons_part_write(&w->part, &padded, sizeof padded));
    PONS_TRY(st, pons_part_write(&w->part, text, length));
    PONS_TRY(st, pons_part_write(&w->part, "       ", padded - length));
done:
    free(text);
    return st;
}

pons_status pons_st_writer_write(pons_st_writer *w, const void *data, size_t bytes)
{
    pons_status st;
    if (bytes > (uint64_t)(w->bytes - w->written))
        return pons_fail(PONS_ERR_BUG, "%s: more data than was declared", w->part.path);
    PONS_TRY(st, write_header(w));
    PONS_TRY(st, pons_part_write(&w->part, data, bytes));
    w->written += (int64_t)bytes;
done:
    return st;
}

pons_status pons_st_writer_commit(pons_st_writer **writer)
{
    pons_st_writer *w = *writer;
    pons_status st;
    PONS_TRY(st, write_header(w));
    if (w->written != w->bytes) {
        st = pons_fail(PONS_ERR_BUG, "%s: %lld bytes were declared, %lld written", w->part.path,
                       (long long)w->bytes, (long long)w->written);
        goto done;
    }
    PONS_TRY(st, pons_part_commit(&w->part));
done:
    destroy(writer);
    return st;
}

void pons_st_writer_abandon(pons_st_writer **writer)
{
    if (*writer) destroy(writer);
}
