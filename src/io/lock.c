/* Owns the lock file of a directory. The file is no lock by its presence. It goes with its directory only, which a run
 * that failed before its first block removes; a process that had opened the file before notices that it is gone. */
#include "io/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct pons_lock {
    char *path;
    int fd; /* the only one of this file in the process: closing any drops the lock */
};

/* "node7 process 1234", as the holder wrote it. */
static void read_holder(int fd, char *text, size_t bytes)
{
    ssize_t n = pread(fd, text, bytes - 1, 0);
    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    if (!*text) snprintf(text, bytes, "another process");
}

static pons_status write_holder(int fd, const char *path)
{
    char host[256] = "", text[320];
    gethostname(host, sizeof host - 1);
    int n = snprintf(text, sizeof text, "%s process %ld\n", host, (long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n)
        return pons_fail_errno(PONS_ERR_IO, errno, "cannot write %s", path);
    return PONS_OK;
}

/* Whether the locked file still is the one of its name. */
static bool is_current(const pons_lock *l)
{
    struct stat held, named;
    return !fstat(l->fd, &held) && !stat(l->path, &named) && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

static pons_status take(const char *directory, const pons_lock *l)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (!fcntl(l->fd, F_SETLK, &whole)) {
        if (is_current(l)) return write_holder(l->fd, l->path);
        return pons_fail(PONS_ERR_EXISTS, "%s was removed by another process just now", directory);
    }
    if (errno == EACCES || errno == EAGAIN) {
        char holder[320];
        read_holder(l->fd, holder, sizeof holder);
        return pons_fail(PONS_ERR_EXISTS, "%s is in use by %s", directory, holder);
    }
    if (errno != ENOLCK && errno != ENOSYS && errno != EOPNOTSUPP)
        return pons_fail_errno(PONS_ERR_IO, errno, "cannot lock %s", l->path);
    pons_log(PONS_LOG_WARN,
             "%s: this file system has no locks (%s): make sure that no second run uses it",
             directory, strerror(errno));
    return write_holder(l->fd, l->path);
}

pons_status pons_lock_take(const char *directory, pons_lock **out)
{
    pons_status st = PONS_OK;
    pons_lock *l = NULL;
    PONS_CALLOC(st, l, 1);
    l->fd = -1;
    l->path = pons_mem_printf("%s/lock", directory);
    if (!l->path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->fd < 0) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", l->path);
        goto done;
    }
    PONS_TRY(st, take(directory, l));
    *out = l;
    l = NULL;
done:
    if (l) {
        if (l->fd >= 0) close(l->fd);
        pons_mem_free(l->path);
        pons_mem_free(l);
    }
    return st;
}

void pons_lock_release(pons_lock **lock)
{
    pons_lock *l = *lock;
    if (!l) return;
    close(l->fd);
    pons_mem_free(l->path);
    pons_mem_free(l);
    *lock = NULL;
}
