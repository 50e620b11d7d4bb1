/* Owns directories: making, removing, and the staging of an output directory as OUT.part. Does not
 * own the writing of files. */
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/part.h"

bool pons_dir_exists(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

/* Copy of a path without trailing slashes ("out/" and "out" must give the same OUT.part). Refuses
 * what must never be removed or renamed. */
static pons_status plain_path(const char *path, char **out)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *slash = memrchr(path, '/', n), *last = slash ? slash + 1 : path;
    size_t length = n - (size_t)(last - path);
    if (length == 0 || (length == 1 && last[0] == '.') ||
        (length == 2 && last[0] == '.' && last[1] == '.'))
        return pons_fail(PONS_ERR_USAGE, "refusing to replace or remove the directory '%s'", path);
    *out = pons_mem_printf("%.*s", (int)n, path);
    return *out ? PONS_OK : PONS_ERR_NOMEM;
}

char *pons_dir_beside(const char *out, const char *suffix)
{
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/')
        n--;
    return pons_mem_printf("%.*s%s", (int)n, out, suffix);
}

static pons_status make_one(const char *path)
{
    if (!mkdir(path, 0777)) return PONS_OK;
    int cause = errno;
    if (pons_dir_exists(path)) return PONS_OK;
    return pons_fail_errno(PONS_ERR_IO, cause, "cannot make directory %s", path);
}

pons_status pons_dir_make(const char *path)
{
    char *copy = pons_mem_strdup(path);
    if (!copy) return PONS_ERR_NOMEM;
    pons_status st = PONS_OK;
    for (char *p = copy; *p; p++) {
        if (*p != '/' || p == copy || p[1] == '/' || p[1] == 0) continue;
        *p = 0;
        PONS_TRY(st, make_one(copy));
        *p = '/';
    }
    PONS_TRY(st, make_one(copy));
done:
    pons_mem_free(copy);
    return st;
}

/* Call visit on everything below `path`, then on `path` itself. Links are visited, never followed.
 */
static pons_status walk(const char *path, pons_status (*visit)(const char *path, bool directory))
{
    pons_status st = PONS_OK;
    char *child = NULL;
    DIR *directory = opendir(path);
    if (!directory) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (!entry) break;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        child = pons_mem_printf("%s/%s", path, entry->d_name);
        if (!child) {
            st = PONS_ERR_NOMEM;
            goto done;
        }
        struct stat info;
        if (lstat(child, &info)) {
            st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", child);
            goto done;
        }
        PONS_TRY(st, S_ISDIR(info.st_mode) ? walk(child, visit) : visit(child, false));
        pons_mem_free(child);
        child = NULL;
    }
    if (errno) {
        st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", path);
        goto done;
    }
    PONS_TRY(st, visit(path, true));
done:
    pons_mem_free(child);
    closedir(directory);
    return st;
}

static pons_status remove_one(const char *path, bool directory)
{
    if (directory ? rmdir(path) : unlink(path))
        return pons_fail_errno(PONS_ERR_IO, errno, "cannot remove %s", path);
    return PONS_OK;
}

static pons_status sync_one(const char *path, bool directory)
{
    (void)directory;
    return pons_part_sync(path);
}

/* What is at `path`, not following a link. */
typedef enum occupant { NOTHING, DIRECTORY, OTHER } occupant;

static pons_status look(const char *path, occupant *found)
{
    struct stat info;
    if (!lstat(path, &info))
        *found = S_ISDIR(info.st_mode) ? DIRECTORY : OTHER;
    else if (errno == ENOENT)
        *found = NOTHING;
    else
        return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    return PONS_OK;
}

pons_status pons_dir_remove(const char *path)
{
    char *plain = NULL;
    occupant found = NOTHING;
    pons_status st;
    PONS_TRY(st, plain_path(path, &plain));
    PONS_TRY(st, look(plain, &found));
    if (found == OTHER)
        st = pons_fail(PONS_ERR_IO, "cannot remove %s: not a directory", plain);
    else if (found == DIRECTORY)
        st = walk(plain, remove_one);
done:
    pons_mem_free(plain);
    return st;
}

pons_status pons_dir_clean(const char *path, bool (*keep)(const char *name, const void *user),
                           const void *user)
{
    pons_status st = PONS_OK;
    char *child = NULL;
    DIR *directory = opendir(path);
    if (!directory) return pons_fail_errno(PONS_ERR_IO, errno, "cannot open %s", path);
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (!entry) break;
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..") || keep(name, user)) continue;
        occupant found = NOTHING;
        child = pons_mem_printf("%s/%s", path, name);
        if (!child) {
            st = PONS_ERR_NOMEM;
            goto done;
        }
        PONS_TRY(st, look(child, &found));
        PONS_TRY(st, found == DIRECTORY ? walk(child, remove_one) : remove_one(child, false));
        pons_mem_free(child);
        child = NULL;
    }
    if (errno) st = pons_fail_errno(PONS_ERR_IO, errno, "cannot read %s", path);
done:
    pons_mem_free(child);
    closedir(directory);
    return st;
}

bool pons_dir_is_empty(const char *path)
{
    bool empty = true;
    DIR *directory = opendir(path);
    if (!directory) return false;
    errno = 0;
    for (struct dirent *entry; empty && (entry = readdir(directory));)
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    empty = empty && !errno;
    closedir(directory);
    return empty;
}

/* The path with links resolved as far as it is there, then what is still to be made. */
static pons_status resolve(const char *path, char **out)
{
    char *there = pons_mem_strdup(path), *real = NULL;
    if (!there) return PONS_ERR_NOMEM;
    size_t n = strlen(there);
    for (;;) {
        while (n > 1 && there[n - 1] == '/')
            there[--n] = 0;
        real = realpath(n ? there : ".", NULL);
        if (real || n == 0) break;
        while (n > 0 && there[n - 1] != '/')
            there[--n] = 0;
    }
    const char *rest = path + n;
    while (*rest == '/')
        rest++;
    size_t end = strlen(rest);
    while (end > 0 && rest[end - 1] == '/')
        end--;
    *out = real ? pons_mem_printf("%s%s%.*s", strcmp(real, "/") ? real : "", end ? "/" : "",
                                  (int)end, rest)
                : pons_mem_strdup(path);
    free(real);
    pons_mem_free(there);
    return *out ? PONS_OK : PONS_ERR_NOMEM;
}

pons_status pons_dir_overlap(const char *a, const char *b, bool *overlap)
{
    pons_status st;
    char *x = NULL, *y = NULL;
    PONS_TRY(st, resolve(a, &x));
    PONS_TRY(st, resolve(b, &y));
    size_t n = strlen(x), m = strlen(y), shorter = n < m ? n : m;
    char next = n < m ? y[n] : x[m];
    *overlap = !strncmp(x, y, shorter) && (!next || next == '/');
done:
    pons_mem_free(y);
    pons_mem_free(x);
    return st;
}

pons_status pons_dir_stage(const char *out, const char *suffix, bool force, char **part)
{
    char *plain = NULL, *staging = NULL, *aside = NULL;
    occupant found = NOTHING, old = NOTHING;
    pons_status st;
    PONS_TRY(st, plain_path(out, &plain));
    staging = pons_mem_printf("%s%s", plain, suffix);
    aside = pons_mem_printf("%s.old", plain);
    if (!staging || !aside) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, look(plain, &found));
    PONS_TRY(st, look(aside, &old));
    if (found == OTHER)
        st = pons_fail(PONS_ERR_EXISTS, "output %s exists and is not a directory", plain);
    else if (found != NOTHING && !force)
        st = pons_fail(PONS_ERR_EXISTS, "output directory %s exists; --force replaces it", plain);
    else if (found != NOTHING && old != NOTHING)
        st = pons_fail(
            PONS_ERR_EXISTS,
            "%s exists, but %s is to be renamed to it during replacement; inspect and remove it",
            aside, plain);
    if (st != PONS_OK) goto done;
    PONS_TRY(st, pons_dir_remove(staging));
    PONS_TRY(st, pons_dir_make(staging));
    *part = staging;
    staging = NULL;
done:
    pons_mem_free(aside);
    pons_mem_free(staging);
    pons_mem_free(plain);
    return st;
}

pons_status pons_dir_commit(const char *part, const char *out)
{
    char *plain = NULL, *aside = NULL;
    occupant found = NOTHING;
    pons_status st;
    PONS_TRY(st, plain_path(out, &plain));
    aside = pons_mem_printf("%s.old", plain);
    if (!aside) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, walk(part, sync_one));
    PONS_TRY(st, look(plain, &found));
    if (found != NOTHING) PONS_TRY(st, pons_part_publish(plain, aside));
    st = pons_part_publish(part, plain);
    if (st != PONS_OK) {
        if (found != NOTHING && rename(aside, plain))
            st = pons_fail_errno(PONS_ERR_IO, errno,
                                 "cannot rename %s to %s; the former output is now %s", part, plain,
                                 aside);
        goto done;
    }
    if (found != NOTHING) PONS_TRY(st, pons_dir_remove(aside));
done:
    pons_mem_free(aside);
    pons_mem_free(plain);
    return st;
}
