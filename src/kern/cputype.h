/**
 * The BLAS kernels fit for this processor.
 */
#ifndef PONS_KERN_CPUTYPE_H
#define PONS_KERN_CPUTYPE_H

#include "base/error.h"

/**
 * Run the program again with OPENBLAS_CORETYPE=SkylakeX where OpenBLAS took an AVX-512 processor
 * that it does not know for an older one, or with Haswell where PONS_ISA forbids AVX-512.
 *
 * Local; call first in main, before MPI starts. Returns only when nothing had to be done or on
 * failure: otherwise the process image is replaced, with the same arguments. Does nothing when
 * OPENBLAS_CORETYPE is set (so never twice) or OpenBLAS chose such kernels itself. OpenBLAS
 * 0.3.21 takes Sapphire Rapids for Haswell, at 60 % of the speed.
 * @param argv of main, ended by NULL
 * @return PONS_OK, PONS_ERR_NOMEM or PONS_ERR_IO (the program could not be started again).
 */
pons_status pons_kern_select_core(char **argv);

#endif
