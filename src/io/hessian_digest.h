/**
 * A 64-bit sum over the bits of a matrix, kept beside it as the attribute `digest`. Private to io.
 *
 * fletcher32 of a chunk of zeros is zero, so a chunk that never reached the disk (a lost write, a
 * hole) passes HDF5's own check; it does not pass this one. Each word counts with an odd factor of
 * its place, so that moved and swapped chunks are noticed too.
 */
#ifndef PONS_IO_HESSIAN_DIGEST_H
#define PONS_IO_HESSIAN_DIGEST_H

#include <stdint.h>
#include <string.h>

/** Of entries [first, first + n); the sums of parts add up to that of the whole. Local; one pass. @param x [n] */
static inline uint64_t pons_hessian_digest_part(const double *x, int64_t first, int64_t n)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        sum += (bits ^ (bits >> 32)) * (2 * (uint64_t)(first + i) + 1);
    }
    return sum;
}

/** Local; one pass. @param x [n] */
static inline uint64_t pons_hessian_digest(const double *x, int64_t n)
{
    return pons_hessian_digest_part(x, 0, n);
}

#endif
