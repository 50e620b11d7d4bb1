/* Owns the reading of a tokenizer file's pre-tokenizer into stages. */
#include "text/parts.h"

#include <string.h>

#include "text/utf8.h"

/* What ByteLevel cuts with when it is asked to (use_regex). */
static const char gpt2_expression[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static pons_status add_cut(const pons_json_place *place, const char *text, bool literal,
                           pons_cut_behavior behavior, pons_stages *out)
{
    pons_stage stage = {.kind = PONS_STAGE_CUT, .behavior = behavior};
    pons_status st =
        pons_pattern_compile(place->text, text, (int64_t)strlen(text), literal, &stage.pattern);
    return st == PONS_OK ? pons_stages_add(out, &stage) : st;
}

static pons_status add_plain(pons_stage_kind kind, pons_stages *out)
{
    pons_stage stage = {.kind = kind};
    return pons_stages_add(out, &stage);
}

static pons_status build_split(const pons_json_place *place, const json_t *value, pons_stages *out)
{
    static const char *const keys[] = {"type", "pattern", "behavior", "invert", NULL};
    static const struct {
        const char *name;
        pons_cut_behavior behavior;
    } known[] = {{"Isolated", PONS_CUT_ISOLATED},
                 {"Removed", PONS_CUT_REMOVED},
                 {"MergedWithPrevious", PONS_CUT_MERGED_WITH_PREVIOUS},
                 {"MergedWithNext", PONS_CUT_MERGED_WITH_NEXT},
                 {"Contiguous", PONS_CUT_CONTIGUOUS}};
    pons_status st = PONS_OK;
    pons_stage stage = {.kind = PONS_STAGE_CUT};
    const char *name;
    int64_t bytes;
    size_t n = sizeof known / sizeof *known, i = 0;
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, pons_json_text(place, value, "behavior", &name, &bytes));
    PONS_TRY(st, pons_json_flag(place, value, "invert", &stage.invert));
    while (i < n && strcmp(known[i].name, name))
        i++;
    if (i == n) {
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s.behavior: \"%s\" is not supported", place->text,
                       name);
        goto done;
    }
    stage.behavior = known[i].behavior;
    PONS_TRY(st, pons_build_pattern(place, value, &stage.pattern));
    st = pons_stages_add(out, &stage);
done:
    pons_pattern_free(&stage.pattern);
    return st;
}

static pons_status build_byte_level(const pons_json_place *place, const json_t *value,
                                    pons_stages *out)
{
    static const char *const keys[] = {"type", "add_prefix_space", "trim_offsets", "use_regex",
                                       NULL};
    pons_status st = PONS_OK;
    bool prefix = true, use_regex = true;
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, pons_json_flag(place, value, "add_prefix_space", &prefix));
    PONS_TRY(st, pons_json_flag(place, value, "use_regex", &use_regex));
    if (prefix) PONS_TRY(st, add_plain(PONS_STAGE_PREFIX_SPACE, out));
    if (use_regex) PONS_TRY(st, add_cut(place, gpt2_expression, false, PONS_CUT_ISOLATED, out));
    PONS_TRY(st, add_plain(PONS_STAGE_BYTES, out));
done:
    return st;
}

static pons_status build_digits(const pons_json_place *place, const json_t *value, pons_stages *out)
{
    static const char *const keys[] = {"type", "individual_digits", NULL};
    bool individual = false;
    pons_status st = PONS_OK;
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, pons_json_flag(place, value, "individual_digits", &individual));
    st = add_cut(place, "\\p{N}", false, individual ? PONS_CUT_ISOLATED : PONS_CUT_CONTIGUOUS, out);
done:
    return st;
}

/* Old files have the flag add_prefix_space instead of the scheme. */
static pons_status read_scheme(const pons_json_place *place, const json_t *value,
                               pons_prepend_scheme *out)
{
    bool prefix = true;
    pons_status st = pons_json_flag(place, value, "add_prefix_space", &prefix);
    if (st != PONS_OK) return st;
    *out = prefix ? PONS_PREPEND_ALWAYS : PONS_PREPEND_NEVER;
    if (!json_object_get(value, "prepend_scheme")) return PONS_OK;
    const char *name;
    int64_t bytes;
    st = pons_json_text(place, value, "prepend_scheme", &name, &bytes);
    if (st != PONS_OK) return st;
    if (!strcmp(name, "always"))
        *out = PONS_PREPEND_ALWAYS;
    else if (!strcmp(name, "first"))
        *out = PONS_PREPEND_FIRST;
    else if (!strcmp(name, "never"))
        *out = PONS_PREPEND_NEVER;
    else
        return pons_fail(PONS_ERR_INPUT, "%s.prepend_scheme: \"%s\" is not always, first or never",
                         place->text, name);
    if (!prefix && *out != PONS_PREPEND_NEVER)
        return pons_fail(PONS_ERR_INPUT, "%s: add_prefix_space false contradicts prepend_scheme %s",
                         place->text, name);
    return PONS_OK;
}

static pons_status build_metaspace(const pons_json_place *place, const json_t *value,
                                   pons_stages *out)
{
    static const char *const keys[] = {
        "type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep", NULL};
    pons_status st = PONS_OK;
    pons_stage stage = {.kind = PONS_STAGE_METASPACE};
    bool split = true;
    const char *mark;
    int64_t bytes;
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, read_scheme(place, value, &stage.scheme));
    PONS_TRY(st, pons_json_flag(place, value, "split", &split));
    PONS_TRY(st, pons_json_text(place, value, "replacement", &mark, &bytes));
    if (bytes == 0 || pons_utf8_length(mark) != bytes) {
        st = pons_fail(PONS_ERR_INPUT, "%s.replacement: \"%s\" is not one character", place->text,
                       mark);
        goto done;
    }
    PONS_TRY(st, pons_bytes_append(&stage.content, mark, bytes));
    PONS_TRY(st, pons_stages_add(out, &stage));
    if (split) st = add_cut(place, mark, true, PONS_CUT_MERGED_WITH_NEXT, out);
done:
    pons_bytes_free(&stage.content);
    return st;
}

static pons_status build_sequence(const pons_json_place *place, const json_t *value,
                                  pons_stages *out)
{
    static const char *const keys[] = {"type", "pretokenizers", NULL};
    pons_status st = pons_json_check(place, value, keys);
    if (st != PONS_OK) return st;
    const json_t *list = json_object_get(value, "pretokenizers");
    if (!json_is_array(list))
        return pons_fail(PONS_ERR_INPUT, "%s.pretokenizers: expected a list", place->text);
    for (size_t i = 0; i < json_array_size(list) && st == PONS_OK; i++) {
        pons_json_place at = pons_json_at(place, "pretokenizers", i);
        st = pons_build_pretokenizer(&at, json_array_get(list, i), out);
    }
    return st;
}

pons_status pons_build_pretokenizer(const pons_json_place *place, const json_t *value,
                                    pons_stages *out)
{
    if (!value || json_is_null(value)) return PONS_OK;
    const char *type;
    pons_status st = pons_json_type(place, value, &type);
    if (st != PONS_OK) return st;
    if (!strcmp(type, "Split")) return build_split(place, value, out);
    if (!strcmp(type, "ByteLevel")) return build_byte_level(place, value, out);
    if (!strcmp(type, "Digits")) return build_digits(place, value, out);
    if (!strcmp(type, "Metaspace")) return build_metaspace(place, value, out);
    if (!strcmp(type, "Sequence")) return build_sequence(place, value, out);
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "%s: pre-tokenizer \"%s\" is not supported (supported: Split, ByteLevel, "
                     "Digits, Metaspace, Sequence)",
                     place->text, type);
}
