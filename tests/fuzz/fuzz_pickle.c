/* The pickle of a torch file, without the archive's checksum: the machine and what it builds. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/mem.h"
#include "io/torch_build.h"

static void open_archive(pons_torch_file *file, const char *path, uint64_t *record)
{
    file->path = pons_mem_strdup(path);
    fuzz_must(file->path && pons_torch_open_archive(file, record) == PONS_OK, path);
}

static void make_archive(const char *path)
{
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    const pons_tensor_view tensors[] = {
        {.name = "R1", .dtype = PONS_DTYPE_F32, .ndim = 2, .shape = {2, 3}, .data = data},
        {.name = "x", .dtype = PONS_DTYPE_F16, .ndim = 1, .shape = {4}, .data = data}};
    fuzz_must(pons_torch_write(path, 2, tensors) == PONS_OK, path);
}

void fuzz_seeds(const char *folder)
{
    char from[512];
    uint64_t record, bytes;
    pons_torch_file *file = pons_mem_calloc(1, sizeof *file);
    strcpy(from, fuzz_path(fuzz_folder(), "m.pt"));
    make_archive(from);
    open_archive(file, from, &record);
    fuzz_must(pons_torch_record_bytes(file, record, &bytes) == PONS_OK, from);
    char *text = calloc(1, bytes + 1);
    fuzz_must(pons_torch_read_record(file, record, bytes, text) == PONS_OK, from);
    pons_torch_close(&file);
    FILE *out = fopen(fuzz_path(folder, "two"), "wb");
    fuzz_must(out && fwrite(text, 1, bytes, out) == bytes && !fclose(out), folder);
    free(text);
    fuzz_seed_text(folder, "plain",
                   "\x80\x02}(X\x01\x00\x00\x00"
                   "aK\x01X\x01\x00\x00\x00"
                   "b]q\x00(K\x02G@\x00\x00u.");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[512];
    uint64_t record;
    if (!*path) {
        strcpy(path, fuzz_path(fuzz_folder(), "m.pt"));
        make_archive(path);
    }
    pons_torch_file *file = pons_mem_calloc(1, sizeof *file);
    open_archive(file, path, &record);
    (void)!pons_torch_unpickle(file, data, size);
    pons_torch_close(&file);
    return 0;
}
