/* Prepared ids: .ids, .npy, .i32. The first byte of an input chooses. */
#include "fuzz.h"

#include <stdio.h>

#include "base/mem.h"
#include "text/tokenizer.h"

void fuzz_seeds(const char *folder)
{
    const char dictionary[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }           "
                              "                                 \n";
    const int32_t ids[3] = {1, 2, 300};
    const uint16_t length = sizeof dictionary - 1;
    fuzz_seed_text(folder, "text", "a1 22 333\n4444\n");
    fuzz_seed_text(folder, "raw", "c\x01\x01\x01\x01\x02\x01\x01\x01");
    FILE *file = fopen(fuzz_path(folder, "npy"), "wb");
    fuzz_must(file != NULL, folder);
    fwrite("b\x93NUMPY\x01\x00", 1, 9, file);
    fwrite(&length, 2, 1, file);
    fwrite(dictionary, 1, length, file);
    fwrite(ids, 4, 3, file);
    fuzz_must(!fclose(file), folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"x.ids", "x.npy", "x.i32"};
    int32_t *ids = NULL;
    int64_t count;
    if (size < 1) return 0;
    const char *path = fuzz_file(names[(data[0] + 2) % 3], data + 1, size - 1);
    if (pons_text_load_ids(path, NULL, false, &ids, &count) == PONS_OK) pons_mem_free(ids);
    return 0;
}
