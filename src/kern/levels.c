/* One name for the variants of a function. Owns the choice at the start of the process; which instruction set it is, is
 * isa.c's. Nothing here where the whole program is compiled for one processor. */
#include "kern/levels.h"

#include "kern/isa.h"

#ifdef PONS_LEVELS

/* The plain name jumps to where its slot points: no signature is repeated, no argument touched. */
#define SLOT(name)                                                                                 \
    void name##_avx2(void);                                                                        \
    void name##_avx512(void);                                                                      \
    void name##_avx512_bf16(void);                                                                 \
    void name##_amx(void);                                                                         \
    extern void (*name##_slot)(void);                                                              \
    __attribute__((visibility("hidden"))) void (*name##_slot)(void) = name##_avx2;                 \
    __asm__(".text\n.p2align 4\n.globl " #name "\n.hidden " #name "\n.type " #name                 \
            ", @function\n" #name ":\n\tjmp *" #name "_slot(%rip)\n.size " #name ", .-" #name      \
            "\n");
PONS_LEVELLED(SLOT)

#define CHOOSE(name)                                                                               \
    name##_slot = isa == PONS_ISA_AMX           ? name##_amx                                       \
                  : isa == PONS_ISA_AVX512_BF16 ? name##_avx512_bf16                               \
                  : isa == PONS_ISA_AVX512      ? name##_avx512                                    \
                                                : name##_avx2;

__attribute__((constructor)) static void choose_all(void)
{
    pons_isa isa = pons_isa_used();
    PONS_LEVELLED(CHOOSE)
}

#else

typedef int nothing_to_choose;

#endif
