/**
 * UTF-8: checking, decoding and the few character classes tokenizers ask about.
 *
 * Functions other than the check assume checked text. All Local.
 */
#ifndef PONS_TEXT_UTF8_H
#define PONS_TEXT_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/** Offset of the first byte that is not part of valid UTF-8 (overlong forms, surrogates and values
 * above U+10FFFF are invalid); `bytes` when all is valid. */
int64_t pons_utf8_check(const char *text, int64_t bytes);

/** Length of the character that starts at `text`: 1 to 4. */
int pons_utf8_length(const char *text);

/** Character that starts at `text`. */
int32_t pons_utf8_decode(const char *text);

/** Offset at which the character that ends just before `end` starts (end > 0). */
int64_t pons_utf8_before(const char *text, int64_t end);

/** Write a character's 1 to 4 bytes to `out`; returns how many. */
int pons_utf8_encode(int32_t character, char out[4]);

/** Unicode White_Space: what \s means in tokenizer files. */
bool pons_utf8_is_space(int32_t character);

/** Word character of Unicode regular expressions (UTS 18, \w). */
bool pons_utf8_is_word(int32_t character);

#endif
