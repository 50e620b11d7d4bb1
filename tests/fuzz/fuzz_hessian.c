/* HDF5 files of Hessians. Most of the work is libhdf5's, hundreds of runs a second. */
#include "fuzz.h"

#include <stdlib.h>

#include "base/mem.h"
#include "io/hessian_file.h"

void fuzz_seeds(const char *folder)
{
    static const double H[9] = {2, 1, 0, 1, 2, 1, 0, 1, 2}, norm[3] = {1, 2, 3};
    const pons_hessian_attributes attributes = {4, 64, 1, 0.01, "seed"};
    pons_hessian_file *file = NULL;
    const char *path = fuzz_path(folder, "one");
    fuzz_must(pons_par_begin(NULL, NULL) == PONS_OK, "MPI");
    fuzz_must(pons_hessian_file_create(pons_par_world(), path, &attributes, &file) == PONS_OK,
              path);
    fuzz_must(pons_hessian_file_write(file, "qkv", 3, H, norm) == PONS_OK, path);
    fuzz_must(pons_hessian_file_commit(&file) == PONS_OK, path);
    pons_par_end();
}

static pons_status visit(void *user, const char *group)
{
    double *H = NULL, *norm = NULL;
    int64_t d;
    if (pons_hessian_file_read(user, group, &d, &H, &norm) == PONS_OK) {
        pons_mem_free(H);
        pons_mem_free(norm);
    }
    return PONS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = NULL;
    pons_hessian_attributes attributes;
    char *path = (char *)(uintptr_t)fuzz_file("block-000.h5", data, size);
    if (pons_hessian_file_read_attributes(path, &attributes, &text) == PONS_OK) pons_mem_free(text);
    (void)!pons_hessian_file_each_group(path, visit, path);
    return 0;
}
