/**
 * The instruction set that products and loops over vectors use in this process.
 */
#ifndef PONS_KERN_ISA_H
#define PONS_KERN_ISA_H

#include "base/error.h"

/** Sets of instructions, each one a superset of those before it. Everything needs AVX2 and FMA on x86-64. */
typedef enum pons_isa {
    PONS_ISA_AVX2,
    PONS_ISA_AVX512,      /* F, BW, CD, DQ, VL */
    PONS_ISA_AVX512_BF16, /* and bf16 products */
    PONS_ISA_AMX          /* and bf16 tiles, which the system lets this process use */
} pons_isa;

/** The largest set that this processor has and the environment variable PONS_ISA (avx2, avx512, avx512_bf16, amx)
 * allows. The same for the life of the process; AVX2 on other architectures. Local, thread-safe. */
pons_isa pons_isa_used(void);

/** Its name as in PONS_ISA; "generic" on other architectures. Borrowed static text. Local. */
const char *pons_isa_name(pons_isa isa);

/** Whether PONS_ISA, if set, names a set that this processor has. Local. @return PONS_OK, PONS_ERR_USAGE (no set has
 * that name), PONS_ERR_UNSUPPORTED (the processor lacks it). */
pons_status pons_isa_check(void);

#endif
