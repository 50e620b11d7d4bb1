/* Owns nothing; character categories come from utf8proc. */
#include "text/utf8.h"

#include <string.h>
#include <utf8proc.h>

static bool is_continuation(unsigned char c) { return (c & 0xc0) == 0x80; }

/* Length of the valid character at p with `left` bytes to go, 0 when there is none. */
static int64_t valid_length(const unsigned char *p, int64_t left)
{
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2) return 0; /* continuation, or overlong two bytes */
    if (p[0] < 0xe0) return left >= 2 && is_continuation(p[1]) ? 2 : 0;
    if (p[0] < 0xf0) {
        if (left < 3 || !is_continuation(p[1]) || !is_continuation(p[2])) return 0;
        if (p[0] == 0xe0 && p[1] < 0xa0) return 0;  /* overlong */
        if (p[0] == 0xed && p[1] >= 0xa0) return 0; /* surrogate */
        return 3;
    }
    if (p[0] > 0xf4 || left < 4 || !is_continuation(p[1]) || !is_continuation(p[2]) ||
        !is_continuation(p[3]))
        return 0;
    if (p[0] == 0xf0 && p[1] < 0x90) return 0;  /* overlong */
    if (p[0] == 0xf4 && p[1] >= 0x90) return 0; /* above U+10FFFF */
    return 4;
}

int64_t pons_utf8_check(const char *text, int64_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    for (int64_t i = 0; i < bytes;) {
        int64_t n = valid_length(p + i, bytes - i);
        if (!n) return i;
        i += n;
    }
    return bytes;
}

int pons_utf8_length(const char *text)
{
    unsigned char c = (unsigned char)*text;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

int32_t pons_utf8_decode(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    switch (pons_utf8_length(text)) {
    case 1: return p[0];
    case 2: return (p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    case 3: return (p[0] & 0x0f) << 12 | (p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    default: return (p[0] & 0x07) << 18 | (p[1] & 0x3f) << 12 | (p[2] & 0x3f) << 6 | (p[3] & 0x3f);
    }
}

int64_t pons_utf8_before(const char *text, int64_t end)
{
    do
        end--;
    while (end > 0 && is_continuation((unsigned char)text[end]));
    return end;
}

int pons_utf8_encode(int32_t character, char out[4])
{
    return (int)utf8proc_encode_char(character, (utf8proc_uint8_t *)out);
}

bool pons_utf8_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool pons_utf8_is_word(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: /* join controls, and the circled letters that are Other_Alphabetic */
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) ||
               (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
               (c >= 0x1f170 && c <= 0x1f189);
    }
}
