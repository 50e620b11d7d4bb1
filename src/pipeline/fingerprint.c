/* Owns what a fingerprint is made of and how two are compared. Does not tokenize. */
#include "pipeline/fingerprint.h"

#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"

static const char *const names[] = {
#define NAME(part, name, text) name,
    PONS_FINGERPRINT_LIST(NAME)
#undef NAME
};

static const char *const texts[] = {
#define TEXT(part, name, text) text,
    PONS_FINGERPRINT_LIST(TEXT)
#undef TEXT
};

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif
#if defined(__AMX_TILE__)
#define COMPILED_FOR "amx"
#elif defined(__AVX512BF16__)
#define COMPILED_FOR "avx512_bf16"
#elif defined(__AVX512F__)
#define COMPILED_FOR "avx512"
#elif defined(__AVX2__)
#define COMPILED_FOR "avx2"
#else
#define COMPILED_FOR "baseline"
#endif

const char *pons_fingerprint_program(void)
{
    return PONS_VERSION ", commit " PONS_COMMIT ", " COMPILER ", " COMPILED_FOR;
}

/* Stretches spread over a tensor, the first and the last bytes among them; all of a small one. */
static pons_status add_sample(pons_sha256 *s, const pons_store *store, const pons_tensor_view *t)
{
    enum { STRETCH = 4096, STRETCHES = 8 };
    pons_status st = PONS_OK;
    char data[STRETCH * STRETCHES];
    size_t bytes = pons_dtype_bytes(t->dtype, pons_tensor_elements(t));
    bool small = bytes <= sizeof data;
    for (size_t i = 0; i < (small ? 1 : STRETCHES + 1); i++) {
        size_t last = small ? 0 : bytes - STRETCH, n = small ? bytes : STRETCH;
        size_t at = i < STRETCHES ? last / (STRETCHES - 1) * i : last;
        PONS_TRY(st, pons_store_read(store, t, at, n, data));
        pons_sha256_update(s, data, n);
    }
done:
    return st;
}

pons_status pons_fingerprint_model(const pons_model *model, char hex[65])
{
    const pons_store *store = pons_model_store(model);
    const pons_model_config *config = pons_model_get_config(model);
    json_t *object = NULL;
    pons_sha256 s;
    pons_status st = pons_model_config_to_json(config, config->dtype, &object);
    if (st != PONS_OK) return st;
    char *text = json_dumps(object, JSON_SORT_KEYS);
    json_decref(object);
    if (!text) return pons_fail(PONS_ERR_NOMEM, "out of memory for the fingerprint");
    pons_sha256_begin(&s);
    pons_sha256_update(&s, text, strlen(text));
    free(text);
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        const pons_tensor_view *t = pons_store_at(store, i);
        pons_sha256_update(&s, t->name, strlen(t->name));
        pons_sha256_update(&s, pons_dtype_name(t->dtype), strlen(pons_dtype_name(t->dtype)));
        pons_sha256_update(&s, t->shape, (size_t)t->ndim * sizeof *t->shape);
        PONS_TRY(st, add_sample(&s, store, t));
    }
    pons_sha256_end(&s, hex);
done:
    return st;
}

json_t *pons_fingerprint_to_json(const pons_fingerprint *f)
{
    json_t *object = json_object();
    for (int i = 0; object && i < PONS_FINGERPRINT_PARTS; i++)
        if (json_object_set_new(object, names[i], json_string(f->part[i]))) {
            json_decref(object);
            object = NULL;
        }
    return object;
}

pons_status pons_fingerprint_check(const pons_fingerprint *f, const json_t *recorded,
                                   const char *where)
{
    for (int i = 0; i < PONS_FINGERPRINT_PARTS; i++) {
        const char *was = json_string_value(json_object_get(recorded, names[i]));
        if (was && !strcmp(was, f->part[i])) continue;
        return pons_fail(PONS_ERR_INPUT, "%s: %s is not the same: %.256s then, %.256s now", where,
                         texts[i], was && *was ? was : "none", *f->part[i] ? f->part[i] : "none");
    }
    return PONS_OK;
}
