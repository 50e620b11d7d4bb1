/* Owns look-up of the keys of one architecture in GGUF metadata, and their reading as numbers. */
#include <math.h>
#include <stdio.h>

#include "model/fields.h"
#include "model/gguf.h"

const pons_gguf_value *pons_gguf_find(const pons_store *store, const char *arch, const char *key,
                                      char full[PONS_GGUF_KEY_BYTES])
{
    snprintf(full, PONS_GGUF_KEY_BYTES, "%s.%s", arch, key);
    return pons_store_metadata(store, full);
}

pons_status pons_gguf_integer(const pons_store *store, const char *arch, const char *key,
                              int64_t fallback, int64_t *out)
{
    char full[PONS_GGUF_KEY_BYTES];
    const pons_gguf_value *v = pons_gguf_find(store, arch, key, full);
    if (!v && fallback >= 0) {
        *out = fallback;
        return PONS_OK;
    }
    if (!v)
        return pons_fail(PONS_ERR_INPUT, "%s: metadata %s: found nothing, allowed an integer",
                         pons_store_path(store), full);
    int64_t x = v->type == PONS_GGUF_UINT  ? (v->u > INT32_MAX ? -1 : (int64_t)v->u)
                : v->type == PONS_GGUF_INT ? v->i
                                           : -1;
    if (x < 0 || x > INT32_MAX)
        return pons_fail(v->type == PONS_GGUF_ARRAY ? PONS_ERR_UNSUPPORTED : PONS_ERR_INPUT,
                         "%s: metadata %s: found %s, allowed one integer from 0 to %d",
                         pons_store_path(store), full,
                         v->type == PONS_GGUF_ARRAY ? "a list" : "another value", INT32_MAX);
    *out = x;
    return PONS_OK;
}

pons_status pons_gguf_positive(const pons_store *store, const char *arch, const char *key,
                               double fallback, double *out)
{
    char full[PONS_GGUF_KEY_BYTES];
    const pons_gguf_value *v = pons_gguf_find(store, arch, key, full);
    if (!v && fallback > 0) {
        *out = fallback;
        return PONS_OK;
    }
    double x = !v                           ? 0
               : v->type == PONS_GGUF_FLOAT ? pons_fields_shortest((float)v->f)
               : v->type == PONS_GGUF_UINT  ? (double)v->u
                                            : 0;
    if (!(x > 0 && isfinite(x)))
        return pons_fail(PONS_ERR_INPUT, "%s: metadata %s: found %s, allowed a number above 0",
                         pons_store_path(store), full, v ? "another value" : "nothing");
    *out = x;
    return PONS_OK;
}
