/* Owns the reading of a tokenizer file's post-processor: for one text it amounts to ids before and
 * after it. */
#include "text/parts.h"

#include <string.h>

static pons_status add_special(const pons_json_place *place, const json_t *piece,
                               const json_t *specials, pons_ids *out)
{
    const char *name;
    int64_t bytes;
    pons_status st = pons_json_text(place, piece, "id", &name, &bytes);
    if (st != PONS_OK) return st;
    const json_t *ids = json_object_get(json_object_get(specials, name), "ids");
    if (!json_is_array(ids))
        return pons_fail(PONS_ERR_INPUT, "%s: special token \"%s\" has no ids", place->text, name);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *value = json_array_get(ids, i);
        int32_t id = (int32_t)json_integer_value(value);
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > INT32_MAX)
            return pons_fail(PONS_ERR_INPUT, "%s: an id of special token \"%s\" is not a token id",
                             place->text, name);
        st = pons_ids_append(out, &id, 1);
        if (st != PONS_OK) return st;
    }
    return PONS_OK;
}

static pons_status build_template(const pons_json_place *place, const json_t *value,
                                  pons_ids *prefix, pons_ids *suffix)
{
    static const char *const keys[] = {"type", "single", "pair", "special_tokens", NULL};
    pons_status st = pons_json_check(place, value, keys);
    if (st != PONS_OK) return st;
    if (prefix->count || suffix->count)
        return pons_fail(PONS_ERR_UNSUPPORTED, "%s: a second template is not supported",
                         place->text);
    const json_t *single = json_object_get(value, "single");
    int sequences = 0;
    for (size_t i = 0; i < json_array_size(single) && st == PONS_OK; i++) {
        pons_json_place at = pons_json_at(place, "single", i);
        const json_t *piece = json_array_get(single, i);
        const json_t *special = json_object_get(piece, "SpecialToken");
        const json_t *sequence = json_object_get(json_object_get(piece, "Sequence"), "id");
        if (special)
            st = add_special(&at, special, json_object_get(value, "special_tokens"),
                             sequences ? suffix : prefix);
        else if (json_is_string(sequence) && !strcmp(json_string_value(sequence), "A"))
            sequences++;
        else
            st = pons_fail(PONS_ERR_INPUT, "%s: expected SpecialToken or Sequence A", at.text);
    }
    if (st == PONS_OK && sequences != 1)
        st = pons_fail(PONS_ERR_UNSUPPORTED,
                       "%s.single: the text occurs %d times in the template; it must occur once",
                       place->text, sequences);
    return st;
}

static pons_status build_sequence(const pons_json_place *place, const json_t *value,
                                  pons_ids *prefix, pons_ids *suffix)
{
    static const char *const keys[] = {"type", "processors", NULL};
    pons_status st = pons_json_check(place, value, keys);
    if (st != PONS_OK) return st;
    const json_t *list = json_object_get(value, "processors");
    if (!json_is_array(list))
        return pons_fail(PONS_ERR_INPUT, "%s.processors: expected a list", place->text);
    for (size_t i = 0; i < json_array_size(list) && st == PONS_OK; i++) {
        pons_json_place at = pons_json_at(place, "processors", i);
        st = pons_build_postprocessor(&at, json_array_get(list, i), prefix, suffix);
    }
    return st;
}

pons_status pons_build_postprocessor(const pons_json_place *place, const json_t *value,
                                     pons_ids *prefix, pons_ids *suffix)
{
    if (!value || json_is_null(value)) return PONS_OK;
    const char *type;
    pons_status st = pons_json_type(place, value, &type);
    if (st != PONS_OK) return st;
    if (!strcmp(type, "ByteLevel")) return PONS_OK; /* changes offsets only */
    if (!strcmp(type, "TemplateProcessing")) return build_template(place, value, prefix, suffix);
    if (!strcmp(type, "Sequence")) return build_sequence(place, value, prefix, suffix);
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "%s: post-processor \"%s\" is not supported (supported: TemplateProcessing, "
                     "ByteLevel, Sequence)",
                     place->text, type);
}
