/* Owns the files, the names and the table of tensors of an open model, and look-up. Opening is in
 * store_open.c, reading of tensors in store_read.c; the file formats are in safetensors.c and gguf.c. */
#include "io/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "io/store_build.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "model files are little-endian and used in place");

/* Names are copied into chunks, so that they are terminated and cost no allocation each. */
struct pons_store_names {
    pons_store_names *next;
    size_t used, size;
    char text[];
};

enum { NAMES_CHUNK = 1 << 16 };

pons_status pons_store_add_file(pons_store *store, const char *path)
{
    pons_status st = PONS_OK;
    pons_store_file file = {0};
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    if (fstat(fd, &info)) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        st = pons_fail(PONS_ERR_IO, "cannot open %s: not a regular file", path);
        goto done;
    }
    if (store->file_count == store->file_capacity) {
        int64_t capacity = store->file_capacity ? 2 * store->file_capacity : 8;
        pons_store_file *grown = pons_mem_resize(
            store->files, (size_t)store->file_count * sizeof *grown, capacity, sizeof *grown);
        if (!grown) {
            st = PONS_ERR_NOMEM;
            goto done;
        }
        store->files = grown;
        store->file_capacity = capacity;
    }
    file.path = pons_mem_strdup(path);
    if (!file.path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    file.bytes = (size_t)info.st_size;
    file.fd = fd;
    store->files[store->file_count++] = file;
    return PONS_OK;
done:
    close(fd);
    return st;
}

pons_status pons_store_read_file(const pons_store_file *file, const char *what, size_t at,
                                 size_t bytes, void *out)
{
    for (size_t got = 0; got < bytes;) {
        ssize_t n = pread(file->fd, (char *)out + got, bytes - got, (off_t)(at + got));
        if (pons_fault(PONS_FAULT_STORE_READ)) n = -1, errno = EIO;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s: %s", file->path, what);
        if (n == 0)
            return pons_fail(PONS_ERR_IO,
                             "cannot read %s: %s: the file had %zu bytes when it was opened and "
                             "now ends at %zu",
                             file->path, what, file->bytes, at + got);
        got += (size_t)n;
    }
    return PONS_OK;
}

/* Terminated copy of a name, owned by the store. */
static const char *keep_name(pons_store *store, const char *name, size_t length)
{
    pons_store_names *chunk = store->names;
    if (!chunk || chunk->size - chunk->used < length + 1) {
        size_t size = length + 1 > NAMES_CHUNK ? length + 1 : NAMES_CHUNK;
        chunk = pons_mem_alloc((int64_t)(sizeof *chunk + size), 1);
        if (!chunk) return NULL;
        chunk->next = store->names;
        chunk->used = 0;
        chunk->size = size;
        store->names = chunk;
    }
    char *copy = chunk->text + chunk->used;
    memcpy(copy, name, length);
    copy[length] = 0;
    chunk->used += length + 1;
    return copy;
}

pons_status pons_store_add_tensor(pons_store *store, const char *name, size_t length,
                                  const pons_store_tensor *tensor)
{
    if (store->count == store->capacity) {
        int64_t capacity = store->capacity ? 2 * store->capacity : 256;
        pons_store_tensor *grown = pons_mem_resize(
            store->tensors, (size_t)store->count * sizeof *grown, capacity, sizeof *grown);
        if (!grown) return PONS_ERR_NOMEM;
        store->tensors = grown;
        store->capacity = capacity;
    }
    pons_store_tensor *t = &store->tensors[store->count];
    *t = *tensor;
    t->view.name = keep_name(store, name, length);
    if (!t->view.name) return PONS_ERR_NOMEM;
    store->count++;
    return PONS_OK;
}

static int by_offset(const void *a, const void *b)
{
    const pons_store_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end); /* an empty tensor goes first */
}

static int by_name(const void *a, const void *b)
{
    const pons_store_tensor *x = a, *y = b;
    return strcmp(x->view.name, y->view.name);
}

pons_status pons_store_place(pons_store *store, int64_t file, int64_t first, size_t section,
                             size_t bytes, uint64_t alignment)
{
    pons_store_file *f = &store->files[file];
    int64_t n = store->count - first;
    pons_store_tensor *t =
        n ? store->tensors + first : NULL; /* a file without tensors may have no table */
    char a[PONS_LABEL_BYTES], b[PONS_LABEL_BYTES];
    uint64_t end = 0, padded = 0; /* of the tensor before */

    f->data_begin = section;
    if (n) qsort(t, (size_t)n, sizeof *t, by_offset);
    for (int64_t i = 0; i < n; i++) {
        const char *name = t[i].view.name, *before = i ? t[i - 1].view.name : "(the header)";
        pons_store_label(a, name, strlen(name));
        pons_store_label(b, before, strlen(before));
        if (t[i].end > bytes)
            return pons_fail(PONS_ERR_INPUT,
                             "%s: tensor '%s' takes data bytes %llu to %llu, but the file holds "
                             "only %zu data bytes: truncated or damaged",
                             f->path, a, (unsigned long long)t[i].begin,
                             (unsigned long long)t[i].end, bytes);
        if (t[i].begin < padded)
            return pons_fail(PONS_ERR_INPUT,
                             "%s: tensor '%s' begins at data byte %llu, inside '%s', which ends at "
                             "%llu; tensors may not overlap",
                             f->path, a, (unsigned long long)t[i].begin, b,
                             (unsigned long long)padded);
        if (t[i].begin > padded)
            return pons_fail(PONS_ERR_INPUT,
                             "%s: tensor '%s' begins at data byte %llu, but '%s' ends at %llu; no "
                             "gap is allowed between tensors",
                             f->path, a, (unsigned long long)t[i].begin, b,
                             (unsigned long long)padded);
        end = t[i].end;
        padded = (end + alignment - 1) / alignment * alignment;
    }
    if (bytes > padded)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: the file holds %zu data bytes, but its tensors end at %llu; nothing "
                         "may follow them",
                         f->path, bytes, (unsigned long long)end);
    return PONS_OK;
}

pons_status pons_store_sort(pons_store *store)
{
    char label[PONS_LABEL_BYTES];
    if (store->count) qsort(store->tensors, (size_t)store->count, sizeof *store->tensors, by_name);
    for (int64_t i = 1; i < store->count; i++) {
        const pons_store_tensor *a = &store->tensors[i - 1], *b = &store->tensors[i];
        if (strcmp(a->view.name, b->view.name)) continue;
        pons_store_label(label, a->view.name, strlen(a->view.name));
        if (a->file == b->file)
            return pons_fail(PONS_ERR_INPUT, "%s: two tensors are named '%s'; names must differ",
                             store->files[a->file].path, label);
        return pons_fail(PONS_ERR_INPUT, "tensor '%s' is in both %s and %s; allowed: in one", label,
                         store->files[a->file].path, store->files[b->file].path);
    }
    return PONS_OK;
}

bool pons_shape_bytes(pons_dtype dtype, int ndim, const int64_t *shape, int64_t *bytes)
{
    int64_t n = 1, unit = pons_dtype_unit_elements(dtype);
    for (int i = 0; i < ndim; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(n, shape[i], &n)) return false;
    if ((ndim ? shape[ndim - 1] : 1) % unit) return false;
    return !__builtin_mul_overflow(n / unit, (int64_t)pons_dtype_bytes(dtype, unit), bytes);
}

const char *pons_store_label(char label[PONS_LABEL_BYTES], const char *text, size_t length)
{
    size_t n = length < PONS_LABEL_BYTES ? length : PONS_LABEL_BYTES - 4;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        label[i] = c < 0x20 || c == 0x7f ? '?' : text[i];
    }
    strcpy(label + n, n < length ? "..." : "");
    return label;
}

void pons_store_clear(pons_store *s)
{
    for (int64_t i = 0; i < s->file_count; i++) {
        close(s->files[i].fd);
        pons_mem_free(s->files[i].head);
        pons_mem_free(s->files[i].path);
    }
    for (pons_store_names *chunk = s->names, *next; chunk; chunk = next) {
        next = chunk->next;
        pons_mem_free(chunk);
    }
    pons_mem_free(s->files);
    pons_mem_free(s->tensors);
}

const char *pons_store_path(const pons_store *store) { return store->path; }

bool pons_store_is_gguf(const pons_store *store) { return store->gguf; }

int64_t pons_store_count(const pons_store *store) { return store->count; }

const pons_tensor_view *pons_store_at(const pons_store *store, int64_t i)
{
    PONS_ASSERT(i >= 0 && i < store->count);
    return &store->tensors[i].view;
}

const pons_tensor_view *pons_store_find(const pons_store *store, const char *name)
{
    pons_store_tensor key = {.view.name = name};
    if (!store->count) return NULL;
    const pons_store_tensor *found =
        bsearch(&key, store->tensors, (size_t)store->count, sizeof key, by_name);
    return found ? &found->view : NULL;
}

const pons_store_file *pons_store_file_of(const pons_store *store, const pons_store_tensor *tensor)
{
    return &store->files[tensor->file];
}
