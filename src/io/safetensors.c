/* Owns reading the header of one safetensors file. Does not own shards, files or look-up. */
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "io/store_build.h"

enum { LENGTH_BYTES = 8, MAX_NDIM = 4 };

/* Shape, an array of whole numbers. */
static pons_status read_shape(const char *path, const char *label, const json_t *shape,
                              pons_tensor_view *view)
{
    if (!json_is_array(shape))
        return pons_fail(PONS_ERR_INPUT, "%s: tensor '%s': shape is not an array of whole numbers",
                         path, label);
    size_t n = json_array_size(shape);
    if (n > MAX_NDIM)
        return pons_fail(PONS_ERR_UNSUPPORTED, "%s: tensor '%s' has %zu dimensions; allowed: 0..%d",
                         path, label, n, MAX_NDIM);
    view->ndim = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return pons_fail(PONS_ERR_INPUT,
                             "%s: tensor '%s': shape[%zu] is not a whole number >= 0", path, label,
                             i);
        view->shape[i] = json_integer_value(dim);
    }
    return PONS_OK;
}

/* data_offsets, [begin, end], which must agree with dtype and shape. */
static pons_status read_offsets(const char *path, const char *label, const json_t *offsets,
                                pons_store_tensor *t)
{
    int64_t bytes;
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return pons_fail(PONS_ERR_INPUT,
                         "%s: tensor '%s': data_offsets is not [begin, end] with 0 <= begin <= end",
                         path, label);
    t->begin = (uint64_t)json_integer_value(begin);
    t->end = (uint64_t)json_integer_value(end);
    if (!pons_shape_bytes(t->view.dtype, t->view.ndim, t->view.shape, &bytes))
        return pons_fail(PONS_ERR_INPUT, "%s: tensor '%s': shape is too large to count its bytes",
                         path, label);
    if (t->end - t->begin != (uint64_t)bytes)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: tensor '%s': data_offsets span %llu bytes, but shape and dtype %s "
                         "need %lld",
                         path, label, (unsigned long long)(t->end - t->begin),
                         pons_dtype_name(t->view.dtype), (long long)bytes);
    return PONS_OK;
}

static pons_status read_tensor(pons_store *store, int64_t file, const char *name,
                               const json_t *entry)
{
    const char *path = store->files[file].path, *field;
    char label[PONS_LABEL_BYTES], found[PONS_LABEL_BYTES];
    pons_store_tensor t = {.file = file};
    json_t *value;
    pons_status st;

    pons_store_label(label, name, strlen(name));
    if (!json_is_object(entry))
        return pons_fail(PONS_ERR_INPUT, "%s: tensor '%s': its header entry is not an object", path,
                         label);
    json_object_foreach((json_t *)(uintptr_t)entry, field, value)
    {
        if (strcmp(field, "dtype") && strcmp(field, "shape") && strcmp(field, "data_offsets"))
            return pons_fail(PONS_ERR_INPUT,
                             "%s: tensor '%s': unknown field '%s'; allowed: dtype, shape, "
                             "data_offsets",
                             path, label, pons_store_label(found, field, strlen(field)));
    }
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor '%s': dtype is missing or not a string", path,
                         label);
    if (!pons_dtype_from_name(dtype, &t.view.dtype))
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: tensor '%s' has dtype '%s'; supported: F32 F16 BF16 F64 I8 U8 I16 "
                         "U16 I32 U32 I64 U64 BOOL",
                         path, label, pons_store_label(found, dtype, strlen(dtype)));
    PONS_TRY(st, read_shape(path, label, json_object_get(entry, "shape"), &t.view));
    PONS_TRY(st, read_offsets(path, label, json_object_get(entry, "data_offsets"), &t));
    PONS_TRY(st, pons_store_add_tensor(store, name, strlen(name), &t));
done:
    return st;
}

/* __metadata__ holds texts only; Pons uses none of them. */
static pons_status check_metadata(const char *path, const json_t *metadata)
{
    const char *key;
    json_t *value;
    char label[PONS_LABEL_BYTES];
    if (!json_is_object(metadata))
        return pons_fail(PONS_ERR_INPUT, "%s: %s is not an object of strings", path,
                         PONS_SAFETENSORS_METADATA);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value))
            return pons_fail(PONS_ERR_INPUT, "%s: %s: '%s' is not a string", path,
                             PONS_SAFETENSORS_METADATA, pons_store_label(label, key, strlen(key)));
    }
    return PONS_OK;
}

/* Length and JSON text. */
static pons_status read_header(const pons_store_file *f, json_t **header, uint64_t *length)
{
    pons_status st = PONS_OK;
    json_error_t error;
    char label[PONS_LABEL_BYTES], *text = NULL;
    if (f->bytes < LENGTH_BYTES)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: %zu bytes, too few for the header length of a safetensors file (8 "
                         "bytes)",
                         f->path, f->bytes);
    st = pons_store_read_file(f, "header length", 0, LENGTH_BYTES, length);
    if (st != PONS_OK) return st;
    if (*length > PONS_SAFETENSORS_HEADER_MAX)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: not a safetensors file: header length %llu; allowed: at most %d",
                         f->path, (unsigned long long)*length, PONS_SAFETENSORS_HEADER_MAX);
    if (*length > f->bytes - LENGTH_BYTES)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: header length %llu, but only %zu bytes follow: truncated or damaged",
                         f->path, (unsigned long long)*length, f->bytes - LENGTH_BYTES);
    PONS_ALLOC(st, text, (int64_t)*length);
    PONS_TRY(st, pons_store_read_file(f, "header", LENGTH_BYTES, *length, text));
    if (*length == 0 || text[0] != '{') {
        st = pons_fail(PONS_ERR_INPUT, "%s: the header does not begin with '{'", f->path);
        goto done;
    }
    *header = json_loadb(text, *length, JSON_REJECT_DUPLICATES, &error);
    if (!*header)
        st = pons_fail(PONS_ERR_INPUT, "%s: the header is not valid JSON: %s", f->path,
                       pons_store_label(label, error.text, strlen(error.text)));
done:
    pons_mem_free(text);
    return st;
}

pons_status pons_safetensors_scan(pons_store *store, int64_t file)
{
    const pons_store_file *f = &store->files[file];
    int64_t first = store->count;
    uint64_t length = 0;
    json_t *header = NULL, *entry;
    const char *name;
    pons_status st;

    PONS_TRY(st, read_header(f, &header, &length));
    json_object_foreach(header, name, entry)
    {
        PONS_TRY(st, strcmp(name, PONS_SAFETENSORS_METADATA) ? read_tensor(store, file, name, entry)
                                                             : check_metadata(f->path, entry));
    }
    size_t section = LENGTH_BYTES + (size_t)length;
    PONS_TRY(st, pons_store_place(store, file, first, section, f->bytes - section, 1));
done:
    json_decref(header);
    return st;
}
