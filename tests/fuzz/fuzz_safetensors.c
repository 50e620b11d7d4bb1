/* Safetensors: the header, the table of tensors, reading of small ones. */
#include "fuzz.h"

#include "base/mem.h"
#include "io/safetensors_writer.h"
#include "io/store.h"

void fuzz_seeds(const char *folder)
{
    static const pons_dtype types[] = {PONS_DTYPE_F32, PONS_DTYPE_BF16, PONS_DTYPE_F16};
    const int64_t shape[2] = {3, 2};
    const char data[24] = "abcdefgh";
    pons_st_writer *w = NULL;
    const char *path = fuzz_path(folder, "three");
    fuzz_must(pons_st_writer_create(path, &w) == PONS_OK, path);
    for (int i = 0; i < 3; i++) {
        char name[16] = "a.weight";
        name[0] = (char)('a' + i);
        fuzz_must(pons_st_writer_declare(w, name, types[i], i ? 2 : 1, shape) == PONS_OK, name);
    }
    fuzz_must(pons_st_writer_write(w, data, 12) == PONS_OK, path);
    fuzz_must(pons_st_writer_write(w, data, 24) == PONS_OK, path);
    fuzz_must(pons_st_writer_commit(&w) == PONS_OK, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pons_store *store = NULL;
    if (pons_store_open(fuzz_file("m.safetensors", data, size), &store) != PONS_OK) return 0;
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        void *bytes = NULL;
        const pons_tensor_view *t = pons_store_at(store, i);
        pons_store_find(store, t->name);
        if (pons_store_load(store, t, &bytes) == PONS_OK) pons_mem_free(bytes);
    }
    pons_store_close(&store);
    return 0;
}
