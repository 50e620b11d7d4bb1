/* Which instruction set the process uses. Owns the question to the processor and PONS_ISA; which code that is, is
 * levels.c's, compiled for the oldest processors as this file is. */
#include "kern/isa.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

static const char *const names[] = {"avx2", "avx512", "avx512_bf16", "amx"};
enum { SETS = sizeof names / sizeof *names };

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool has_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}

static pons_isa ask(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl"))
        return PONS_ISA_AVX2;
    if (!__builtin_cpu_supports("avx512bf16")) return PONS_ISA_AVX512;
    return __builtin_cpu_supports("avx512vnni") && has_tiles() ? PONS_ISA_AMX
                                                               : PONS_ISA_AVX512_BF16;
}
#else
static pons_isa ask(void) { return PONS_ISA_AVX2; }
#endif

static pons_isa most, used;
static int wanted = SETS; /* by PONS_ISA; SETS: none, -1: an unknown name */
static once_flag chosen = ONCE_FLAG_INIT;

static void choose(void)
{
    const char *name = getenv("PONS_ISA");
    most = used = ask();
    if (!name || !*name) return;
    wanted = -1;
    for (int i = 0; i < SETS; i++)
        if (!strcmp(name, names[i])) wanted = i;
    if (wanted >= 0 && wanted < (int)most) used = (pons_isa)wanted;
}

pons_isa pons_isa_used(void)
{
    call_once(&chosen, choose);
    return used;
}

const char *pons_isa_name(pons_isa isa)
{
#if defined(__x86_64__)
    return names[isa];
#else
    (void)isa;
    return "generic";
#endif
}

pons_status pons_isa_check(void)
{
    pons_isa_used();
    if (wanted < 0)
        return pons_fail(PONS_ERR_USAGE,
                         "PONS_ISA: found %s; allowed are avx2, avx512, avx512_bf16 and amx",
                         getenv("PONS_ISA"));
    if (wanted < SETS && wanted > (int)most)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "PONS_ISA: found %s; this processor, or its system, has %s at most",
                         names[wanted], pons_isa_name(most));
    return PONS_OK;
}
