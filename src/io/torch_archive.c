/* Owns the zip archive of a torch file: what is one, its records, and the storages of tensors in them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/store_build.h"
#include "io/torch_build.h"

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

pons_status pons_torch_record_bytes(const pons_torch_file *file, uint64_t record, uint64_t *bytes)
{
    zip_stat_t info;
    if (zip_stat_index(file->archive, record, 0, &info) || !(info.valid & ZIP_STAT_SIZE))
        return pons_fail(PONS_ERR_INPUT, "%s: damaged zip archive: %s", file->path,
                         archive_error(file));
    *bytes = info.size;
    return PONS_OK;
}

/* A whole record; libzip compares the checksum at its end. */
pons_status pons_torch_read_record(const pons_torch_file *file, uint64_t record, uint64_t bytes,
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
    PONS_TRY(st, pons_torch_record_bytes(file, storage->record, &bytes));
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

/* The record that tells the byte order; absent in older files, which are little-endian. */
static pons_status check_byte_order(const pons_torch_file *file)
{
    pons_status st = PONS_OK;
    char text[8] = "", *name = pons_mem_printf("%sbyteorder", file->prefix);
    uint64_t bytes = 0;
    if (!name) return PONS_ERR_NOMEM;
    zip_int64_t record = zip_name_locate(file->archive, name, ZIP_FL_ENC_RAW);
    if (record < 0) goto done;
    PONS_TRY(st, pons_torch_record_bytes(file, (uint64_t)record, &bytes));
    if (bytes < sizeof text)
        PONS_TRY(st, pons_torch_read_record(file, (uint64_t)record, bytes, text));
    if (strcmp(text, "little"))
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: byteorder: found %s, allowed: little", file->path,
                       strcmp(text, "big") ? "an unknown value" : text);
done:
    pons_mem_free(name);
    return st;
}

pons_status pons_torch_open_archive(pons_torch_file *file, uint64_t *record)
{
    pons_status st;
    PONS_TRY(st, check_head(file->path));
    PONS_TRY(st, open_archive(file));
    PONS_TRY(st, find_prefix(file, record));
    PONS_TRY(st, check_byte_order(file));
done:
    return st;
}
