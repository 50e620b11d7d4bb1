/* Owns parsing and matching of quantization_config. Does not touch tensors. */
#include "model/quant_config.h"

#include <stdio.h>
#include <string.h>

#include "model/fields.h"

/* ---- Targets: exact module names, the class "Linear", or "re:" followed by a simple pattern. */

typedef enum target_kind { TARGET_EXACT, TARGET_REGEX, TARGET_CLASS, TARGET_UNKNOWN } target_kind;

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Patterns understood: an optional leading ".*", then words, "." and "\.", then an optional "$". */
static target_kind kind_of(const char *target)
{
    if (strncmp(target, "re:", 3))
        return !strcmp(target, "Linear")                           ? TARGET_CLASS
               : strchr(target, '.') || !strcmp(target, "lm_head") ? TARGET_EXACT
                                                                   : TARGET_UNKNOWN;
    const char *p = target + 3;
    if (!strncmp(p, ".*", 2)) p += 2;
    for (; *p && !(p[0] == '$' && !p[1]); p++) {
        if (p[0] == '\\' && p[1] == '.')
            p++;
        else if (!is_word(*p) && *p != '.')
            return TARGET_UNKNOWN;
    }
    return TARGET_REGEX;
}

/* Match pattern words at the start of s; the rest of s is free unless the pattern ends in "$". */
static bool matches_here(const char *p, const char *s)
{
    for (; *p && *p != '$'; p++, s++) {
        if (!*s) return false;
        if (*p == '\\') {
            p++;
            if (*s != '.') return false;
        } else if (*p != '.' && *p != *s) {
            return false;
        }
    }
    return *p != '$' || !*s;
}

static bool matches(const char *target, const char *module)
{
    switch (kind_of(target)) {
    case TARGET_CLASS: return true; /* every module asked about is a linear */
    case TARGET_EXACT: return !strcmp(target, module);
    case TARGET_REGEX: {
        const char *p = target + 3;
        if (strncmp(p, ".*", 2)) return matches_here(p, module);
        for (const char *s = module;; s++) {
            if (matches_here(p + 2, s)) return true;
            if (!*s) return false;
        }
    }
    default: return false;
    }
}

const pons_quant_scheme *pons_quant_config_find(const pons_quant_config *config, const char *module)
{
    for (size_t i = 0; i < json_array_size(config->ignore); i++)
        if (matches(json_string_value(json_array_get(config->ignore, i)), module)) return NULL;
    for (target_kind kind = TARGET_EXACT; kind <= TARGET_CLASS; kind++)
        for (int s = 0; s < config->count; s++)
            for (size_t i = 0; i < json_array_size(config->scheme[s].targets); i++) {
                const char *target =
                    json_string_value(json_array_get(config->scheme[s].targets, i));
                if (kind_of(target) == kind && matches(target, module)) return &config->scheme[s];
            }
    return NULL;
}

/* ---- Parsing. */

static pons_status check_targets(const pons_fields *f, const char *key)
{
    const json_t *list = json_object_get(f->object, key);
    if (!json_is_array(list))
        return pons_fields_fail(f, PONS_ERR_INPUT, key, "a list of module names");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *target = json_string_value(json_array_get(list, i));
        if (!target || kind_of(target) == TARGET_UNKNOWN)
            return pons_fail(
                PONS_ERR_UNSUPPORTED,
                "%s: %s%s[%zu]: found %s, allowed Linear, a module name, or re:.*NAME$", f->path,
                f->prefix, key, i, target ? target : "no string");
    }
    return PONS_OK;
}

/* A member that must be absent, null or empty. */
static pons_status check_empty(const pons_fields *f, const char *key)
{
    const json_t *value = json_object_get(f->object, key);
    if (!value || json_is_null(value) || (json_is_object(value) && !json_object_size(value)))
        return PONS_OK;
    return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, key, "none or null");
}

static pons_status check_text(const pons_fields *f, const char *key, const char *required)
{
    const char *found = NULL;
    pons_status st = pons_fields_text(f, key, &found);
    if (st == PONS_OK && strcmp(found, required))
        st = pons_fields_fail(f, PONS_ERR_UNSUPPORTED, key, required);
    return st;
}

static pons_status read_weights(const pons_fields *f, pons_quant_scheme *out)
{
    pons_status st = PONS_OK;
    const char *strategy = NULL, *order = "static";
    int64_t bits = 0;
    PONS_TRY(st, pons_fields_integer(f, "num_bits", 2, 8, &bits));
    out->bits = (int)bits;
    PONS_TRY(st, check_text(f, "type", "int"));
    PONS_TRY(st, pons_fields_boolean(f, "symmetric", &out->symmetric));
    PONS_TRY(st, pons_fields_text(f, "strategy", &strategy));
    if (!strcmp(strategy, "group"))
        PONS_TRY(st, pons_fields_integer(f, "group_size", 1, INT32_MAX, &out->group_size));
    else if (strcmp(strategy, "channel"))
        return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "strategy", "channel, group");
    if (pons_fields_has(f, "dynamic")) {
        bool dynamic = false;
        PONS_TRY(st, pons_fields_boolean(f, "dynamic", &dynamic));
        if (dynamic) return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "dynamic", "false");
    }
    if (pons_fields_has(f, "actorder")) PONS_TRY(st, pons_fields_text(f, "actorder", &order));
    if (strcmp(order, "static") && strcmp(order, "weight")) /* others store a column order */
        return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "actorder", "null, static, weight");
    PONS_TRY(st, check_empty(f, "block_structure"));
done:
    return st;
}

static pons_status read_scheme(const char *path, const char *name, const json_t *object,
                               pons_quant_scheme *out)
{
    pons_status st = PONS_OK;
    char prefix[160], weights_prefix[176];
    snprintf(prefix, sizeof prefix, "quantization_config.config_groups.%.80s.", name);
    snprintf(weights_prefix, sizeof weights_prefix, "%sweights.", prefix);
    pons_fields group = {path, prefix, object}, weights;
    PONS_TRY(st, check_targets(&group, "targets"));
    out->targets = json_object_get(object, "targets");
    PONS_TRY(st, check_empty(&group, "input_activations"));
    PONS_TRY(st, check_empty(&group, "output_activations"));
    if (pons_fields_has(&group, "format"))
        PONS_TRY(st, check_text(&group, "format", "pack-quantized"));
    PONS_TRY(st, pons_fields_object(&group, "weights", weights_prefix, &weights));
    PONS_TRY(st, read_weights(&weights, out));
done:
    return st;
}

static pons_status read_section(const pons_fields *f, pons_quant_config *out)
{
    pons_status st = PONS_OK;
    pons_fields groups;
    const char *name;
    json_t *object;
    PONS_TRY(st, check_text(f, "quant_method", "compressed-tensors"));
    PONS_TRY(st, check_text(f, "format", "pack-quantized"));
    PONS_TRY(st, check_text(f, "quantization_status", "compressed"));
    PONS_TRY(st, check_empty(f, "kv_cache_scheme"));
    PONS_TRY(st, check_empty(f, "sparsity_config"));
    PONS_TRY(st, check_empty(f, "transform_config"));
    if (pons_fields_has(f, "ignore")) {
        PONS_TRY(st, check_targets(f, "ignore"));
        out->ignore = json_object_get(f->object, "ignore");
    }
    PONS_TRY(st,
             pons_fields_object(f, "config_groups", "quantization_config.config_groups.", &groups));
    json_object_foreach((json_t *)groups.object, name, object)
    {
        if (out->count == PONS_QUANT_SCHEMES)
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: quantization_config.config_groups: found more than %d groups",
                             f->path, PONS_QUANT_SCHEMES);
        PONS_TRY(st, read_scheme(f->path, name, object, &out->scheme[out->count]));
        out->count++;
    }
    if (!out->count)
        return pons_fields_fail(f, PONS_ERR_INPUT, "config_groups", "at least one group");
done:
    return st;
}

pons_status pons_quant_config_read(const char *path, const json_t *config, pons_quant_config *out)
{
    *out = (pons_quant_config){0};
    pons_fields root = {path, "", config}, section;
    if (!pons_fields_has(&root, "quantization_config")) return PONS_OK;
    pons_status st =
        pons_fields_object(&root, "quantization_config", "quantization_config.", &section);
    if (st == PONS_OK) st = read_section(&section, out);
    if (st != PONS_OK) {
        *out = (pons_quant_config){0};
        return st;
    }
    out->root = json_incref((json_t *)config);
    return PONS_OK;
}

void pons_quant_config_free(pons_quant_config *config)
{
    json_decref(config->root);
    *config = (pons_quant_config){0};
}
