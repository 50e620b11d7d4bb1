/* Owns typed reading of JSON members and the wording of its errors. Does not know any key. */
#include "model/fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool pons_fields_has(const pons_fields *f, const char *key)
{
    const json_t *value = json_object_get(f->object, key);
    return value && !json_is_null(value);
}

/* What was found, short enough for one line. */
static void describe(const json_t *value, char *text, size_t bytes)
{
    if (!value) {
        snprintf(text, bytes, "nothing");
        return;
    }
    switch (json_typeof(value)) {
    case JSON_STRING: snprintf(text, bytes, "\"%.80s\"", json_string_value(value)); break;
    case JSON_INTEGER: snprintf(text, bytes, "%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL:
        snprintf(text, bytes, "%.9g", json_real_value(value));
        if (!text[strcspn(text, ".en")]) strcat(text, ".0"); /* 1.0 is not the integer 1 */
        break;
    case JSON_TRUE: snprintf(text, bytes, "true"); break;
    case JSON_FALSE: snprintf(text, bytes, "false"); break;
    case JSON_NULL: snprintf(text, bytes, "null"); break;
    case JSON_OBJECT: snprintf(text, bytes, "an object"); break;
    case JSON_ARRAY: snprintf(text, bytes, "a list of %zu", json_array_size(value)); break;
    }
}

pons_status pons_fields_fail(const pons_fields *f, pons_status code, const char *key,
                             const char *allowed)
{
    char found[96];
    describe(json_object_get(f->object, key), found, sizeof found);
    return pons_fail(code, "%s: %s%s: found %s, allowed %s", f->path, f->prefix, key, found,
                     allowed);
}

pons_status pons_fields_integer(const pons_fields *f, const char *key, int64_t minimum,
                                int64_t maximum, int64_t *value)
{
    const json_t *v = json_object_get(f->object, key);
    if (!json_is_integer(v) || json_integer_value(v) < minimum || json_integer_value(v) > maximum) {
        char allowed[64];
        snprintf(allowed, sizeof allowed, "an integer from %lld to %lld", (long long)minimum,
                 (long long)maximum);
        return pons_fields_fail(f, PONS_ERR_INPUT, key, allowed);
    }
    *value = json_integer_value(v);
    return PONS_OK;
}

pons_status pons_fields_boolean(const pons_fields *f, const char *key, bool *value)
{
    const json_t *v = json_object_get(f->object, key);
    if (!json_is_boolean(v)) return pons_fields_fail(f, PONS_ERR_INPUT, key, "true or false");
    *value = json_is_true(v);
    return PONS_OK;
}

pons_status pons_fields_text(const pons_fields *f, const char *key, const char **value)
{
    const json_t *v = json_object_get(f->object, key);
    if (!json_is_string(v)) return pons_fields_fail(f, PONS_ERR_INPUT, key, "a string");
    *value = json_string_value(v);
    return PONS_OK;
}

pons_status pons_fields_object(const pons_fields *f, const char *key, const char *prefix,
                               pons_fields *value)
{
    const json_t *v = json_object_get(f->object, key);
    if (!json_is_object(v)) return pons_fields_fail(f, PONS_ERR_INPUT, key, "an object");
    *value = (pons_fields){f->path, prefix, v};
    return PONS_OK;
}

pons_status pons_fields_positive(const pons_fields *f, const char *key, double maximum,
                                 double *value)
{
    const json_t *v = json_object_get(f->object, key);
    double x = json_is_number(v) ? json_number_value(v) : -1;
    if (!(x > 0 && x <= maximum && isfinite(x))) {
        char allowed[64];
        snprintf(allowed, sizeof allowed, "a number above 0 and up to %g", maximum);
        return pons_fields_fail(f, PONS_ERR_INPUT, key, allowed);
    }
    *value = x;
    return PONS_OK;
}

double pons_fields_shortest(float x)
{
    char text[40];
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        double shorter = strtod(text, NULL);
        if ((float)shorter == x) return shorter;
    }
    return x;
}

pons_status pons_fields_only(const pons_fields *f, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)f->object, key, value)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, key))
            k++;
        if (*k) continue;
        char allowed[512] = "";
        for (k = known; *k; k++) {
            size_t used = strlen(allowed);
            snprintf(allowed + used, sizeof allowed - used, "%s%s", used ? ", " : "", *k);
        }
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: %s%s: key is not supported here, allowed keys: %s", f->path,
                         f->prefix, key, allowed);
    }
    return PONS_OK;
}
