/**
 * Which products `auto` takes: what is fastest here, not what exists.
 */
#ifndef PONS_KERN_CHOICE_H
#define PONS_KERN_CHOICE_H

#include "par/comm.h"

/** What a product is for. */
typedef enum pons_choice {
    PONS_CHOICE_FORWARD, /* kern/gemm.h's prepared matrices */
    PONS_CHOICE_SOLVER   /* kern/product.h's, in the iterations of a solver */
} pons_choice;

/**
 * Whether `auto` means bf16.
 *
 * fp32 where a rank has no bf16 products or the ranks' differ; bf16 where they run on AMX tiles, some ten times as fast.
 * Else rank 0 measures both products once for the process, some milliseconds each, and bf16 is chosen only where it
 * is PONS_CHOICE_RATIO times as fast: measurements on a busy machine differ by some percent, and the choice changes
 * bits. Collective on comm; the same on every rank.
 */
bool pons_choice_bf16(pons_comm *comm, pons_choice what);

/** How much faster bf16 must be. */
#define PONS_CHOICE_RATIO 1.2

/** What pons_choice_bf16 decided by: "AMX tiles", "no bf16 products", "fp32 75 GF/s, bf16 60 GF/s measured". After a call of
 * that on this rank. Borrowed static text. Local. */
const char *pons_choice_reason(pons_choice what);

#endif
