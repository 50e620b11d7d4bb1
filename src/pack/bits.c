/* Owns the bit layout of packed codes. */
#include "pack/bits.h"

#include <string.h>

#include "model/codes.h"

void pons_pack_row(int bits, int64_t n, const int8_t *codes, uint32_t *words)
{
    memset(words, 0, (size_t)pons_code_words(bits, n) * 4);
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = (uint32_t)(codes[i] + (1 << (bits - 1))) & ((1u << bits) - 1);
        int64_t bit = i * bits, word = bit >> 5;
        int offset = (int)(bit & 31);
        words[word] |= u << offset;
        if (offset + bits > 32) words[word + 1] |= u >> (32 - offset);
    }
}

void pons_unpack_row(int bits, int64_t n, const uint32_t *words, int8_t *codes)
{
    for (int64_t i = 0; i < n; i++)
        codes[i] = pons_code_at(bits, i, words, 1);
}
