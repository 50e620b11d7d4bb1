/**
 * What the fuzz targets share: files in a folder of their own on /dev/shm, and seeds. A target defines fuzz_seeds and
 * LLVMFuzzerTestOneInput; a crash, a leak or a report of the sanitizers is a finding, an error code is not.
 */
#ifndef PONS_TEST_FUZZ_H
#define PONS_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Write the seeds of a target into a folder, by the program's own writers. */
void fuzz_seeds(const char *folder);

/** Write bytes to the file `name` of this process's folder. @return its path, valid until the next call. */
const char *fuzz_file(const char *name, const void *data, size_t bytes);

/** Folder of this process; removed at exit. */
const char *fuzz_folder(void);

/** folder/name in a static buffer. */
const char *fuzz_path(const char *folder, const char *name);

/** Write a text as a seed. */
void fuzz_seed_text(const char *folder, const char *name, const char *text);

/** End the program when `ok` is false: a seed could not be made. */
void fuzz_must(int ok, const char *what);

#endif
