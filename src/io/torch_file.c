/* Owns the archive of a torch file and the reading of tensors. The pickle is interpreted in
 * torch_pickle.c; what it becomes is in torch_value.c. */
#include "io/torch_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/store_build.h"
#include "io/torch_build.h"

/* A pickle holds names and numbers only; larger ones are not read into memory. */
enum { PICKLE_MAX = 256 << 20 };

static const char *archive_error(const pons_torch_file *file)
{
    return zip_error_strerror(zip_get_error(file->archive));
}

/* Files of the format before torch 1.6 begin with this pickled number. */
static bool is_legacy(const unsigned char *head, size_t n)
{
    static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                          0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    return n >= sizeof magic && !memcmp(head, magic, sizeof magic);
}

/* Refuse what is no zip archive before libzip does, which could only say "not a zip archive". */
static pons_status check_head(const char *path)
{
    unsigned char head[16];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    ssize_t n = read(fd, head, sizeof head);
    int cause = errno;
    close(fd);
    if (n < 0) return pons_fail_errno(PONS_ERR_IO, cause, "cannot read %s", path);
    if (is_legacy(head, (size_t)n))
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: a torch file of the format before torch 1.6; convert it once: "
                         "python3 -c \"import torch; torch.save(torch.load('OLD', "
                         "map_location='cpu'), 'NEW')\"",
                         path);
    if (n < 4 || memcmp(head, "PK\3\4", 4))
        return pons_fail(PONS_ERR_INPUT,
                         "%s: not a torch file: it does not begin as a zip archive does", path);
    return PONS_OK;
}

static pons_status open_archive(pons_torch_file *file)
{
    int code = 0;
    file->archive = zip_open(file->path, ZIP_RDONLY, &code);
    if (file->archive) return PONS_OK;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    pons_status st = pons_fail(PONS_ERR_INPUT, "%s: damaged or truncated zip archive: %s",
                               file->path, zip_error_strerror(&error));
    zip_error_fini(&error);
    return st;
}

/* The records lie in one folder whose name is up to the writer: the one that holds data.pkl. */
static pons_status find_prefix(pons_torch_file *file, uint64_t *record)
{
    static const char name[] = "data.pkl";
    int64_t found = 0, n = zip_get_num_entries(file->archive, 0);
    for (int64_t i = 0; i < n; i++) {
        const char *entry = zip_get_name(file->archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        const char *slash = entry ? strchr(entry, '/') : NULL;
        if (!entry || strcmp(slash ? slash + 1 : entry, name)) continue;
        pons_mem_free(file->prefix);
        file->prefix = pons_mem_printf("%.*s", slash ? (int)(slash + 1 - entry) : 0, entry);
        if (!file->prefix) return PONS_ERR_NOMEM;
        *record = (uint64_t)i;
        found++;
    }
    if (found != 1)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: not a torch file: found %lld records named data.pkl, allowed: 1",
                         file->path, (long long)found);
    return PONS_OK;
}

static pons_status record_bytes(const pons_torch_file *file, uint64_t record, uint64_t *bytes)
{
    zip_stat_t info;
    if (zip_stat_index(file->archive, record, 0, &info) || !(info.valid & ZIP_STAT_SIZE))
        return pons_fail(PONS_ERR_INPUT, "%s: damaged zip archive: %s", file->path,
                         archive_error(file));
    *bytes = info.size;
    return PONS_OK;
}

/* A whole record; libzip compares the checksum at its end. */
static pons_status read_record(const pons_torch_file *file, uint64_t record, uint64_t bytes,
                               void *out)
{
    pons_status st = PONS_OK;
    char label[PONS_LABEL_BYTES], past;
    const char *name = zip_get_name(file->archive, record, ZIP_FL_ENC_RAW);
    pons_store_label(label, name ? name : "", name ? strlen(name) : 0);
    zip_file_t *stream = zip_fopen_index(file->archive, record, 0);
    if (!stream)
        return pons_fail(PONS_ERR_INPUT, "%s: record %s: %s: damaged or truncated", file->path,
                         label, archive_error(file));
    zip_int64_t n = zip_fread(stream, out, bytes);
    if (n != (zip_int64_t)bytes || zip_fread(stream, &past, 1) != 0)
        st = pons_fail(PONS_ERR_INPUT, "%s: record %s: %s: damaged or truncated", file->path, label,
                       n >= 0 && n < (zip_int64_t)bytes ? "too few bytes"
                                                        : zip_file_strerror(stream));
    zip_fclose(stream);
    return st;
}

/* The record that tells the byte order; absent in older files, which are little-endian. */
static pons_status check_byte_order(const pons_torch_file *file)
{
    pons_status st = PONS_OK;
    char text[8] = "", *name = pons_mem_printf("%sbyteorder", file->prefix);
    uint64_t bytes = 0;
    if (!name) return PONS_ERR_NOMEM;
    zip_int64_t record = zip_name_locate(file->archive, name, ZIP_FL_ENC_RAW);
    if (record < 0) goto done;
    PONS_TRY(st, record_bytes(file, (uint64_t)record, &bytes));
    if (bytes < sizeof text) PONS_TRY(st, read_record(file, (uint64_t)record, bytes, text));
    if (strcmp(text, "little"))
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: byteorder: found %s, allowed: little", file->path,
                       strcmp(text, "big") ? "something else" : text);
done:
    pons_mem_free(name);
    return st;
}

pons_status pons_torch_find_storage(const pons_torch_file *file, const char *key, size_t at,
                                    pons_torch_storage *storage)
{
    pons_status st = PONS_OK;
    char label[PONS_LABEL_BYTES];
    uint64_t bytes = 0;
    int64_t needed;
    char *name = pons_mem_printf("%sdata/%s", file->prefix, key);
    if (!name) return PONS_ERR_NOMEM;
    zip_int64_t record = zip_name_locate(file->archive, name, ZIP_FL_ENC_RAW);
    pons_store_label(label, name, strlen(name));
    if (record < 0) {
        st = pons_fail(PONS_ERR_INPUT, "%s: data.pkl byte %zu: the record %s is missing",
                       file->path, at, label);
        goto done;
    }
    storage->record = (uint64_t)record;
    PONS_TRY(st, record_bytes(file, storage->record, &bytes));
    if (!pons_shape_bytes(storage->dtype, 1, &storage->elements, &needed) ||
        bytes != (uint64_t)needed)
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: record %s: found %llu bytes, needed for %lld elements of %s: %lld",
                       file->path, label, (unsigned long long)bytes, (long long)storage->elements,
                       pons_dtype_name(storage->dtype), (long long)needed);
done:
    pons_mem_free(name);
    return st;
}

pons_status pons_torch_open(const char *path, pons_torch_file **out)
{
    pons_status st;
    pons_torch_file *file = NULL;
    unsigned char *pickle = NULL;
    uint64_t record = 0, bytes = 0;
    PONS_TRY(st, check_head(path));
    PONS_CALLOC(st, file, 1);
    file->path = pons_mem_strdup(path);
    if (!file->path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, open_archive(file));
    PONS_TRY(st, find_prefix(file, &record));
    PONS_TRY(st, check_byte_order(file));
    PONS_TRY(st, record_bytes(file, record, &bytes));
    if (bytes > PICKLE_MAX) {
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: data.pkl: found %llu bytes, allowed: at most %d",
                       path, (unsigned long long)bytes, PICKLE_MAX);
        goto done;
    }
    PONS_ALLOC(st, pickle, (int64_t)bytes);
    PONS_TRY(st, read_record(file, record, bytes, pickle));
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
    pons_status st = read_record(file, s->record, bytes, file->cached);
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
