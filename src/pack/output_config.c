/* Owns config.json of the output. Source of quantization_config: formats.md section 3, the minimal
 * keys that loaders of every version accept. */
#include "pack/output_config.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/file.h"

/* The compressed-tensors release whose layout is written: dense packing of 3, 5, 6 and 7 bits began
 * just before. */
static const char *const layout_version = "0.18.0";

static bool same_scheme(const pons_pack_scheme *a, const pons_pack_scheme *b)
{
    return a->bits == b->bits && a->symmetric == b->symmetric && a->group_size == b->group_size;
}

/* One entry of config_groups. */
static json_t *group_of(const pons_pack_scheme *s, json_t *targets)
{
    json_t *size = s->group_size ? json_integer(s->group_size) : json_null();
    return json_pack("{s:o, s:{s:i, s:s, s:b, s:s, s:o, s:b}, s:n, s:n}", "targets", targets,
                     "weights", "num_bits", s->bits, "type", "int", "symmetric", (int)s->symmetric,
                     "strategy", s->group_size ? "group" : "channel", "group_size", size, "dynamic",
                     0, "input_activations", "output_activations");
}

/* Append what names the linears stored in this way: "re:.*down_proj$" where all blocks do, else each by its
 * module. */
static int add_targets(const pons_arch *arch, int64_t layers, const pons_pack_scheme *scheme,
                       const pons_pack_scheme *wanted, json_t *targets)
{
    int bad = 0;
    for (int l = 0; l < arch->linears; l++) {
        const char *name = arch->linear[l].name;
        int64_t count = 0;
        for (int64_t layer = 0; layer < layers; layer++)
            count += same_scheme(&scheme[layer * arch->linears + l], wanted);
        if (count == layers)
            bad |= json_array_append_new(targets,
                                         json_sprintf("re:.*%s$", arch->linear[l].short_name));
        for (int64_t layer = 0; layer < layers && count < layers; layer++)
            if (same_scheme(&scheme[layer * arch->linears + l], wanted))
                bad |= json_array_append_new(
                    targets, json_sprintf("model.layers.%lld.%s", (long long)layer, name));
    }
    return bad;
}

/* Groups of the linears stored unlike `base`; those not packed go to `ignore`. */
static int add_exceptions(const pons_arch *arch, int64_t layers, const pons_pack_scheme *scheme,
                          const pons_pack_scheme *base, json_t *groups, json_t *ignore)
{
    const pons_pack_scheme dense = {.bits = 16, .symmetric = true};
    int bad = add_targets(arch, layers, scheme, &dense, ignore);
    for (int64_t i = 0; i < layers * arch->linears; i++) {
        bool seen = scheme[i].bits == 16 || same_scheme(&scheme[i], base);
        for (int64_t k = 0; k < i && !seen; k++)
            seen = same_scheme(&scheme[k], &scheme[i]);
        if (seen) continue;
        json_t *targets = json_array();
        char name[32];
        bad |= add_targets(arch, layers, scheme, &scheme[i], targets);
        snprintf(name, sizeof name, "group_%zu", json_object_size(groups));
        bad |= json_object_set_new(groups, name, group_of(&scheme[i], targets));
    }
    return bad;
}

/* NULL when memory is out; json null when nothing is packed. The class Linear stands last: a loader
 * that stops at the first target that fits, and one that prefers names and patterns, then agree. */
static json_t *quantization_config(const pons_arch *arch, int64_t layers,
                                   const pons_pack_scheme *scheme)
{
    int64_t first = 0;
    while (first < layers * arch->linears && scheme[first].bits == 16)
        first++;
    if (first == layers * arch->linears) return json_null();
    json_t *ignore = json_pack("[s]", "lm_head"), *groups = json_object(), *section = NULL;
    char name[32];
    if (!ignore || !groups || add_exceptions(arch, layers, scheme, &scheme[first], groups, ignore))
        goto done;
    snprintf(name, sizeof name, "group_%zu", json_object_size(groups));
    if (json_object_set_new(groups, name, group_of(&scheme[first], json_pack("[s]", "Linear"))))
        goto done;
    section = json_pack("{s:s, s:s, s:s, s:s, s:n, s:O, s:n, s:{}, s:{}, s:O}", "quant_method",
                        "compressed-tensors", "version", layout_version, "format", "pack-quantized",
                        "quantization_status", "compressed", "global_compression_ratio", "ignore",
                        ignore, "kv_cache_scheme", "sparsity_config", "transform_config",
                        "config_groups", groups);
done:
    json_decref(groups);
    json_decref(ignore);
    return section;
}

/* Token ids of a GGUF file, under the names config.json and generation_config.json share. */
static int set_token_ids(const pons_store *store, json_t *object)
{
    static const char *const keys[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                          {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                          {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    int bad = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const pons_gguf_value *v = pons_store_metadata(store, keys[i][1]);
        if (v && v->type == PONS_GGUF_UINT)
            bad |= json_object_set_new(object, keys[i][0], json_integer((json_int_t)v->u));
    }
    return bad;
}

/* Flags and dtype; no quantization_config. */
static int edit(json_t *root, const pons_model_config *config)
{
    pons_dtype dtype = config->dtype;
    const char *name = dtype == PONS_DTYPE_F32   ? "float32"
                       : dtype == PONS_DTYPE_F16 ? "float16"
                                                 : "bfloat16";
    bool v5 = json_object_get(root, "dtype") != NULL;
    int bad = 0;
    if (v5) bad |= json_object_set_new(root, "dtype", json_string(name));
    if (!v5 || json_object_get(root, "torch_dtype"))
        bad |= json_object_set_new(root, "torch_dtype", json_string(name));
    bad |= json_object_set_new(root, "tie_word_embeddings", json_boolean(config->tied));
    json_object_del(root, "quantization_config");
    return bad;
}

pons_status pons_output_config_make(const pons_model *source, const pons_model_config *config,
                                    json_t **out)
{
    pons_status st = PONS_OK;
    json_t *root = NULL;
    char *path = pons_mem_printf("%s/config.json", pons_model_path(source));
    if (!path) return PONS_ERR_NOMEM;
    if (pons_store_is_gguf(pons_model_store(source))) {
        PONS_TRY(st, pons_model_config_to_json(config, config->dtype, &root));
        if (set_token_ids(pons_model_store(source), root)) st = PONS_ERR_NOMEM;
    } else {
        PONS_TRY(st, pons_json_read(path, &root));
    }
    if (st != PONS_OK || edit(root, config))
        PONS_TRY(st, pons_fail(PONS_ERR_NOMEM, "out of memory for %s", path));
    *out = root;
    root = NULL;
done:
    json_decref(root);
    pons_mem_free(path);
    return st;
}

pons_status pons_output_config_write(const char *dir, const char *from,
                                     const pons_model_config *config,
                                     const pons_pack_scheme *scheme)
{
    pons_status st = PONS_OK;
    json_t *root = NULL, *section = NULL;
    char *path = pons_mem_printf("%s/config.json", dir);
    char *base = pons_mem_printf("%s/config.json", from);
    if (!path || !base) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_json_read(base, &root));
    section = quantization_config(config->arch, config->layers, scheme);
    if (!section || edit(root, config) ||
        (!json_is_null(section) && json_object_set(root, "quantization_config", section))) {
        st = pons_fail(PONS_ERR_NOMEM, "out of memory for %s", path);
        goto done;
    }
    PONS_TRY(st, pons_json_write(path, root));
done:
    json_decref(section);
    json_decref(root);
    pons_mem_free(base);
    pons_mem_free(path);
    return st;
}
