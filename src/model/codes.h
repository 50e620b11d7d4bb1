/**
 * Reading one integer code out of densely packed 32-bit words; inline because it is the inner loop of
 * unpacking. Source: formats.md section 3.
 */
#ifndef PONS_MODEL_CODES_H
#define PONS_MODEL_CODES_H

#include <stdint.h>
#include <string.h>

/**
 * Code i of a sequence packed with `bits` bits each: u = code + 2^(bits-1) at bit i*bits of the
 * little-endian words, which lie `stride` words apart and may be unaligned. Local.
 */
static inline int8_t pons_code_at(int bits, int64_t i, const void *words, int64_t stride)
{
    int64_t bit = i * bits, word = bit >> 5;
    int offset = (int)(bit & 31);
    uint32_t u, next;
    memcpy(&u, (const char *)words + 4 * word * stride, 4);
    u >>= offset;
    if (offset + bits > 32) {
        memcpy(&next, (const char *)words + 4 * (word + 1) * stride, 4);
        u |= next << (32 - offset);
    }
    return (int8_t)((int)(u & ((1u << bits) - 1)) - (1 << (bits - 1)));
}

/** Words that hold n codes. Local. */
static inline int64_t pons_code_words(int bits, int64_t n) { return (n * bits + 31) / 32; }

#endif
