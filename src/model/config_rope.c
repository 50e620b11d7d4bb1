/* Owns the rotary part of config.json: v4 style (rope_theta + rope_scaling) and v5 style
 * (rope_parameters). */
#include "model/config_json.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

static const char *const known_keys[] = {"rope_type",
                                         "type",
                                         "rope_theta",
                                         "factor",
                                         "low_freq_factor",
                                         "high_freq_factor",
                                         "original_max_position_embeddings",
                                         "partial_rotary_factor",
                                         NULL};
static const char *const supported_types = "default, linear, llama3";

static pons_status read_type(const pons_fields *f, pons_rope_type *type)
{
    pons_status st = PONS_OK;
    const char *key = pons_fields_has(f, "rope_type") ? "rope_type" : "type", *name = NULL;
    *type = PONS_ROPE_DEFAULT;
    if (!pons_fields_has(f, key)) return PONS_OK;
    PONS_TRY(st, pons_fields_text(f, key, &name));
    if (pons_fields_has(f, "type")) { /* both spellings: they must agree */
        const char *old = NULL;
        PONS_TRY(st, pons_fields_text(f, "type", &old));
        if (strcmp(old, name)) return pons_fields_fail(f, PONS_ERR_INPUT, "type", name);
    }
    if (!strcmp(name, "default")) return PONS_OK;
    if (!strcmp(name, "linear"))
        *type = PONS_ROPE_LINEAR;
    else if (!strcmp(name, "llama3"))
        *type = PONS_ROPE_LLAMA3;
    else
        return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, key, supported_types);
done:
    return st;
}

/* One rope object into `out`, whose theta is already the default that holds when the object has
 * none. */
static pons_status read_object(const pons_fields *f, pons_model_config *out)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, pons_fields_only(f, known_keys));
    PONS_TRY(st, read_type(f, &out->rope.type));
    if (pons_fields_has(f, "rope_theta"))
        PONS_TRY(st, pons_fields_positive(f, "rope_theta", DBL_MAX, &out->rope.theta));
    if (pons_fields_has(f, "partial_rotary_factor")) {
        double share = 0;
        PONS_TRY(st, pons_fields_positive(f, "partial_rotary_factor", DBL_MAX, &share));
        if (share != 1)
            return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "partial_rotary_factor", "1");
    }
    if (out->rope.type != PONS_ROPE_DEFAULT)
        PONS_TRY(st, pons_fields_positive(f, "factor", DBL_MAX, &out->rope.factor));
    if (out->rope.type == PONS_ROPE_LLAMA3) {
        PONS_TRY(st,
                 pons_fields_positive(f, "low_freq_factor", DBL_MAX, &out->rope.low_freq_factor));
        PONS_TRY(st,
                 pons_fields_positive(f, "high_freq_factor", DBL_MAX, &out->rope.high_freq_factor));
        if (out->rope.high_freq_factor <= out->rope.low_freq_factor)
            return pons_fields_fail(f, PONS_ERR_INPUT, "high_freq_factor",
                                    "a number above low_freq_factor");
        out->rope.original_max_positions = (double)out->max_positions;
        if (pons_fields_has(f, "original_max_position_embeddings"))
            PONS_TRY(st, pons_fields_positive(f, "original_max_position_embeddings", DBL_MAX,
                                              &out->rope.original_max_positions));
    }
done:
    return st;
}

static bool same_rope(const pons_model_config *a, const pons_model_config *b)
{
    return a->rope.type == b->rope.type && a->rope.theta == b->rope.theta &&
           a->rope.factor == b->rope.factor && a->rope.low_freq_factor == b->rope.low_freq_factor &&
           a->rope.high_freq_factor == b->rope.high_freq_factor &&
           a->rope.original_max_positions == b->rope.original_max_positions;
}

/* The original context of llama3 scaling at the top level of config.json. Transformers 5 prefers it to the one in the
 * rope object, transformers 4 does not know it: where both are given they must agree. */
static pons_status read_top_level_original(const pons_fields *f, const char *object_name,
                                           pons_model_config *c)
{
    static const char *const key = "original_max_position_embeddings";
    pons_status st = PONS_OK;
    double original = 0;
    if (c->rope.type != PONS_ROPE_LLAMA3 || !pons_fields_has(f, key)) return PONS_OK;
    PONS_TRY(st, pons_fields_positive(f, key, DBL_MAX, &original));
    const json_t *object = json_object_get(f->object, object_name);
    const pons_fields inner = {f->path, "", object};
    if (pons_fields_has(&inner, key) && original != c->rope.original_max_positions) {
        char allowed[96];
        snprintf(allowed, sizeof allowed, "the value of %s.%s, %.9g", object_name, key,
                 c->rope.original_max_positions);
        return pons_fields_fail(f, PONS_ERR_INPUT, key, allowed);
    }
    c->rope.original_max_positions = original;
done:
    return st;
}

pons_status pons_config_json_rope(const pons_fields *f, pons_model_config *out)
{
    pons_status st = PONS_OK;
    pons_fields object;
    out->rope.theta = 10000;
    out->rope.type = PONS_ROPE_DEFAULT;
    out->rope.factor = 1;
    out->rope.low_freq_factor = out->rope.high_freq_factor = out->rope.original_max_positions = 0;
    if (pons_fields_has(f, "rope_theta"))
        PONS_TRY(st, pons_fields_positive(f, "rope_theta", DBL_MAX, &out->rope.theta));
    pons_model_config old = *out, new = *out;
    bool has_old = pons_fields_has(f, "rope_scaling"),
         has_new = pons_fields_has(f, "rope_parameters");
    if (has_old) {
        PONS_TRY(st, pons_fields_object(f, "rope_scaling", "rope_scaling.", &object));
        PONS_TRY(st, read_object(&object, &old));
    }
    if (has_new) {
        PONS_TRY(st, pons_fields_object(f, "rope_parameters", "rope_parameters.", &object));
        PONS_TRY(st, read_object(&object, &new));
        if (pons_fields_has(f, "rope_theta") && new.rope.theta != out->rope.theta)
            return pons_fields_fail(f, PONS_ERR_INPUT, "rope_theta",
                                    "the value of rope_parameters.rope_theta");
    }
    if (has_old && has_new && !same_rope(&old, &new))
        return pons_fields_fail(f, PONS_ERR_INPUT, "rope_scaling",
                                "the settings of rope_parameters, or null");
    out->rope = has_new ? new.rope : old.rope;
    PONS_TRY(st, read_top_level_original(f, has_new ? "rope_parameters" : "rope_scaling", out));
done:
    return st;
}
