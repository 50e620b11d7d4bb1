/* Owns the reading of a tokenizer file's normalizer and of patterns. */
#include "text/parts.h"

#include <string.h>

pons_status pons_build_pattern(const pons_json_place *place, const json_t *object,
                               pons_pattern **out)
{
    static const char *const keys[] = {"String", "Regex", NULL};
    pons_json_place at = pons_json_in(place, "pattern");
    const json_t *value = json_object_get(object, "pattern");
    pons_status st = pons_json_check(&at, value, keys);
    if (st != PONS_OK) return st;
    if (json_object_size(value) != 1)
        return pons_fail(PONS_ERR_INPUT, "%s: expected either String or Regex", at.text);
    bool literal = json_object_get(value, "String") != NULL;
    const char *text;
    int64_t bytes;
    st = pons_json_text(&at, value, literal ? "String" : "Regex", &text, &bytes);
    if (st != PONS_OK) return st;
    return pons_pattern_compile(at.text, text, bytes, literal, out);
}

static pons_status build_prepend(const pons_json_place *place, const json_t *value,
                                 pons_normalizer *out)
{
    static const char *const keys[] = {"type", "prepend", NULL};
    pons_status st = PONS_OK;
    pons_normal_step step = {.kind = PONS_NORMAL_PREPEND};
    const char *text;
    int64_t bytes;
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, pons_json_text(place, value, "prepend", &text, &bytes));
    PONS_TRY(st, pons_bytes_append(&step.content, text, bytes));
    st = pons_normalizer_add(out, &step);
done:
    pons_bytes_free(&step.content);
    return st;
}

static pons_status build_replace(const pons_json_place *place, const json_t *value,
                                 pons_normalizer *out)
{
    static const char *const keys[] = {"type", "pattern", "content", NULL};
    pons_status st = PONS_OK;
    pons_normal_step step = {.kind = PONS_NORMAL_REPLACE};
    const char *text;
    int64_t bytes;
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, pons_build_pattern(place, value, &step.pattern));
    PONS_TRY(st, pons_json_text(place, value, "content", &text, &bytes));
    PONS_TRY(st, pons_bytes_append(&step.content, text, bytes));
    st = pons_normalizer_add(out, &step);
done:
    pons_pattern_free(&step.pattern);
    pons_bytes_free(&step.content);
    return st;
}

static pons_status build_form(const pons_json_place *place, const json_t *value,
                              pons_normal_kind kind, pons_normalizer *out)
{
    static const char *const keys[] = {"type", NULL};
    pons_normal_step step = {.kind = kind};
    pons_status st = pons_json_check(place, value, keys);
    return st == PONS_OK ? pons_normalizer_add(out, &step) : st;
}

static pons_status build_sequence(const pons_json_place *place, const json_t *value,
                                  pons_normalizer *out)
{
    static const char *const keys[] = {"type", "normalizers", NULL};
    pons_status st = pons_json_check(place, value, keys);
    if (st != PONS_OK) return st;
    const json_t *list = json_object_get(value, "normalizers");
    if (!json_is_array(list))
        return pons_fail(PONS_ERR_INPUT, "%s.normalizers: expected a list", place->text);
    for (size_t i = 0; i < json_array_size(list) && st == PONS_OK; i++) {
        pons_json_place at = pons_json_at(place, "normalizers", i);
        st = pons_build_normalizer(&at, json_array_get(list, i), out);
    }
    return st;
}

pons_status pons_build_normalizer(const pons_json_place *place, const json_t *value,
                                  pons_normalizer *out)
{
    static const struct {
        const char *type;
        pons_normal_kind kind;
    } forms[] = {{"NFC", PONS_NORMAL_NFC},
                 {"NFD", PONS_NORMAL_NFD},
                 {"NFKC", PONS_NORMAL_NFKC},
                 {"NFKD", PONS_NORMAL_NFKD}};
    if (!value || json_is_null(value)) return PONS_OK;
    const char *type;
    pons_status st = pons_json_type(place, value, &type);
    if (st != PONS_OK) return st;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(type, forms[i].type)) return build_form(place, value, forms[i].kind, out);
    if (!strcmp(type, "Prepend")) return build_prepend(place, value, out);
    if (!strcmp(type, "Replace")) return build_replace(place, value, out);
    if (!strcmp(type, "Sequence")) return build_sequence(place, value, out);
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "%s: normalizer \"%s\" is not supported (supported: NFC, NFD, NFKC, NFKD, "
                     "Prepend, Replace, Sequence)",
                     place->text, type);
}
