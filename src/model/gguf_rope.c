/* Owns the rotary settings of a GGUF file: base and scaling from metadata, and Llama 3 scaling from
 * the frequency divisors that converters store as the tensor rope_freqs.weight. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/gguf.h"
#include "model/rope.h"

/* Divisors are stored in fp32 after a handful of fp32 operations. */
static const double tolerance = 2e-5;

static bool reproduces(const pons_model_config *c, const float *divisor)
{
    for (int64_t i = 0; i < c->head_dim / 2; i++) {
        double want = (double)pons_rope_base_frequency(c, i) / divisor[i];
        if (!(fabs(pons_rope_frequency(c, i) - want) <= tolerance * want)) return false;
    }
    return true;
}

/*
 * Between the two wavelength limits, 1/divisor = (1 - s)/factor + s with s = a f - b linear in the
 * unscaled frequency f, where a = original / (2 pi (high - low)) and b = low / (high - low). Only a
 * and b matter to the function, so low = 1 is chosen: high = 1 + 1/b, original = 2 pi a / b.
 */
static bool fit_llama3(pons_model_config *c, const float *divisor)
{
    int64_t half = c->head_dim / 2, first = -1, last = -1;
    c->rope.type = PONS_ROPE_LLAMA3;
    c->rope.factor = round(divisor[half - 1] * 1e4) / 1e4;
    c->rope.low_freq_factor = 1;
    if (!(c->rope.factor > 1)) return false;
    for (int64_t i = 0; i < half; i++)
        if (divisor[i] > 1 + tolerance && divisor[i] < c->rope.factor * (1 - tolerance)) {
            if (first < 0) first = i;
            last = i;
        }
    if (last > first) {
        double share = 1 / c->rope.factor;
        double s1 = (1 / (double)divisor[first] - share) / (1 - share),
               s2 = (1 / (double)divisor[last] - share) / (1 - share);
        double f1 = pons_rope_base_frequency(c, first), f2 = pons_rope_base_frequency(c, last);
        double a = (s1 - s2) / (f1 - f2), b = a * f1 - s1;
        if (!(a > 0 && b > 0)) return false;
        c->rope.high_freq_factor = round((1 + 1 / b) * 1e3) / 1e3;
        c->rope.original_max_positions = round(2 * M_PI * a / b);
        if (reproduces(c, divisor)) return true;
    }
    c->rope.high_freq_factor = 4; /* every Llama 3.x published; no slope to measure */
    c->rope.original_max_positions = 8192;
    return reproduces(c, divisor);
}

static pons_status read_divisors(const pons_store *store, pons_model_config *c)
{
    pons_status st = PONS_OK;
    static const char *const name = "rope_freqs.weight";
    float *divisor = NULL;
    const pons_tensor_view *t = pons_store_find(store, name);
    if (!t) return PONS_OK;
    if (t->ndim != 1 || t->shape[0] != c->head_dim / 2 || t->dtype != PONS_DTYPE_F32)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s: found another form, allowed F32 [%lld]",
                         pons_store_path(store), name, (long long)(c->head_dim / 2));
    PONS_ALLOC(st, divisor, t->shape[0]);
    pons_dtype_to_float(t->dtype, t->data, t->shape[0], divisor);
    if (reproduces(c, divisor)) goto done; /* divisors that repeat the metadata */
    if (c->rope.type != PONS_ROPE_DEFAULT || !fit_llama3(c, divisor))
        st = pons_fail(PONS_ERR_UNSUPPORTED,
                       "%s: tensor %s: its frequency divisors are not those of llama3 scaling, "
                       "the only kind supported",
                       pons_store_path(store), name);
done:
    pons_mem_free(divisor);
    return st;
}

pons_status pons_gguf_rope(const pons_store *store, const char *arch, pons_model_config *c)
{
    pons_status st = PONS_OK;
    char key[96];
    c->rope.type = PONS_ROPE_DEFAULT;
    c->rope.factor = 1;
    PONS_TRY(st, pons_gguf_positive(store, arch, "rope.freq_base", 10000, &c->rope.theta));

    snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    const pons_gguf_value *type = pons_store_metadata(store, key);
    if (type && type->type == PONS_GGUF_STRING && type->length == 6 &&
        !memcmp(type->text, "linear", 6)) {
        c->rope.type = PONS_ROPE_LINEAR;
        PONS_TRY(st, pons_gguf_positive(store, arch, "rope.scaling.factor", 0, &c->rope.factor));
    } else if (type && !(type->type == PONS_GGUF_STRING && type->length == 4 &&
                         !memcmp(type->text, "none", 4))) {
        return pons_fail(
            PONS_ERR_UNSUPPORTED, "%s: metadata %s: found %.*s, allowed none, linear",
            pons_store_path(store), key,
            type->type == PONS_GGUF_STRING ? (int)(type->length < 60 ? type->length : 60) : 7,
            type->type == PONS_GGUF_STRING ? type->text : "another");
    } else if (!type) { /* the older spelling of linear scaling */
        PONS_TRY(st, pons_gguf_positive(store, arch, "rope.scale_linear", 1, &c->rope.factor));
        if (c->rope.factor != 1) c->rope.type = PONS_ROPE_LINEAR;
    }
    PONS_TRY(st, read_divisors(store, c));
done:
    return st;
}
