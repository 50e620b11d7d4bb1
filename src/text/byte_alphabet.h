/**
 * The alphabet of byte-level tokenizers: every byte has a visible character.
 *
 * Bytes 33-126, 161-172 and 174-255 stand for themselves, the other 68 for U+0100 upwards in
 * order. All Local.
 */
#ifndef PONS_TEXT_BYTE_ALPHABET_H
#define PONS_TEXT_BYTE_ALPHABET_H

#include <stdint.h>

/** Character of a byte. */
int32_t pons_byte_alphabet_character(unsigned char byte);

/** Byte of a character, -1 when it is not in the alphabet. */
int pons_byte_alphabet_byte(int32_t character);

#endif
