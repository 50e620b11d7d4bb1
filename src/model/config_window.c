/* Owns the sliding-window rules of config.json: they differ by class, and so do the defaults
 * when a key is absent. */
#include "model/config_json.h"

#include <stdio.h>
#include <string.h>

/* The classes of transformers that have a window fill this in when the key is absent. */
static const int64_t class_default_window = 4096;

static pons_status read_window(const pons_fields *f, int64_t *window)
{
    if (!json_object_get(f->object, "sliding_window")) {
        *window = class_default_window;
        return PONS_OK;
    }
    *window = 0;
    if (!pons_fields_has(f, "sliding_window")) return PONS_OK;
    return pons_fields_integer(f, "sliding_window", 1, INT32_MAX, window);
}

/* layer_types: how many full-attention layers come before the first sliding one; full, sliding, full
 * cannot be expressed and is refused. */
static pons_status read_layer_types(const pons_fields *f, int64_t layers, int64_t *from)
{
    const json_t *types = json_object_get(f->object, "layer_types");
    if (!json_is_array(types) || json_array_size(types) != (size_t)layers)
        return pons_fields_fail(f, PONS_ERR_INPUT, "layer_types",
                                "a list with one entry per layer");
    *from = layers;
    for (int64_t i = 0; i < layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        bool sliding = type && !strcmp(type, "sliding_attention");
        if (!sliding && !(type && !strcmp(type, "full_attention")))
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: layer_types[%lld]: found %s, allowed full_attention, "
                             "sliding_attention",
                             f->path, (long long)i, type ? type : "no string");
        if (sliding && *from == layers) *from = i;
        if (!sliding && *from < layers)
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: layer_types[%lld]: found full_attention after "
                             "sliding_attention, allowed: full layers first, sliding ones last",
                             f->path, (long long)i);
    }
    return PONS_OK;
}

pons_status pons_config_json_window(const pons_fields *f, pons_model_config *out)
{
    pons_status st = PONS_OK;
    int64_t window = 0, from = 0;
    bool upper = out->arch->window == PONS_WINDOW_UPPER;
    char allowed[64];
    switch (out->arch->window) {
    case PONS_WINDOW_NONE:
        /* transformers ignores the key, other engines do not: no safe reading exists. */
        snprintf(allowed, sizeof allowed, "null for model_type %s", out->arch->model_type);
        if (pons_fields_has(f, "sliding_window"))
            return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "sliding_window", allowed);
        break;
    case PONS_WINDOW_ALL: PONS_TRY(st, read_window(f, &window)); break;
    case PONS_WINDOW_UPPER: {
        bool use = false;
        if (pons_fields_has(f, "use_sliding_window"))
            PONS_TRY(st, pons_fields_boolean(f, "use_sliding_window", &use));
        if (use) PONS_TRY(st, read_window(f, &window));
        from = 28; /* class default of max_window_layers */
        if (pons_fields_has(f, "max_window_layers"))
            PONS_TRY(st, pons_fields_integer(f, "max_window_layers", 0, INT32_MAX, &from));
        break;
    }
    }
    if (!window || from >= out->layers) from = out->layers;
    if (pons_fields_has(f, "layer_types")) {
        int64_t listed = 0;
        PONS_TRY(st, read_layer_types(f, out->layers, &listed));
        /* Only classes of this rule may choose the layers freely; another's list can but repeat it. */
        if (listed != from && (!upper || (!window && listed < out->layers)))
            return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "layer_types",
                                    "what sliding_window and model_type imply");
        from = listed;
    }
    out->sliding_window = from < out->layers ? window : 0;
    out->window_from = out->sliding_window ? from : 0;
done:
    return st;
}
