/* Owns the wording of errors about places in a tokenizer file. */
#include "text/parts.h"

#include <stdio.h>
#include <string.h>

pons_json_place pons_json_top(const char *path, const char *field)
{
    pons_json_place place;
    snprintf(place.text, sizeof place.text, "%.400s: %s", path, field);
    return place;
}

pons_json_place pons_json_in(const pons_json_place *place, const char *field)
{
    pons_json_place inner;
    snprintf(inner.text, sizeof inner.text, "%.440s.%.60s", place->text, field);
    return inner;
}

pons_json_place pons_json_at(const pons_json_place *place, const char *field, size_t index)
{
    pons_json_place inner;
    snprintf(inner.text, sizeof inner.text, "%.420s.%.60s[%zu]", place->text, field, index);
    return inner;
}

pons_status pons_json_check(const pons_json_place *place, const json_t *object,
                            const char *const *keys)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return pons_fail(PONS_ERR_INPUT, "%s: expected an object", place->text);
    json_object_foreach((json_t *)object, key, value)
    {
        bool known = false;
        for (const char *const *k = keys; *k && !known; k++)
            known = strcmp(*k, key) == 0;
        if (!known)
            return pons_fail(PONS_ERR_UNSUPPORTED, "%s: field \"%.60s\" is not supported",
                             place->text, key);
    }
    return PONS_OK;
}

pons_status pons_json_flag(const pons_json_place *place, const json_t *object, const char *key,
                           bool *out)
{
    const json_t *value = json_object_get(object, key);
    if (!value) return PONS_OK;
    if (!json_is_boolean(value))
        return pons_fail(PONS_ERR_INPUT, "%s.%s: expected true or false", place->text, key);
    *out = json_is_true(value);
    return PONS_OK;
}

pons_status pons_json_text(const pons_json_place *place, const json_t *object, const char *key,
                           const char **text, int64_t *bytes)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return pons_fail(PONS_ERR_INPUT, "%s.%s: expected a string", place->text, key);
    *text = json_string_value(value);
    *bytes = (int64_t)json_string_length(value);
    return PONS_OK;
}

pons_status pons_json_type(const pons_json_place *place, const json_t *object, const char **type)
{
    int64_t bytes;
    if (!json_is_object(object))
        return pons_fail(PONS_ERR_INPUT, "%s: expected null or an object", place->text);
    return pons_json_text(place, object, "type", type, &bytes);
}
