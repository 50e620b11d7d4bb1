/* Owns the conversion of one value between text and struct. Knows nothing of files, lines or other
 * keys. */
#include "config/recipe_keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Decimal digits with an optional minus, nothing else. */
static bool parse_integer(const char *text, double low, double high, int64_t *out)
{
    const char *digits = text + (*text == '-');
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 15 || digits[n]) return false;
    if (*digits == '0' && n > 1) return false; /* octal to some, decimal to others */
    int64_t value = strtoll(text, NULL, 10);
    if ((double)value < low || (double)value > high) return false;
    *out = value;
    return true;
}

/* A decimal number; no hexadecimal, nan, inf or blanks, which strtod would take. */
static bool parse_real(const pons_recipe_key *key, const char *text, double *out)
{
    if (!*text || text[strspn(text, "+-.0123456789eE")]) return false;
    char *end;
    double value = strtod(text, &end);
    if (*end || !isfinite(value)) return false;
    if (value < key->low || (key->low_open && value == key->low)) return false;
    if (value > key->high || (key->high_open && value == key->high)) return false;
    *out = value;
    return true;
}

static bool parse_name(const pons_recipe_name *names, const char *text, int *out)
{
    for (; names->text; names++)
        if (strcmp(names->text, text) == 0) {
            *out = names->value;
            return true;
        }
    return false;
}

static bool parse_pattern(const char *text, pons_recipe *recipe)
{
    if (strcmp(text, "unstructured") == 0) {
        recipe->prune.n = recipe->prune.m = 0;
        return true;
    }
    const char *colon = strchr(text, ':');
    char left[8];
    int64_t n, m;
    if (!colon || (size_t)(colon - text) >= sizeof left) return false;
    memcpy(left, text, (size_t)(colon - text));
    left[colon - text] = 0;
    if (!parse_integer(left, 1, 1023, &n) || !parse_integer(colon + 1, 2, 1024, &m) || n >= m)
        return false;
    recipe->prune.n = (int)n;
    recipe->prune.m = (int)m;
    return true;
}

/* "none", or numbers with commas between them, each once. */
static bool parse_set(const pons_recipe_key *key, const char *text, int *out)
{
    int set = 0;
    if (strcmp(text, "none") == 0) {
        *out = 0;
        return true;
    }
    for (;;) {
        char number[8];
        int64_t value;
        size_t length = strcspn(text, ",");
        if (length >= sizeof number) return false;
        memcpy(number, text, length);
        number[length] = 0;
        if (!parse_integer(number, key->low, key->high, &value) || set & 1 << value) return false;
        set |= 1 << value;
        if (!text[length]) break;
        text += length + 1 + (text[length + 1] == ' ');
    }
    *out = set;
    return true;
}

/* Whether text is UTF-8 without control characters and line breaks, so that it fits on one line of
 * YAML and of a message. */
static bool is_one_line(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    while (*c) {
        int more = *c < 0x80 ? 0 : *c >> 5 == 6 ? 1 : *c >> 4 == 14 ? 2 : *c >> 3 == 30 ? 3 : -1;
        if (more < 0) return false;
        static const uint32_t least[] = {0x20, 0x80, 0x800, 0x10000};
        uint32_t code = more == 0 ? *c : *c & (0x3fu >> more);
        c++;
        for (int i = 0; i < more; i++, c++) {
            if (*c >> 6 != 2) return false;
            code = code << 6 | (*c & 0x3f);
        }
        if (code < least[more] || code > 0x10ffff) return false;
        if ((code >= 0x7f && code < 0xa0) || (code >= 0xd800 && code < 0xe000)) return false;
        if (code == 0x2028 || code == 0x2029 || code == 0xfeff || (code & 0xfffe) == 0xfffe)
            return false;
    }
    return true;
}

bool pons_recipe_key_parse(const pons_recipe_key *key, const char *text, bool quoted,
                           pons_recipe *recipe)
{
    void *field = (char *)recipe + key->offset;
    bool is_word = key->kind == PONS_KEY_CHOICE || key->kind == PONS_KEY_PATTERN ||
                   key->kind == PONS_KEY_TEXT || key->kind == PONS_KEY_SET ||
                   (key->kind == PONS_KEY_BOOL && strcmp(key->names->text, "false") != 0);
    if (quoted && !is_word) return false;
    int64_t integer;
    double real;
    int value;
    switch (key->kind) {
    case PONS_KEY_BITS:
        if (strcmp(text, "16") == 0) {
            *(int *)field = 16;
            return true;
        } /* fall through */
    case PONS_KEY_INT:
        if (!parse_integer(text, key->low, key->high, &integer)) return false;
        *(int *)field = (int)integer;
        return true;
    case PONS_KEY_I64:
        if (!parse_integer(text, key->low, key->high, &integer)) return false;
        *(int64_t *)field = integer;
        return true;
    case PONS_KEY_U32:
        if (!parse_integer(text, key->low, key->high, &integer)) return false;
        *(uint32_t *)field = (uint32_t)integer;
        return true;
    case PONS_KEY_F32:
        if (!parse_real(key, text, &real) || (key->low_open && (float)real <= (float)key->low))
            return false;
        *(float *)field = (float)real;
        return true;
    case PONS_KEY_F64: return parse_real(key, text, field);
    case PONS_KEY_BOOL:
        if (!parse_name(key->names, text, &value)) return false;
        *(bool *)field = value;
        return true;
    case PONS_KEY_CHOICE: return parse_name(key->names, text, field);
    case PONS_KEY_PATTERN: return parse_pattern(text, recipe);
    case PONS_KEY_INT8:
        if (!parse_name(key->names, text, &value)) return false;
        recipe->weights.down_proj_bits = recipe->activations.down_proj_bits = value ? 8 : 0;
        return true;
    case PONS_KEY_SET: return parse_set(key, text, field);
    case PONS_KEY_TEXT:
        if (strlen(text) > (size_t)key->high || !is_one_line(text)) return false;
        memset(field, 0, (size_t)key->high + 1); /* equal recipes are equal bytes */
        memcpy(field, text, strlen(text));
        return true;
    }
    return false;
}

/* Fewest digits that read back to the same number. */
static void format_real(double value, bool single, char *out)
{
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(out, PONS_RECIPE_VALUE_BYTES, "%.*g", digits, value);
        double back = strtod(out, NULL);
        if (single ? (float)back == (float)value : back == value) return;
    }
}

static void format_name(const pons_recipe_name *names, int value, char *out)
{
    const char *name = pons_recipe_name_of(names, value);
    if (name)
        snprintf(out, PONS_RECIPE_VALUE_BYTES, "%s", name);
    else
        snprintf(out, PONS_RECIPE_VALUE_BYTES, "number %d", value);
}

static void format_set(int set, char *out)
{
    size_t used = (size_t)snprintf(out, PONS_RECIPE_VALUE_BYTES, "%s", set ? "" : "none");
    for (int k = 0; set >> k; k++)
        if (set >> k & 1)
            used += (size_t)snprintf(out + used, PONS_RECIPE_VALUE_BYTES - used, "%s%d",
                                     used ? "," : "", k);
}

void pons_recipe_key_format(const pons_recipe_key *key, const pons_recipe *recipe,
                            char out[PONS_RECIPE_VALUE_BYTES])
{
    const void *field = (const char *)recipe + key->offset;
    size_t size = PONS_RECIPE_VALUE_BYTES;
    switch (key->kind) {
    case PONS_KEY_BITS: /* fall through */
    case PONS_KEY_INT: snprintf(out, size, "%d", *(const int *)field); break;
    case PONS_KEY_I64: snprintf(out, size, "%lld", (long long)*(const int64_t *)field); break;
    case PONS_KEY_U32: snprintf(out, size, "%lu", (unsigned long)*(const uint32_t *)field); break;
    case PONS_KEY_F32: format_real(*(const float *)field, true, out); break;
    case PONS_KEY_F64: format_real(*(const double *)field, false, out); break;
    case PONS_KEY_BOOL: format_name(key->names, *(const bool *)field, out); break;
    case PONS_KEY_CHOICE: format_name(key->names, *(const int *)field, out); break;
    case PONS_KEY_PATTERN:
        if (recipe->prune.n == 0 && recipe->prune.m == 0)
            snprintf(out, size, "unstructured");
        else
            snprintf(out, size, "%d:%d", recipe->prune.n, recipe->prune.m);
        break;
    case PONS_KEY_INT8: {
        int w = recipe->weights.down_proj_bits, a = recipe->activations.down_proj_bits;
        if (w == a && (w == 0 || w == 8))
            snprintf(out, size, "%s", w ? "true" : "false");
        else
            snprintf(out, size, "%d bits for weights and %d for activations", w, a);
        break;
    }
    case PONS_KEY_SET: format_set(*(const int *)field, out); break;
    case PONS_KEY_TEXT: snprintf(out, size, "%.*s", (int)key->high + 1, (const char *)field); break;
    }
}

void pons_recipe_key_allowed(const pons_recipe_key *key, char out[PONS_RECIPE_ALLOWED_BYTES])
{
    size_t size = PONS_RECIPE_ALLOWED_BYTES, used = 0;
    switch (key->kind) {
    case PONS_KEY_INT: /* fall through */
    case PONS_KEY_I64: /* fall through */
    case PONS_KEY_U32: snprintf(out, size, "an integer %.0f..%.0f", key->low, key->high); break;
    case PONS_KEY_BITS:
        snprintf(out, size, "an integer %.0f..%.0f, or 16", key->low, key->high);
        break;
    case PONS_KEY_F32: /* fall through */
    case PONS_KEY_F64:
        snprintf(out, size, "a number %g %s x %s %g", key->low,
                 key->low_open ? "<" : "<=", key->high_open ? "<" : "<=", key->high);
        break;
    case PONS_KEY_BOOL:   /* fall through */
    case PONS_KEY_CHOICE: /* fall through */
    case PONS_KEY_INT8:
        out[0] = 0;
        for (const pons_recipe_name *name = key->names; name->text; name++)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", name->text);
        break;
    case PONS_KEY_PATTERN:
        snprintf(out, size,
                 "unstructured, or N:M with 1 <= N < M <= 1024 (N of every M are pruned)");
        break;
    case PONS_KEY_SET:
        snprintf(out, size, "none, or integers %.0f..%.0f with commas between them", key->low,
                 key->high);
        break;
    case PONS_KEY_TEXT:
        snprintf(out, size, "at most %.0f bytes of UTF-8 on one line", key->high);
        break;
    }
}
