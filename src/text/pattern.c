/* Owns compiled patterns and the walk over their matches. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"

#include <pcre2.h>
#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

struct pons_pattern {
    pcre2_code *code; /* NULL: `literal` is looked for */
    char *literal;
    int64_t literal_bytes;
};

struct pons_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static pons_status compile_expression(const char *where, const char *text, int64_t bytes,
                                      pcre2_code **out)
{
    pons_status st = PONS_OK;
    pons_bytes rewritten = {0};
    pcre2_compile_context *context = NULL;
    PONS_TRY(st, pons_pattern_rewrite(where, text, bytes, &rewritten));
    context = pcre2_compile_context_create(NULL);
    if (!context) {
        st = pons_fail(PONS_ERR_NOMEM, "%s: out of memory", where);
        goto done;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF); /* the build's default may differ */
    int code = 0;
    PCRE2_SIZE offset = 0;
    *out = pcre2_compile((PCRE2_SPTR)rewritten.data, (size_t)rewritten.count, PCRE2_UTF, &code,
                         &offset, context);
    if (!*out) {
        char message[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        st = pons_fail(PONS_ERR_INPUT, "%s: regular expression \"%.*s\": %s", where, (int)bytes,
                       text, message);
        goto done;
    }
    /* Without a just-in-time compiler the interpreter gives the same matches. */
    (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE);
done:
    pcre2_compile_context_free(context);
    pons_bytes_free(&rewritten);
    return st;
}

pons_status pons_pattern_compile(const char *where, const char *text, int64_t bytes, bool literal,
                                 pons_pattern **out)
{
    pons_status st = PONS_OK;
    pons_pattern *pattern = NULL;
    if (bytes == 0) return pons_fail(PONS_ERR_INPUT, "%s: the pattern is empty", where);
    PONS_CALLOC(st, pattern, 1);
    if (literal) {
        PONS_ALLOC(st, pattern->literal, bytes);
        memcpy(pattern->literal, text, (size_t)bytes);
        pattern->literal_bytes = bytes;
    } else {
        PONS_TRY(st, compile_expression(where, text, bytes, &pattern->code));
    }
    *out = pattern;
    pattern = NULL;
done:
    pons_pattern_free(&pattern);
    return st;
}

void pons_pattern_free(pons_pattern **pattern)
{
    if (!*pattern) return;
    pcre2_code_free((*pattern)->code);
    pons_mem_free((*pattern)->literal);
    pons_mem_free(*pattern);
    *pattern = NULL;
}

pons_status pons_matcher_make(pons_matcher **out)
{
    pons_matcher *m = pons_mem_calloc(1, sizeof *m);
    if (!m) return PONS_ERR_NOMEM;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(32 << 10, 64 << 20, NULL);
    if (!m->data || !m->context) {
        pons_matcher_free(&m);
        return pons_fail(PONS_ERR_NOMEM, "out of memory for a pattern's working space");
    }
    if (m->stack) pcre2_jit_stack_assign(m->context, NULL, m->stack);
    *out = m;
    return PONS_OK;
}

void pons_matcher_free(pons_matcher **matcher)
{
    if (!*matcher) return;
    pcre2_jit_stack_free((*matcher)->stack);
    pcre2_match_context_free((*matcher)->context);
    pcre2_match_data_free((*matcher)->data);
    pons_mem_free(*matcher);
    *matcher = NULL;
}

/* First match at or after `from`; found = false when there is none. */
static pons_status next_match(const pons_pattern *p, pons_matcher *m, const char *text,
                              int64_t bytes, int64_t from, bool *found, pons_range *match)
{
    *found = false;
    if (!p->code) {
        const char *hit =
            memmem(text + from, (size_t)(bytes - from), p->literal, (size_t)p->literal_bytes);
        if (!hit) return PONS_OK;
        match->start = hit - text;
        match->end = match->start + p->literal_bytes;
    } else {
        int rc = pcre2_match(p->code, (PCRE2_SPTR)text, (size_t)bytes, (size_t)from,
                             PCRE2_NO_UTF_CHECK, m->data, m->context);
        if (rc == PCRE2_ERROR_NOMATCH) return PONS_OK;
        if (rc < 0) {
            char message[128];
            pcre2_get_error_message(rc, (PCRE2_UCHAR *)message, sizeof message);
            return pons_fail(PONS_ERR_INPUT,
                             "the tokenizer's regular expression failed at byte %lld of a piece "
                             "of %lld bytes: %s",
                             (long long)from, (long long)bytes, message);
        }
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
        match->start = (int64_t)ends[0];
        match->end = (int64_t)ends[1];
    }
    *found = true;
    return PONS_OK;
}

pons_status pons_pattern_cut(const pons_pattern *pattern, pons_matcher *matcher, const char *text,
                             int64_t bytes, pons_ranges *out)
{
    pons_status st = PONS_OK;
    int64_t cut = 0, from = 0, last = -1; /* end of the last match */
    out->count = 0;
    while (from <= bytes) {
        bool found;
        pons_range match;
        PONS_TRY(st, next_match(pattern, matcher, text, bytes, from, &found, &match));
        if (!found) break;
        from = match.end;
        if (match.start == match.end) {
            if (match.end == last) { /* an empty match right after a match does not count */
                from =
                    match.end < bytes ? match.end + pons_utf8_length(text + match.end) : bytes + 1;
                continue;
            }
        }
        last = match.end;
        if (cut < match.start) PONS_TRY(st, pons_ranges_append(out, cut, match.start, false));
        PONS_TRY(st, pons_ranges_append(out, match.start, match.end, true));
        cut = match.end;
    }
    if (cut < bytes) PONS_TRY(st, pons_ranges_append(out, cut, bytes, false));
done:
    return st;
}
