/* Folder, files and seeds of the fuzz targets. With PONS_FUZZ_SEEDS=FOLDER a target only writes its seeds. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "io/file.h"

static char folder[64];

static void remove_folder(void) { pons_dir_remove(folder); }

void fuzz_must(int ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "fuzz: %s: %s\n", what, pons_error_message());
    exit(1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *seeds = getenv("PONS_FUZZ_SEEDS");
    (void)argc, (void)argv;
    pons_log_configure(PONS_LOG_ERROR, 1);
    snprintf(folder, sizeof folder, "/dev/shm/pons-fuzz-XXXXXX");
    fuzz_must(mkdtemp(folder) != NULL, folder);
    atexit(remove_folder);
    if (!seeds) return 0;
    fuzz_seeds(seeds);
    exit(0);
}

const char *fuzz_folder(void) { return folder; }

const char *fuzz_path(const char *in, const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", in, name);
    return path;
}

static void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    fuzz_must(file && fwrite(data, 1, bytes, file) == bytes && !fclose(file), path);
}

const char *fuzz_file(const char *name, const void *data, size_t bytes)
{
    const char *path = fuzz_path(folder, name);
    write_file(path, data, bytes);
    return path;
}

void fuzz_seed_text(const char *in, const char *name, const char *text)
{
    write_file(fuzz_path(in, name), text, strlen(text));
}
