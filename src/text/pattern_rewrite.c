/* Owns the translation of Oniguruma expressions to PCRE2 ones; executes nothing.
 *
 * \s is Unicode White_Space there. PCRE2 without UCP knows ASCII spaces only, with UCP it takes
 * U+180E too, so the class is spelled out. Likewise \d is \p{Nd}. */
#include "text/pattern.h"

#include <stdio.h>
#include <string.h>

#define SPACES "\\t-\\r\\x{85}\\p{Z}"

typedef struct reader {
    const char *where, *text;
    int64_t bytes, at;
    bool in_class;
    pons_bytes *out;
} reader;

static pons_status put(reader *r, const char *text)
{
    return pons_bytes_append(r->out, text, (int64_t)strlen(text));
}

static pons_status copy(reader *r, int64_t count)
{
    pons_status st = pons_bytes_append(r->out, r->text + r->at, count);
    r->at += count;
    return st;
}

static char peek(const reader *r, int64_t ahead)
{
    return r->at + ahead < r->bytes ? r->text[r->at + ahead] : 0;
}

static pons_status refuse(const reader *r, int64_t count)
{
    if (count > r->bytes - r->at) count = r->bytes - r->at;
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "%s: regular expression construct \"%.*s\" at byte %lld is not supported",
                     r->where, (int)count, r->text + r->at, (long long)r->at);
}

static bool is_category(const char *name, int64_t length)
{
    static const char known[] = "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po "
                                "S Sm Sc Sk So Z Zs Zl Zp ";
    char word[4];
    if (length < 1 || length > 2) return false;
    snprintf(word, sizeof word, "%.*s ", (int)length, name);
    const char *found = strstr(known, word);
    return found && (found == known || found[-1] == ' ');
}

static int64_t hex_digits(const reader *r, int64_t ahead, int64_t most)
{
    int64_t n = 0;
    while (n < most && peek(r, ahead + n) && strchr("0123456789abcdefABCDEF", peek(r, ahead + n)))
        n++;
    return n;
}

/* \xHH, \x{H...} and \uHHHH. A raw byte above 7f means a byte there and a character here. */
static pons_status rewrite_number(reader *r)
{
    char code[24];
    if (peek(r, 1) == 'x' && peek(r, 2) == '{') {
        int64_t n = hex_digits(r, 3, 6);
        return n && peek(r, 3 + n) == '}' ? copy(r, n + 4) : refuse(r, n + 4);
    }
    int64_t digits = peek(r, 1) == 'x' ? 2 : 4;
    if (hex_digits(r, 2, digits) != digits || (digits == 2 && peek(r, 2) > '7'))
        return refuse(r, digits + 2);
    snprintf(code, sizeof code, "\\x{%.*s}", (int)digits, r->text + r->at + 2);
    r->at += digits + 2;
    return put(r, code);
}

static pons_status rewrite_escape(reader *r)
{
    char c = peek(r, 1);
    const char *spelled = NULL;
    switch (c) {
    case 's': spelled = r->in_class ? SPACES : "[" SPACES "]"; break;
    case 'S': spelled = r->in_class ? NULL : "[^" SPACES "]"; break;
    case 'd': spelled = "\\p{Nd}"; break;
    case 'D': spelled = "\\P{Nd}"; break;
    case 'v': spelled = "\\x{0b}"; break;
    case 'r':
    case 'n':
    case 't':
    case 'f':
    case 'a':
    case 'e': return copy(r, 2);
    case 'x':
    case 'u': return rewrite_number(r);
    case 'p':
    case 'P': {
        const char *name = r->text + r->at + 3;
        const char *end = peek(r, 2) == '{' ? memchr(name, '}', (size_t)(r->bytes - r->at - 3)) : 0;
        if (!end) return refuse(r, 3);
        int64_t length = end - name;
        return is_category(name, length) ? copy(r, length + 4) : refuse(r, length + 4);
    }
    default: {
        bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        return letter || !c ? refuse(r, 2) : copy(r, 2); /* an escaped punctuation mark */
    }
    }
    if (!spelled) return refuse(r, 2);
    r->at += 2;
    return put(r, spelled);
}

static pons_status rewrite_in_class(reader *r)
{
    char c = peek(r, 0);
    if (c == '[') return refuse(r, 2); /* nested class */
    if (c == '&' && peek(r, 1) == '&') return refuse(r, 2);
    if (c == ']') r->in_class = false;
    return copy(r, 1);
}

static pons_status open_class(reader *r)
{
    int64_t length = peek(r, 1) == '^' ? 2 : 1;
    if (peek(r, length) == ']') return refuse(r, length + 1);
    r->in_class = true;
    return copy(r, length);
}

static pons_status open_group(reader *r)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};
    if (peek(r, 1) == '*') return refuse(r, 2);
    if (peek(r, 1) != '?') return copy(r, 1);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        int64_t length = (int64_t)strlen(known[i]);
        if (r->bytes - r->at >= length && !memcmp(r->text + r->at, known[i], (size_t)length))
            return copy(r, length);
    }
    return refuse(r, 4);
}

/* {n}, {n,} and {n,m}. There, a following + repeats instead of being possessive, {,m} counts, and
 * {n}? is optional. */
static pons_status repeat(reader *r)
{
    int64_t n = 1;
    bool comma = false, digits = false;
    for (; peek(r, n) == ',' || (peek(r, n) >= '0' && peek(r, n) <= '9'); n++) {
        comma = comma || peek(r, n) == ',';
        digits = digits || !comma;
    }
    if (peek(r, n) != '}' || n == 1) return copy(r, 1); /* a brace like any other character */
    if (!digits || peek(r, n + 1) == '+' || (!comma && peek(r, n + 1) == '?'))
        return refuse(r, n + 2);
    return copy(r, n + 1);
}

pons_status pons_pattern_rewrite(const char *where, const char *text, int64_t bytes,
                                 pons_bytes *out)
{
    reader r = {.where = where, .text = text, .bytes = bytes, .out = out};
    while (r.at < bytes) {
        pons_status st;
        char c = text[r.at];
        if (c == '\\')
            st = rewrite_escape(&r);
        else if (r.in_class)
            st = rewrite_in_class(&r);
        else if (c == '[')
            st = open_class(&r);
        else if (c == '(')
            st = open_group(&r);
        else if (c == '{')
            st = repeat(&r);
        else if (c == '^' || c == '$')
            st = refuse(&r, 1); /* line anchors there */
        else
            st = copy(&r, 1);
        if (st != PONS_OK) return st;
    }
    return PONS_OK;
}
