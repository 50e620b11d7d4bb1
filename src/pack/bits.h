/**
 * The bit layout of packed codes. All Local.
 */
#ifndef PONS_PACK_BITS_H
#define PONS_PACK_BITS_H

#include <stdint.h>

/**
 * Pack n codes: u = code + 2^(b-1) at bit i*b of little-endian 32-bit words (b = 4: code 8w + i in bits
 * 4i..4i+3 of word w).
 * @param words [ceil(n b / 32)]
 */
void pons_pack_row(int bits, int64_t n, const int8_t *codes, uint32_t *words);
void pons_unpack_row(int bits, int64_t n, const uint32_t *words, int8_t *codes);

#endif
