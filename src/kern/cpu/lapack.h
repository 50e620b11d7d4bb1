/**
 * The LAPACK routines that the CPU back end calls, as gfortran compiles them: by address,
 * column-major, the length of each character argument appended as size_t. Internal to kern/cpu.
 *
 * LAPACKE is not used: Debian's OpenBLAS does not export it, and liblapacke brings its own BLAS,
 * whichever update-alternatives names, into the process beside the one that was linked.
 */
#ifndef PONS_KERN_CPU_LAPACK_H
#define PONS_KERN_CPU_LAPACK_H

#include <stddef.h>

void spotrf_(const char *uplo, const int *n, float *A, const int *lda, int *info,
             size_t uplo_length);
void dstev_(const char *jobz, const int *n, double *d, double *e, double *z, const int *ldz,
            double *work, int *info, size_t jobz_length);

#endif
