/**
 * Limits of the process that the numerical libraries do not report by themselves: both checks turn a crash or a hang
 * of a library into an error before any work starts.
 */
#ifndef PONS_KERN_LIMITS_H
#define PONS_KERN_LIMITS_H

#include "base/error.h"

/** Refuse a thread count far beyond the processors: libgomp crashes or ends the process when it cannot start the
 * threads. @param name what the count came from, for the message @param threads allowed: 1 to 16 times the processors
 * of this process, at least 256 @return PONS_ERR_USAGE. Local. */
pons_status pons_kern_check_threads(const char *name, int threads);

/**
 * Make OpenBLAS allocate its work buffers of 128 MB now, one for each thread that may call it. OpenBLAS 0.3.21
 * retries a failed allocation without end, so a limit on the address space (ulimit -v) would become a hang in the
 * first factorisation. Only address space is taken, no memory. @param threads that call OpenBLAS at the same time
 * @return PONS_ERR_NOMEM naming the limit. Local.
 */
pons_status pons_kern_reserve_blas(int threads);

#endif
