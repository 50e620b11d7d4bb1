/* Choice of the BLAS kernels for the processor. OpenBLAS reads its environment when it is loaded,
 * so a better choice needs a fresh process image. */
#include <cblas.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kern/cputype.h"
#include "kern/isa.h"

static const char variable[] = "OPENBLAS_CORETYPE";

/* The kernels that OpenBLAS shall have instead of its own choice; NULL: none. */
static const char *better(const char *core)
{
    static const char *const without_avx512[] = {"Haswell", "Zen", "Sandybridge", "Nehalem",
                                                 "Prescott"};
    static const char *const with_avx512[] = {"SkylakeX", "Cooperlake", "Sapphirerapids"};
    bool wide = pons_isa_used() >= PONS_ISA_AVX512;
    const char *const *wrong = wide ? without_avx512 : with_avx512;
    size_t count = wide ? sizeof without_avx512 / sizeof *without_avx512
                        : sizeof with_avx512 / sizeof *with_avx512;
    for (size_t i = 0; i < count; i++)
        if (strcmp(core, wrong[i]) == 0) return wide ? "SkylakeX" : "Haswell";
    return NULL;
}

pons_status pons_kern_select_core(char **argv)
{
    const char *core = better(openblas_get_corename());
    if (!core || getenv(variable)) return PONS_OK;
    if (setenv(variable, core, 1) != 0)
        return pons_fail_errno(PONS_ERR_NOMEM, errno, "%s", variable);
    execv("/proc/self/exe", argv);
    int errnum = errno;
    unsetenv(variable);
    return pons_fail_errno(PONS_ERR_IO, errnum, "/proc/self/exe: running %s with %s=%s", argv[0],
                           variable, core);
}
