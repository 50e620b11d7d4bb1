/* Owns the protocol by which a file appears whole or not at all: write NAME.part, flush, fsync,
 * close, rename, fsync the directory. Does not know what is in the file. */
#include "io/part.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/* Many small writes (rows of a tensor) become few large ones. */
enum { STREAM_BUFFER = 1 << 20 };

pons_status pons_part_open(const char *path, pons_part *out)
{
    pons_part p = {0};
    pons_status st = PONS_ERR_NOMEM;
    p.path = pons_mem_strdup(path);
    p.part = pons_mem_printf("%s.part", path);
    if (!p.path || !p.part) goto done;
    p.stream = fopen(p.part, "wbe");
    if (!p.stream) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot create %s", p.part);
        goto done;
    }
    setvbuf(p.stream, NULL, _IOFBF, STREAM_BUFFER);
    *out = p;
    return PONS_OK;
done:
    pons_mem_free(p.path);
    pons_mem_free(p.part);
    return st;
}

pons_status pons_part_write(pons_part *p, const void *data, size_t bytes)
{
    errno = 0;
    if (bytes && fwrite(data, 1, bytes, p->stream) != bytes)
        return pons_fail_errno(PONS_ERR_IO, errno, "cannot write %s", p->part);
    return PONS_OK;
}

pons_status pons_part_commit(pons_part *p)
{
    pons_status st = PONS_OK;
    FILE *stream = p->stream;
    if (fflush(stream) || fsync(fileno(stream))) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot write %s", p->part);
        goto done;
    }
    p->stream = NULL;
    if (fclose(stream)) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot close %s", p->part);
        goto done;
    }
    PONS_TRY(st, pons_part_publish(p->part, p->path));
    pons_mem_free(p->path);
    pons_mem_free(p->part);
    *p = (pons_part){0};
done:
    pons_part_abandon(p);
    return st;
}

void pons_part_abandon(pons_part *p)
{
    if (p->stream) fclose(p->stream);
    if (p->part) unlink(p->part);
    pons_mem_free(p->path);
    pons_mem_free(p->part);
    *p = (pons_part){0};
}

pons_status pons_part_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    pons_status st = PONS_OK;
    if (fsync(fd)) st = pons_fail_errno(PONS_ERR_IO, errno, "cannot sync %s", path);
    close(fd);
    return st;
}

pons_status pons_part_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = !slash          ? pons_mem_strdup(".")
                      : slash == path ? pons_mem_strdup("/")
                                      : pons_mem_printf("%.*s", (int)(slash - path), path);
    if (!directory) return PONS_ERR_NOMEM;
    pons_status st = pons_part_sync(directory);
    pons_mem_free(directory);
    return st;
}

pons_status pons_part_publish(const char *part, const char *path)
{
    if (rename(part, path))
        return pons_fail_errno(PONS_ERR_IO, errno, "cannot rename %s to %s", part, path);
    return pons_part_sync_parent(path);
}
