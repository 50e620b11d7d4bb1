/**
 * Patterns of tokenizer files: literal strings and regular expressions, and the cutting of a text
 * at their matches.
 *
 * The files are written for Oniguruma (Ruby syntax, Unicode classes). An expression is rewritten
 * for PCRE2, which executes it; what the two read differently is refused by name. All Local.
 */
#ifndef PONS_TEXT_PATTERN_H
#define PONS_TEXT_PATTERN_H

#include "text/bytes.h"

typedef struct pons_pattern pons_pattern;

/** Working memory of matching, one per thread. */
typedef struct pons_matcher pons_matcher;

/**
 * Rewrite an Oniguruma expression for PCRE2 with PCRE2_UTF and without PCRE2_UCP.
 * @param where  named in errors
 * @param out    receives (appended) the rewritten expression
 * @return PONS_ERR_UNSUPPORTED naming the construct.
 */
pons_status pons_pattern_rewrite(const char *where, const char *text, int64_t bytes,
                                 pons_bytes *out);

/** Compile a literal string or an expression. @return PONS_ERR_INPUT (empty, or does not compile),
 * PONS_ERR_UNSUPPORTED. */
pons_status pons_pattern_compile(const char *where, const char *text, int64_t bytes, bool literal,
                                 pons_pattern **out);

/** Free; takes the address. */
void pons_pattern_free(pons_pattern **pattern);

/** Make and free working memory. @return PONS_ERR_NOMEM. */
pons_status pons_matcher_make(pons_matcher **out);
void pons_matcher_free(pons_matcher **matcher);

/**
 * Cut valid UTF-8 into matches and what lies between them, in order, covering everything. The
 * text's ends are the subject's ends for look-around.
 * @param out  emptied, then filled
 * @return PONS_ERR_INPUT when the expression needs too much backtracking on this text.
 */
pons_status pons_pattern_cut(const pons_pattern *pattern, pons_matcher *matcher, const char *text,
                             int64_t bytes, pons_ranges *out);

#endif
