/**
 * Files and directories that appear whole or not at all, and JSON files read with one-line errors.
 *
 * A file is written as NAME.part, closed, synced, renamed, and its directory synced. A directory is
 * filled as OUT.part and renamed to OUT at the end; an abandoned one is removed. All Local: one
 * rank calls them and the status is agreed on outside.
 */
#ifndef PONS_IO_FILE_H
#define PONS_IO_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/** Read a whole file into counted memory with a zero after the last byte. @return PONS_ERR_IO
 * naming path and cause. */
pons_status pons_file_read(const char *path, char **data, size_t *bytes);

/** Replace `path` by these bytes atomically. @return PONS_ERR_IO (also on a full disk; no .part is
 * left). */
pons_status pons_file_write(const char *path, const void *data, size_t bytes);

/** SHA-256 of a file's bytes. @param hex 64 digits and a zero @return PONS_ERR_IO naming path and
 * cause. */
pons_status pons_file_digest(const char *path, char hex[65]);

/** Append one line (newline added, none inside) and sync. @return PONS_ERR_IO; what a full disk let
 * through is taken back. */
pons_status pons_file_append_line(const char *path, const char *line);

/** Copy a file atomically. */
pons_status pons_file_copy(const char *from, const char *to);

/** Whether a regular file, or a link to one, is there. */
bool pons_file_exists(const char *path);

/** Whether a directory, or a link to one, is there. */
bool pons_dir_exists(const char *path);

/** Whether a directory is there, can be read and holds nothing. */
bool pons_dir_is_empty(const char *path);

/** mkdir -p. */
pons_status pons_dir_make(const char *path);

/** Remove a directory tree, not following links; fine when absent. Refuses "", "/", and paths
 * ending in "." or ".." (PONS_ERR_USAGE), and anything that is not a directory (PONS_ERR_IO). */
pons_status pons_dir_remove(const char *path);

/** Remove everything in a directory but the entries that `keep` wants to keep; the directory stays.
 * @return PONS_ERR_IO. */
pons_status pons_dir_clean(const char *path, bool (*keep)(const char *name, const void *user),
                           const void *user);

/**
 * Whether two directories, there already or still to be made, are the same one or one lies in the
 * other. Links are resolved; a ".." behind what is not there yet is not.
 */
pons_status pons_dir_overlap(const char *a, const char *b, bool *overlap);

/** Name of the directory that OUT is filled under, OUT.part, or of another one beside it, in counted
 * memory; trailing slashes of `out` do not count. NULL when out of memory. */
char *pons_dir_beside(const char *out, const char *suffix);

/**
 * Begin an output directory: refuses an existing OUT unless `force` (PONS_ERR_EXISTS), removes a
 * stale OUT<suffix>, makes it (and the directories above). OUT itself is untouched until commit.
 * With `force` and an existing OUT, refuses an existing OUT.old too: commit moves OUT there.
 * @param suffix ".part" @param part receives the staging path in counted memory.
 */
pons_status pons_dir_stage(const char *out, const char *suffix, bool force, char **part);

/** Sync everything in `part`, move an old OUT aside to OUT.old, rename, remove the old one. @return
 * PONS_ERR_IO; OUT is then what it was, or the message says where it is. */
pons_status pons_dir_commit(const char *part, const char *out);

/** Parse a JSON file (object or array; a repeated key is an error); the error names file, line and
 * cause. Caller json_decref()s. */
pons_status pons_json_read(const char *path, json_t **out);

/** Write JSON atomically, 2-space indent, in insertion order. */
pons_status pons_json_write(const char *path, const json_t *value);

/** New JSON string of a file name. JSON is UTF-8 and names need not be: in one that is not, every
 * byte beyond ASCII becomes '?'. NULL when out of memory. */
json_t *pons_json_name(const char *name);

#endif
