/* Owns the writing of a torch file: the pickle of a dictionary of tensors, and the archive around
 * it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "base/mem.h"
#include "io/part.h"
#include "io/torch_file.h"

/* Times of records do not come from the clock: the same tensors give the same bytes. Noon of the
 * second day that a zip archive can express. */
enum { RECORD_TIME = 315662400 };

static const char *storage_name(pons_dtype dtype)
{
    switch (dtype) {
    case PONS_DTYPE_F32: return "FloatStorage";
    case PONS_DTYPE_F16: return "HalfStorage";
    case PONS_DTYPE_BF16: return "BFloat16Storage";
    case PONS_DTYPE_F64: return "DoubleStorage";
    default: PONS_ASSERT(!"a real dtype"); return NULL;
    }
}

static void put_number(FILE *f, char opcode, uint64_t value, int bytes)
{
    fputc(opcode, f);
    for (int i = 0; i < bytes; i++)
        fputc((int)(value >> (8 * i) & 255), f);
}

static void put_text(FILE *f, const char *text)
{
    put_number(f, 'X', strlen(text), 4); /* BINUNICODE */
    fputs(text, f);
}

/* BININT, or LONG1 for what does not fit. */
static void put_int(FILE *f, int64_t value)
{
    if (value <= INT32_MAX) {
        put_number(f, 'J', (uint64_t)value, 4);
        return;
    }
    fputs("\x8a\x08", f);
    for (int i = 0; i < 8; i++)
        fputc((int)((uint64_t)value >> (8 * i) & 255), f);
}

/* _rebuild_tensor_v2(storage, 0, shape, stride, False, OrderedDict()) */
static void put_tensor(FILE *f, const pons_tensor_view *t, int64_t key)
{
    char name[24];
    int64_t stride[4] = {1, 1, 1, 1};
    snprintf(name, sizeof name, "%lld", (long long)key);
    for (int i = t->ndim - 2; i >= 0; i--)
        stride[i] = stride[i + 1] * t->shape[i + 1];
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", f); /* GLOBAL, MARK, MARK */
    put_text(f, "storage");
    fprintf(f, "ctorch\n%s\n", storage_name(t->dtype));
    put_text(f, name);
    put_text(f, "cpu");
    put_int(f, pons_tensor_elements(t));
    fputs("tQ", f); /* TUPLE, BINPERSID */
    put_int(f, 0);
    fputc('(', f);
    for (int i = 0; i < t->ndim; i++)
        put_int(f, t->shape[i]);
    fputs("t(", f);
    for (int i = 0; i < t->ndim; i++)
        put_int(f, stride[i]);
    fputs("t\x89"
          "ccollections\nOrderedDict\n)RtR",
          f); /* TUPLE, NEWFALSE, GLOBAL, ..., REDUCE */
}

/* The pickle, to be free()d. */
static pons_status make_pickle(int64_t count, const pons_tensor_view *tensors, char **out,
                               size_t *bytes)
{
    FILE *f = open_memstream(out, bytes);
    if (!f) return pons_fail_errno(PONS_ERR_NOMEM, errno, "out of memory for a pickle");
    fputs("\x80\x02}(", f); /* PROTO 2, EMPTY_DICT, MARK */
    for (int64_t i = 0; i < count; i++) {
        put_text(f, tensors[i].name);
        put_tensor(f, &tensors[i], i);
    }
    fputs("u.", f); /* SETITEMS, STOP */
    bool failed = ferror(f);
    if (fclose(f) || failed) return pons_fail(PONS_ERR_NOMEM, "out of memory for a pickle");
    return PONS_OK;
}

/* One record, stored as it is; the data is borrowed until the archive is closed. */
static bool add_record(zip_t *archive, const char *name, const void *data, size_t bytes)
{
    zip_source_t *source = zip_source_buffer(archive, data, bytes, 0);
    if (!source) return false;
    zip_int64_t index = zip_file_add(archive, name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return false;
    }
    return !zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) &&
           !zip_file_set_mtime(archive, (zip_uint64_t)index, RECORD_TIME, 0);
}

static bool add_records(zip_t *archive, const char *pickle, size_t bytes, int64_t count,
                        const pons_tensor_view *tensors)
{
    char name[48];
    bool fine = add_record(archive, "archive/data.pkl", pickle, bytes) &&
                add_record(archive, "archive/byteorder", "little", 6);
    for (int64_t i = 0; fine && i < count; i++) {
        snprintf(name, sizeof name, "archive/data/%lld", (long long)i);
        fine = add_record(archive, name, tensors[i].data,
                          pons_dtype_bytes(tensors[i].dtype, pons_tensor_elements(&tensors[i])));
    }
    return fine && add_record(archive, "archive/version", "3\n", 2);
}

pons_status pons_torch_write(const char *path, int64_t count, const pons_tensor_view *tensors)
{
    pons_status st = PONS_OK;
    char *pickle = NULL, *part = pons_mem_printf("%s.part", path);
    size_t bytes = 0;
    int code = 0;
    zip_t *archive = NULL;
    if (!part) return PONS_ERR_NOMEM;
    PONS_TRY(st, make_pickle(count, tensors, &pickle, &bytes));
    archive = zip_open(part, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (!archive) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot create %s", part);
        goto done;
    }
    if (!add_records(archive, pickle, bytes, count, tensors) || zip_close(archive)) {
        st = pons_fail(PONS_ERR_IO, "cannot write %s: %s", part, zip_strerror(archive));
        goto done;
    }
    archive = NULL;
    PONS_TRY(st, pons_part_sync(part));
    PONS_TRY(st, pons_part_publish(part, path));
done:
    if (archive) zip_discard(archive);
    if (st != PONS_OK) unlink(part);
    free(pickle);
    pons_mem_free(part);
    return st;
}
