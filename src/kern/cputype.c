/* Choice of the BLAS kernels for the processor. OpenBLAS reads its environment when it is loaded,
 * so a better choice needs a fresh process image. */
#include <cblas.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kern/cputype.h"

static const char variable[] = "OPENBLAS_CORETYPE";

/* What OpenBLAS's SkylakeX kernels are compiled for. */
static bool has_avx512(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd");
#else
    return false;
#endif
}

pons_status pons_kern_select_core(char **argv)
{
    static const char *const without_avx512[] = {"Haswell", "Zen", "Sandybridge", "Nehalem",
                                                 "Prescott"};
    const char *core = openblas_get_corename();
    bool older = false;
    for (size_t i = 0; i < sizeof without_avx512 / sizeof *without_avx512; i++)
        older = older || strcmp(core, without_avx512[i]) == 0;
    if (!older || getenv(variable) || !has_avx512()) return PONS_OK;

    if (setenv(variable, "SkylakeX", 1) != 0)
        return pons_fail_errno(PONS_ERR_NOMEM, errno, "%s", variable);
    execv("/proc/self/exe", argv);
    int errnum = errno;
    unsetenv(variable);
    return pons_fail_errno(PONS_ERR_IO, errnum, "/proc/self/exe: running %s with %s=SkylakeX",
                           argv[0], variable);
}
