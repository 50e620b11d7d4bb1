/* Owns what is said of the character tables. Does not split text. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/unicode.h"

#include <pcre2.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>
#include <utf8proc.h>

#include "base/log.h"
#include "text/utf8.h"

static char described[128];
static once_flag describing = ONCE_FLAG_INIT;

static void describe(void)
{
    char pcre[32] = "", unicode[24] = "";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre); /* "10.42 2022-12-11" */
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, unicode);
    pcre[strcspn(pcre, " ")] = 0;
    snprintf(described, sizeof described, "%s (PCRE2 %s), %s (utf8proc %s)", unicode, pcre,
             utf8proc_unicode_version(), utf8proc_version());
}

const char *pons_unicode_describe(void)
{
    call_once(&describing, describe);
    return described;
}

/* Offset of the first character at or after `from` that a table does not assign; `bytes` when there is none. */
static int64_t find_unassigned(pcre2_code *code, pcre2_match_data *data, const char *text,
                               int64_t bytes)
{
    int64_t first = bytes;
    for (int64_t i = 0; i < bytes && first == bytes; i += pons_utf8_length(text + i))
        if (text[i] < 0 && utf8proc_category(pons_utf8_decode(text + i)) == UTF8PROC_CATEGORY_CN)
            first = i;
    int found =
        pcre2_match(code, (PCRE2_SPTR)text, (size_t)first, 0, PCRE2_NO_UTF_CHECK, data, NULL);
    return found > 0 ? (int64_t)pcre2_get_ovector_pointer(data)[0] : first;
}

void pons_unicode_warn(const char *text, int64_t bytes)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    bool ascii = true;
    for (int64_t i = 0; i < bytes && ascii; i++)
        ascii = text[i] >= 0;
    if (ascii) return;
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR) "\\p{Cn}", PCRE2_ZERO_TERMINATED, PCRE2_UTF,
                                     &error, &offset, NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int64_t at = code && data ? find_unassigned(code, data, text, bytes) : bytes;
    if (at < bytes && !atomic_flag_test_and_set(&warned))
        pons_log(PONS_LOG_WARN,
                 "tokenizer: character U+%04X at byte %lld is not in the character tables of this "
                 "build, Unicode %s: tokenizers with newer tables may give other ids",
                 (unsigned)pons_utf8_decode(text + at), (long long)at, pons_unicode_describe());
    pcre2_match_data_free(data);
    pcre2_code_free(code);
}
