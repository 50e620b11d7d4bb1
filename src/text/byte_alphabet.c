/* Owns the correspondence of bytes and characters, by counting rather than by table. */
#include "text/byte_alphabet.h"

#include <stdbool.h>

static bool is_itself(int32_t c)
{
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

int32_t pons_byte_alphabet_character(unsigned char byte)
{
    if (is_itself(byte)) return byte;
    if (byte < 33) return 256 + byte;
    if (byte < 161) return 256 + 33 + (byte - 127); /* 127 to 160 */
    return 256 + 67;                                /* 173, the soft hyphen */
}

int pons_byte_alphabet_byte(int32_t character)
{
    if (is_itself(character)) return (int)character;
    int32_t n = character - 256;
    if (n < 0 || n > 67) return -1;
    return (int)(n < 33 ? n : n < 67 ? n - 33 + 127 : 173);
}
