/**
 * Typed access to the members of a JSON object, with errors that name file, key, what was found and
 * what is allowed. Internal to the rooms that read JSON settings. All Local.
 */
#ifndef PONS_MODEL_FIELDS_H
#define PONS_MODEL_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** An object inside a file: `prefix` is the path of keys down to it, "" or ending in a dot.
 * Everything is borrowed. */
typedef struct pons_fields {
    const char *path, *prefix;
    const json_t *object;
} pons_fields;

/** Whether the key is there and not null. */
bool pons_fields_has(const pons_fields *f, const char *key);

/** Fail with `code`: "FILE: KEY: found VALUE, allowed ALLOWED". */
pons_status pons_fields_fail(const pons_fields *f, pons_status code, const char *key,
                             const char *allowed);

/** Required members; a missing or null one fails like one of the wrong type (PONS_ERR_INPUT).
 * Booleans and strings are not numbers. */
pons_status pons_fields_integer(const pons_fields *f, const char *key, int64_t minimum,
                                int64_t maximum, int64_t *value);
pons_status pons_fields_boolean(const pons_fields *f, const char *key, bool *value);
pons_status pons_fields_text(const pons_fields *f, const char *key, const char **value);
pons_status pons_fields_object(const pons_fields *f, const char *key, const char *prefix,
                               pons_fields *value);

/** A finite number in (0, maximum]. */
pons_status pons_fields_positive(const pons_fields *f, const char *key, double maximum,
                                 double *value);

/** The shortest decimal number that is `x` again as a float (0.9f gives 0.9), for JSON that people
 * read. */
double pons_fields_shortest(float x);

/** Refuse any key of the object outside the NULL-terminated list (PONS_ERR_UNSUPPORTED, named). */
pons_status pons_fields_only(const pons_fields *f, const char *const *known);

#endif
