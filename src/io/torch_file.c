/* Owns opening and closing a torch file and the reading of tensors. Records come from torch_archive.c, the
 * pickle is interpreted in torch_pickle.c; what it becomes is in torch_value.c. */
#include "io/torch_file.h"

#include "base/mem.h"
#include "io/torch_build.h"

/* A pickle holds names and numbers only; larger ones are not read into memory. */
enum { PICKLE_MAX = 256 << 20 };

pons_status pons_torch_open(const char *path, pons_torch_file **out)
{
    pons_status st;
    pons_torch_file *file = NULL;
    unsigned char *pickle = NULL;
    uint64_t record = 0, bytes = 0;
    PONS_CALLOC(st, file, 1);
    file->path = pons_mem_strdup(path);
    if (!file->path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_torch_open_archive(file, &record));
    PONS_TRY(st, pons_torch_record_bytes(file, record, &bytes));
    if (bytes > PICKLE_MAX) {
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: data.pkl: found %llu bytes, allowed: at most %d",
                       path, (unsigned long long)bytes, PICKLE_MAX);
        goto done;
    }
    PONS_ALLOC(st, pickle, (int64_t)bytes);
    PONS_TRY(st, pons_torch_read_record(file, record, bytes, pickle));
    PONS_TRY(st, pons_torch_unpickle(file, pickle, (size_t)bytes));
    *out = file;
    file = NULL;
done:
    pons_mem_free(pickle);
    pons_torch_close(&file);
    return st;
}

void pons_torch_close(pons_torch_file **file)
{
    pons_torch_file *f = *file;
    if (!f) return;
    for (pons_torch_value *v = f->values, *next; v; v = next) {
        next = v->next;
        pons_mem_free(v->text);
        pons_mem_free(v->items);
        pons_mem_free(v);
    }
    if (f->archive) zip_discard(f->archive);
    pons_mem_free(f->cached);
    pons_mem_free(f->prefix);
    pons_mem_free(f->path);
    pons_mem_free(f);
    *file = NULL;
}

const char *pons_torch_path(const pons_torch_file *file) { return file->path; }

const pons_torch_value *pons_torch_root(const pons_torch_file *file) { return file->root; }

static pons_status load_storage(pons_torch_file *file, const pons_torch_storage *s)
{
    if (file->cached && file->cached_record == s->record) return PONS_OK;
    size_t bytes = pons_dtype_bytes(s->dtype, s->elements);
    pons_mem_free(file->cached);
    file->cached = pons_mem_alloc((int64_t)bytes, 1);
    if (!file->cached) return PONS_ERR_NOMEM;
    pons_status st = pons_torch_read_record(file, s->record, bytes, file->cached);
    file->cached_record = s->record;
    if (st == PONS_OK) return PONS_OK;
    pons_mem_free(file->cached);
    file->cached = NULL;
    return st;
}

pons_status pons_torch_read(pons_torch_file *file, const pons_torch_value *t, float *out)
{
    pons_status st;
    int64_t index[PONS_TORCH_DIMENSIONS] = {0}, elements = 1, at = t->offset;
    PONS_ASSERT(t->kind == PONS_TORCH_TENSOR);
    PONS_TRY(st, load_storage(file, &t->storage));
    for (int i = 0; i < t->ndim; i++)
        elements *= t->shape[i];
    size_t size = pons_dtype_bytes(t->storage.dtype, 1);
    for (int64_t e = 0; e < elements; e++) {
        pons_dtype_to_float(t->storage.dtype, (const char *)file->cached + (size_t)at * size, 1,
                            out + e);
        for (int i = t->ndim - 1; i >= 0; i--) { /* the next element: like an odometer */
            at += t->stride[i];
            if (++index[i] < t->shape[i]) break;
            at -= t->stride[i] * t->shape[i];
            index[i] = 0;
        }
    }
done:
    return st;
}
