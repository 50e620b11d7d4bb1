/**
 * The Unicode versions that ids follow: those of the character tables of PCRE2 (patterns) and utf8proc (normal forms,
 * word characters). Newer characters are not letters or digits to them, so tokenizers with newer tables may give other
 * ids. All Local.
 */
#ifndef PONS_TEXT_UNICODE_H
#define PONS_TEXT_UNICODE_H

#include <stdint.h>

/** "14.0.0 (PCRE2 10.42), 15.0.0 (utf8proc 2.8.0)". Static. */
const char *pons_unicode_describe(void);

/** Warn, once a process, when checked UTF-8 text holds characters that one of the tables does not assign. Costs one
 * pass over the text. */
void pons_unicode_warn(const char *text, int64_t bytes);

#endif
