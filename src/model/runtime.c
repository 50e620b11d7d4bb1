/* Owns the "runtime" object of pons.json, in both directions. */
#include "model/model.h"

#include <string.h>

#include "model/fields.h"

pons_runtime pons_runtime_plain(void)
{
    return (pons_runtime){
        .hadamard_dtype = PONS_DTYPE_F32,
        .activations = {.bits = 16, .symmetric = true, .clip_ratio = 1},
        .kv = {.bits = 16, .symmetric = true, .clip_ratio = 1},
        .values = {.bits = 16, .symmetric = true, .clip_ratio = 1},
    };
}

void pons_runtime_drop_quantizers(pons_runtime *runtime)
{
    runtime->activations.bits = runtime->kv.bits = runtime->values.bits = 16;
    runtime->activations.down_proj_bits = 0;
}

/* 2..8, or 16 for off; `or_zero` allows 0 as well (down_proj_bits: as the others). */
static pons_status read_bits(const pons_fields *f, const char *key, bool or_zero, int *bits)
{
    int64_t value = 0;
    pons_status st = pons_fields_integer(f, key, or_zero ? 0 : 2, 16, &value);
    if (st == PONS_OK && (value == 1 || (value > 8 && value < 16)))
        st = pons_fields_fail(f, PONS_ERR_INPUT, key, or_zero ? "0, 2 to 8, 16" : "2 to 8, 16");
    *bits = (int)value;
    return st;
}

static pons_status read_clip(const pons_fields *f, float *clip)
{
    double value = 0;
    pons_status st = pons_fields_positive(f, "clip_ratio", 1, &value);
    *clip = (float)value;
    return st;
}

static pons_status read_activations(const pons_fields *f, pons_act_quant *out)
{
    static const char *const known[] = {
        "bits",       "symmetric",      "group_size", "o_proj_head_groups",
        "clip_ratio", "down_proj_bits", NULL};
    pons_status st = PONS_OK;
    PONS_TRY(st, pons_fields_only(f, known));
    PONS_TRY(st, read_bits(f, "bits", false, &out->bits));
    PONS_TRY(st, pons_fields_boolean(f, "symmetric", &out->symmetric));
    PONS_TRY(st, pons_fields_integer(f, "group_size", 0, INT32_MAX, &out->group_size));
    PONS_TRY(st, pons_fields_boolean(f, "o_proj_head_groups", &out->o_proj_head_groups));
    PONS_TRY(st, read_clip(f, &out->clip_ratio));
    PONS_TRY(st, read_bits(f, "down_proj_bits", true, &out->down_proj_bits));
done:
    return st;
}

static pons_status read_kv(const pons_fields *f, pons_kv_quant *out)
{
    static const char *const known[] = {"bits", "symmetric", "per_head", "clip_ratio", NULL};
    pons_status st = PONS_OK;
    PONS_TRY(st, pons_fields_only(f, known));
    PONS_TRY(st, read_bits(f, "bits", false, &out->bits));
    PONS_TRY(st, pons_fields_boolean(f, "symmetric", &out->symmetric));
    PONS_TRY(st, pons_fields_boolean(f, "per_head", &out->per_head));
    PONS_TRY(st, read_clip(f, &out->clip_ratio));
done:
    return st;
}

/* F32 where an older output does not say. */
static pons_status read_hadamard_dtype(const pons_fields *f, pons_dtype *out)
{
    const char *text = NULL, *key = "hadamard_dtype";
    *out = PONS_DTYPE_F32;
    if (!pons_fields_has(f, key)) return PONS_OK;
    pons_status st = pons_fields_text(f, key, &text);
    if (st != PONS_OK) return st;
    bool known = pons_dtype_from_name(text, out);
    if (known && (*out == PONS_DTYPE_F32 || *out == PONS_DTYPE_F16 || *out == PONS_DTYPE_BF16))
        return PONS_OK;
    return pons_fields_fail(f, PONS_ERR_INPUT, key, "F32, F16, BF16");
}

pons_status pons_runtime_from_json(const char *path, const json_t *object, pons_runtime *out)
{
    static const char *const known[] = {"hadamard_qk",
                                        "hadamard_heads",
                                        "hadamard_down",
                                        "hadamard_dtype",
                                        "transforms",
                                        "activations",
                                        "kv",
                                        "values",
                                        NULL};
    pons_status st = PONS_OK;
    pons_runtime r;
    memset(&r, 0, sizeof r); /* padding too: the struct travels between ranks as bytes */
    pons_fields f = {path, "runtime.", object}, part;
    if (!json_is_object(object))
        return pons_fail(PONS_ERR_INPUT, "%s: runtime: found no object, allowed an object", path);
    PONS_TRY(st, pons_fields_only(&f, known));
    PONS_TRY(st, pons_fields_boolean(&f, "hadamard_qk", &r.hadamard_qk));
    PONS_TRY(st, pons_fields_boolean(&f, "hadamard_heads", &r.hadamard_heads));
    PONS_TRY(st, pons_fields_boolean(&f, "hadamard_down", &r.hadamard_down));
    PONS_TRY(st, read_hadamard_dtype(&f, &r.hadamard_dtype));
    if (pons_fields_has(&f, "transforms"))
        PONS_TRY(st, pons_fields_boolean(&f, "transforms", &r.transforms));
    PONS_TRY(st, pons_fields_object(&f, "activations", "runtime.activations.", &part));
    PONS_TRY(st, read_activations(&part, &r.activations));
    PONS_TRY(st, pons_fields_object(&f, "kv", "runtime.kv.", &part));
    PONS_TRY(st, read_kv(&part, &r.kv));
    r.values = r.kv; /* an older output has one object for both */
    if (pons_fields_has(&f, "values")) {
        PONS_TRY(st, pons_fields_object(&f, "values", "runtime.values.", &part));
        PONS_TRY(st, read_kv(&part, &r.values));
    }
    *out = r;
done:
    return st;
}

static json_t *kv_to_json(const pons_kv_quant *kv)
{
    return json_pack("{s:i, s:b, s:b, s:f}", "bits", kv->bits, "symmetric", (int)kv->symmetric,
                     "per_head", (int)kv->per_head, "clip_ratio",
                     pons_fields_shortest(kv->clip_ratio));
}

pons_status pons_runtime_to_json(const pons_runtime *r, json_t **out)
{
    json_t *o = json_pack(
        "{s:b, s:b, s:b, s:s, s:b, s:{s:i, s:b, s:I, s:b, s:f, s:i}, s:o, s:o}", "hadamard_qk",
        (int)r->hadamard_qk, "hadamard_heads", (int)r->hadamard_heads, "hadamard_down",
        (int)r->hadamard_down, "hadamard_dtype", pons_dtype_name(r->hadamard_dtype), "transforms",
        (int)r->transforms, "activations", "bits", r->activations.bits, "symmetric",
        (int)r->activations.symmetric, "group_size", (json_int_t)r->activations.group_size,
        "o_proj_head_groups", (int)r->activations.o_proj_head_groups, "clip_ratio",
        pons_fields_shortest(r->activations.clip_ratio), "down_proj_bits",
        r->activations.down_proj_bits, "kv", kv_to_json(&r->kv), "values", kv_to_json(&r->values));
    if (!o) return pons_fail(PONS_ERR_NOMEM, "out of memory for the runtime settings");
    *out = o;
    return PONS_OK;
}
