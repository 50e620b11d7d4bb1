/* Owns the sliding-window rules of config.json: they differ by architecture, and so do the defaults
 * when a key is absent. */
#include "model/config_json.h"

#include <string.h>

/* Both classes of transformers fill this in when the key is absent. */
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
    switch (out->arch) {
    case PONS_ARCH_LLAMA:
        /* transformers ignores the key for Llama, other engines do not: no safe reading exists. */
        if (pons_fields_has(f, "sliding_window"))
            return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "sliding_window",
                                    "null for model_type llama");
        break;
    case PONS_ARCH_MISTRAL: PONS_TRY(st, read_window(f, &window)); break;
    case PONS_ARCH_QWEN2: {
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
        /* Only Qwen2 may choose the layers freely; the others' list can but repeat the rule. */
        if (listed != from && (out->arch != PONS_ARCH_QWEN2 || (!window && listed < out->layers)))
            return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "layer_types",
                                    "what sliding_window and model_type imply");
        from = listed;
    }
    out->sliding_window = from < out->layers ? window : 0;
    out->window_from = out->sliding_window ? from : 0;
done:
    return st;
}
