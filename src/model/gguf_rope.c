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

/* Blend s of a divisor: 1/divisor = (1 - s)/factor + s. */
static double blend(double divisor, double factor)
{
    return (1 / divisor - 1 / factor) / (1 - 1 / factor);
}

/* Set llama3 scaling with low = 1, see fit_llama3, and tell whether it has these divisors. */
static bool try_llama3(pons_model_config *c, const float *divisor, double high, double original)
{
    c->rope.type = PONS_ROPE_LLAMA3;
    c->rope.low_freq_factor = 1;
    c->rope.high_freq_factor = round(high * 1e3) / 1e3;
    c->rope.original_max_positions = round(original); /* as published, where that does */
    if (high > 1 && reproduces(c, divisor)) return true;
    c->rope.high_freq_factor = high;
    c->rope.original_max_positions = original;
    return high > 1 && reproduces(c, divisor);
}

/*
 * Between the two wavelength limits s = (original/wavelength - low) / (high - low), a line in
 * x = 1/wavelength, x = f / (2 pi). Scaling original, low and high together changes nothing, so
 * low = 1 is chosen; then s = a x - b gives high = 1 + 1/b, original = a/b. With one point on the line
 * every high that puts the points beside it beyond the limits has the same divisors: 4 is tried first,
 * as in every Llama 3 published. The same holds with none, between the last point of divisor 1 and the next.
 */
static bool fit_llama3(pons_model_config *c, const float *divisor)
{
    static const double highs[] = {4, 3, 2, 1.5, 1.25, 1.1, 1.05, 1.01};
    int64_t half = c->head_dim / 2, first = -1, last = -1, ones = 0;
    double factor = round(divisor[half - 1] * 1e4) / 1e4;
    if (!(factor > 1)) return false;
    c->rope.factor = factor;
    for (int64_t i = 0; i < half; i++) {
        ones += divisor[i] <= 1 + tolerance;
        if (divisor[i] <= 1 + tolerance || divisor[i] >= factor * (1 - tolerance)) continue;
        if (first < 0) first = i;
        last = i;
    }
    if (last > first) {
        double x1 = pons_rope_base_frequency(c, first) / (2 * M_PI),
               s1 = blend(divisor[first], factor);
        double x2 = pons_rope_base_frequency(c, last) / (2 * M_PI),
               s2 = blend(divisor[last], factor);
        double a = (s1 - s2) / (x1 - x2), b = a * x1 - s1;
        return a > 0 && b > 0 && try_llama3(c, divisor, 1 + 1 / b, a / b);
    }
    if (first < 0 && try_llama3(c, divisor, 4, 8192)) return true;
    /* where the line is s: on the one point, or halfway between the two points beside the limits */
    double x = first >= 0 ? (double)pons_rope_base_frequency(c, first)
               : ones > 0 ? sqrt((double)pons_rope_base_frequency(c, ones - 1) *
                                 (double)pons_rope_base_frequency(c, ones))
                          : 2 * (double)pons_rope_base_frequency(c, 0);
    double s = first >= 0 ? blend(divisor[first], factor) : 0.5;
    for (size_t i = 0; i < sizeof highs / sizeof *highs; i++)
        if (try_llama3(c, divisor, highs[i], (s * (highs[i] - 1) + 1) * 2 * M_PI / x)) return true;
    return false;
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
    PONS_TRY(st, pons_store_read(store, t, 0, (size_t)t->shape[0] * sizeof *divisor, divisor));
    if (reproduces(c, divisor)) goto done; /* divisors that repeat the metadata */
    if (c->rope.type != PONS_ROPE_DEFAULT || !fit_llama3(c, divisor))
        st = pons_fail(PONS_ERR_UNSUPPORTED,
                       "%s: tensor %s: its frequency divisors are not those of llama3 scaling, "
                       "the only kind supported, or too few for it to be told",
                       pons_store_path(store), name);
done:
    pons_mem_free(divisor);
    return st;
}

static bool is_text(const pons_gguf_value *value, const char *text)
{
    return value->type == PONS_GGUF_STRING && value->length == strlen(text) &&
           !memcmp(value->text, text, value->length);
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
    if (type && !is_text(type, "linear") && !is_text(type, "none"))
        return pons_fail(
            PONS_ERR_UNSUPPORTED, "%s: metadata %s: found %.*s, allowed none, linear",
            pons_store_path(store), key,
            type->type == PONS_GGUF_STRING ? (int)(type->length < 60 ? type->length : 60) : 7,
            type->type == PONS_GGUF_STRING ? type->text : "another");
    if (!type ||
        is_text(type,
                "linear")) { /* without a type a factor means linear; the older key counts last */
        PONS_TRY(st, pons_gguf_positive(store, arch, "rope.scale_linear", 1, &c->rope.factor));
        PONS_TRY(st, pons_gguf_positive(store, arch, "rope.scaling.factor", c->rope.factor,
                                        &c->rope.factor));
        if (c->rope.factor != 1) c->rope.type = PONS_ROPE_LINEAR;
    }
    PONS_TRY(st, read_divisors(store, c));
done:
    return st;
}
