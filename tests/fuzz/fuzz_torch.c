/* The archive of torch.save, and tensors that were accepted. Its checksums stop most changes; fuzz_pickle goes past them. */
#include "fuzz.h"

#include "base/mem.h"
#include "io/torch_file.h"

void fuzz_seeds(const char *folder)
{
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    const pons_tensor_view tensors[] = {
        {.name = "R1", .dtype = PONS_DTYPE_F32, .ndim = 2, .shape = {2, 3}, .data = data},
        {.name = "model.layers.0.R2",
         .dtype = PONS_DTYPE_BF16,
         .ndim = 1,
         .shape = {4},
         .data = data}};
    const char *path = fuzz_path(folder, "two");
    fuzz_must(pons_torch_write(path, 2, tensors) == PONS_OK, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pons_torch_file *file = NULL;
    if (pons_torch_open(fuzz_file("m.pt", data, size), &file) != PONS_OK) return 0;
    const pons_torch_value *root = pons_torch_root(file);
    for (int64_t i = 0; i < pons_torch_value_count(root); i++) {
        const pons_torch_value *v = pons_torch_value_at(root, i, NULL);
        if (pons_torch_value_kind(v) != PONS_TORCH_TENSOR) continue;
        int64_t n = 1;
        for (int k = 0; k < pons_torch_tensor_ndim(v); k++)
            if (__builtin_mul_overflow(n, pons_torch_tensor_shape(v)[k], &n)) n = 1 << 20;
        float *out = n < 1 << 16 ? pons_mem_alloc(n, sizeof *out) : NULL;
        if (out) (void)!pons_torch_read(file, v, out);
        pons_mem_free(out);
    }
    pons_torch_close(&file);
    return 0;
}
