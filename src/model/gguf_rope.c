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

/*
 * Between the two wavelength limits s = (original/wavelength - low) / (high - low), a line in
 * x = 1/wavelength, x = f / (2 pi). Scaling original, low and high together changes nothing, so
 * low = 1 is chosen; then s = a x - b gives high = 1 + 1/b, original = a/b. With one point on the
 * line high = 4 is taken, as in every Llama 3 published; with none its original 8192 too.
 */
static bool fit_llama3(pons_model_config *c, const float *divisor)
{
    int64_t half = c->head_dim / 2, first = -1, last = -1;
    double factor = round(divisor[half - 1] * 1e4) / 1e4, high = 4, original = 8192;
    if (!(factor > 1)) return false;
    for (int64_t i = 0; i < half; i++)
        if (divisor[i] > 1 + tolerance && divisor[i] < factor * (1 - tolerance)) {
            if (first < 0) first = i;
            last = i;
        }
    if (first >= 0) {
        double x1 = pons_rope_base_frequency(c, first) / (2 * M_PI),
               s1 = blend(divisor[first], factor);
        original = (s1 * (high - 1) + 1) / x1;
        if (last > first) {
            double x2 = pons_rope_base_frequency(c, last) / (2 * M_PI),
                   s2 = blend(divisor[last], factor);
            double a = (s1 - s2) / (x1 - x2), b = a * x1 - s1;
            if (!(a > 0 && b > 0)) return false;
            high = round((1 + 1 / b) * 1e3) / 1e3;
            original = a / b;
        }
    }
    c->rope.type = PONS_ROPE_LLAMA3;
    c->rope.factor = factor;
    c->rope.low_freq_factor = 1;
    c->rope.high_freq_factor = high;
    c->rope.original_max_positions = round(original);
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
    PONS_TRY(st, pons_store_read(store, t, 0, (size_t)t->shape[0] * sizeof *divisor, divisor));
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
