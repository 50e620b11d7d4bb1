/**
 * A fast 64-bit checksum that detects whether two streams of numbers differ: against damage, not cryptographic. Inline because it runs over every weight twice.
 */
#ifndef PONS_BASE_CHECKSUM_H
#define PONS_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * Mix n bytes into h. Both streams must be split at the same positions. Local.
 *
 * Each step is a bijection of the state and of the word, so that streams which differ in one 8-byte
 * word never agree.
 */
static inline uint64_t pons_checksum(uint64_t h, const void *data, size_t bytes)
{
    const char *p = data;
    for (; bytes > 0; p += 8) {
        uint64_t word = 0;
        size_t n = bytes < 8 ? bytes : 8;
        memcpy(&word, p, n);
        h = (h ^ word) * 0x9E3779B97F4A7C15u; /* odd: invertible */
        h = h << 31 | h >> 33;
        bytes -= n;
    }
    return h;
}

#endif
