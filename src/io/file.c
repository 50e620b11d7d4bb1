/* Owns reading, replacing, appending and copying single files, and JSON text. Does not own
 * directories (directory.c) nor the .part protocol (part.c). */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sha256.h"
#include "io/part.h"

enum { COPY_BYTES = 1 << 20 };

/* Read up to `bytes` bytes; fewer only at the end of the file. @return -1 with errno on failure. */
static ssize_t read_some(int fd, char *data, size_t bytes)
{
    size_t got = 0;
    while (got < bytes) {
        ssize_t n = read(fd, data + got, bytes - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

pons_status pons_file_read(const char *path, char **data, size_t *bytes)
{
    pons_status st = PONS_OK;
    char *text = NULL;
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    if (fstat(fd, &info)) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", path);
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        st = pons_fail(PONS_ERR_IO, "cannot read %s: not a regular file", path);
        goto done;
    }
    PONS_ALLOC(st, text, info.st_size + 1);
    ssize_t got = read_some(fd, text, (size_t)info.st_size);
    if (got < 0) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", path);
        goto done;
    }
    text[got] = 0;
    *data = text;
    *bytes = (size_t)got;
    text = NULL;
done:
    pons_mem_free(text);
    close(fd);
    return st;
}

pons_status pons_file_write(const char *path, const void *data, size_t bytes)
{
    pons_part part = {0};
    pons_status st;
    PONS_TRY(st, pons_part_open(path, &part));
    PONS_TRY(st, pons_part_write(&part, data, bytes));
    PONS_TRY(st, pons_part_commit(&part));
done:
    pons_part_abandon(&part);
    return st;
}

pons_status pons_file_digest(const char *path, char hex[65])
{
    pons_status st = PONS_OK;
    pons_sha256 digest;
    ssize_t got;
    char *chunk = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    PONS_ALLOC(st, chunk, COPY_BYTES);
    pons_sha256_begin(&digest);
    while ((got = read_some(fd, chunk, COPY_BYTES)) > 0)
        pons_sha256_update(&digest, chunk, (size_t)got);
    if (got < 0)
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", path);
    else
        pons_sha256_end(&digest, hex);
done:
    pons_mem_free(chunk);
    close(fd);
    return st;
}

/* One write() for the whole line; what a full disk let through is taken back, so that the file
 * never ends in half a line. */
static pons_status append(int fd, const char *path, const char *line, size_t bytes)
{
    struct stat info;
    if (fstat(fd, &info)) return pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", path);
    ssize_t n;
    do
        n = write(fd, line, bytes);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)bytes && !fsync(fd)) return PONS_OK;
    int cause = n >= 0 && n < (ssize_t)bytes ? ENOSPC : errno;
    if (n > 0 && ftruncate(fd, info.st_size))
        return pons_fail_errno(PONS_ERR_IO, cause,
                               "cannot append to %s, which now ends with an incomplete line", path);
    return pons_fail_errno(PONS_ERR_IO, cause, "cannot append to %s", path);
}

pons_status pons_file_append_line(const char *path, const char *line)
{
    pons_status st = PONS_OK;
    if (strchr(line, '\n'))
        return pons_fail(PONS_ERR_BUG, "%s: the line to append contains a newline", path);
    char *text = pons_mem_printf("%s\n", line);
    if (!text) return PONS_ERR_NOMEM;
    bool fresh = !pons_file_exists(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
        goto done;
    }
    PONS_TRY(st, append(fd, path, text, strlen(text)));
    if (fresh) PONS_TRY(st, pons_part_sync_parent(path));
done:
    if (fd >= 0) close(fd);
    pons_mem_free(text);
    return st;
}

pons_status pons_file_copy(const char *from, const char *to)
{
    pons_status st = PONS_OK;
    pons_part part = {0};
    char *buffer = NULL;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", from);
    PONS_ALLOC(st, buffer, COPY_BYTES);
    PONS_TRY(st, pons_part_open(to, &part));
    for (ssize_t n = 1; n > 0;) {
        n = read_some(fd, buffer, COPY_BYTES);
        if (n < 0) {
            st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", from);
            goto done;
        }
        PONS_TRY(st, pons_part_write(&part, buffer, (size_t)n));
    }
    PONS_TRY(st, pons_part_commit(&part));
done:
    pons_part_abandon(&part);
    pons_mem_free(buffer);
    close(fd);
    return st;
}

bool pons_file_exists(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISREG(info.st_mode);
}

pons_status pons_json_read(const char *path, json_t **out)
{
    char *text = NULL;
    size_t bytes = 0;
    json_error_t error;
    pons_status st = pons_file_read(path, &text, &bytes);
    if (st != PONS_OK) return st;
    json_t *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (value)
        *out = value;
    else
        st = pons_fail(PONS_ERR_INPUT, "%s: line %d: not valid JSON: %s", path, error.line,
                       error.text);
    pons_mem_free(text);
    return st;
}

pons_status pons_json_write(const char *path, const json_t *value)
{
    pons_part part = {0};
    pons_status st = PONS_OK;
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
    if (!text) return pons_fail(PONS_ERR_NOMEM, "%s: JSON could not be printed", path);
    PONS_TRY(st, pons_part_open(path, &part));
    PONS_TRY(st, pons_part_write(&part, text, strlen(text)));
    PONS_TRY(st, pons_part_write(&part, "\n", 1));
    PONS_TRY(st, pons_part_commit(&part));
done:
    pons_part_abandon(&part);
    free(text);
    return st;
}

json_t *pons_json_name(const char *name)
{
    json_t *value = json_string(name);
    if (value) return value;
    char *ascii = pons_mem_strdup(name);
    if (!ascii) return NULL;
    for (char *c = ascii; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    value = json_string(ascii);
    pons_mem_free(ascii);
    return value;
}
