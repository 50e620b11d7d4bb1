/* Owns reading config.json into pons_model_config. Rotary settings, windows, refused keys and the
 * quantization section have files of their own. Does not look at tensors. */
#include "model/config_json.h"

#include <float.h>
#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "model/quant_config.h"

/* The names of all families, separated by commas. */
static const char *list_names(bool classes, char *text, size_t bytes)
{
    const pons_arch *a;
    size_t used = 0;
    for (int i = 0; (a = pons_arch_at(i)) && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", i ? ", " : "",
                                 classes ? a->class_name : a->model_type);
    return text;
}

static pons_status read_arch(const pons_fields *f, const pons_arch **arch)
{
    pons_status st = PONS_OK;
    const json_t *classes = json_object_get(f->object, "architectures");
    const char *class_name = NULL;
    char known[512];
    if (pons_fields_has(f, "architectures")) {
        class_name = json_string_value(json_array_get(classes, 0));
        if (!class_name || json_array_size(classes) != 1)
            return pons_fields_fail(f, PONS_ERR_INPUT, "architectures", "a list of one class name");
    }
    if (pons_fields_has(f, "model_type") || !class_name) {
        const char *name = NULL;
        PONS_TRY(st, pons_fields_text(f, "model_type", &name));
        *arch = pons_arch_of_type(name);
        if (!*arch)
            return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "model_type",
                                    list_names(false, known, sizeof known));
        if (class_name && strcmp((*arch)->class_name, class_name))
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: architectures: found %s, allowed %s for model_type %s", f->path,
                             class_name, (*arch)->class_name, name);
    } else {
        *arch = pons_arch_of_class(class_name);
        if (!*arch)
            return pons_fail(PONS_ERR_UNSUPPORTED, "%s: architectures: found %s, allowed %s",
                             f->path, class_name, list_names(true, known, sizeof known));
    }
done:
    return st;
}

static pons_status optional_integer(const pons_fields *f, const char *key, int64_t fallback,
                                    int64_t *value)
{
    *value = fallback;
    return pons_fields_has(f, key) ? pons_fields_integer(f, key, 1, INT32_MAX, value) : PONS_OK;
}

static pons_status optional_boolean(const pons_fields *f, const char *key, bool *value)
{
    *value = false;
    return pons_fields_has(f, key) ? pons_fields_boolean(f, key, value) : PONS_OK;
}

static pons_status read_sizes(const pons_fields *f, pons_model_config *out)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, pons_fields_integer(f, "vocab_size", 1, INT32_MAX, &out->vocab));
    PONS_TRY(st, pons_fields_integer(f, "hidden_size", 1, INT32_MAX, &out->hidden));
    PONS_TRY(st, pons_fields_integer(f, "intermediate_size", 1, INT32_MAX, &out->intermediate));
    PONS_TRY(st, pons_fields_integer(f, "num_hidden_layers", 1, INT32_MAX, &out->layers));
    PONS_TRY(st, pons_fields_integer(f, "num_attention_heads", 1, INT32_MAX, &out->heads));

    /* An absent key means the default of the class; null means one per head to all of them. */
    bool absent = !json_object_get(f->object, "num_key_value_heads");
    PONS_TRY(st, optional_integer(f, "num_key_value_heads",
                                  absent && out->arch->kv_heads ? out->arch->kv_heads : out->heads,
                                  &out->kv_heads));
    if (out->heads % out->kv_heads)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: num_key_value_heads: found %lld, allowed a divisor of "
                         "num_attention_heads %lld",
                         f->path, (long long)out->kv_heads, (long long)out->heads);
    absent = !json_object_get(f->object, "head_dim");
    int64_t head_dim = absent && out->arch->head_dim ? out->arch->head_dim : 0;
    if (!head_dim && !pons_fields_has(f, "head_dim") && out->hidden % out->heads)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: hidden_size: found %lld, allowed a multiple of num_attention_heads "
                         "%lld when head_dim is not given",
                         f->path, (long long)out->hidden, (long long)out->heads);
    PONS_TRY(st, optional_integer(f, "head_dim", head_dim ? head_dim : out->hidden / out->heads,
                                  &out->head_dim));
    if (out->head_dim % 2)
        return pons_fail(PONS_ERR_UNSUPPORTED, "%s: head_dim: found %lld, allowed an even number",
                         f->path, (long long)out->head_dim);
    PONS_TRY(st, optional_integer(f, "max_position_embeddings", out->arch->max_positions,
                                  &out->max_positions));
done:
    return st;
}

static pons_status read_dtype(const pons_fields *f, pons_dtype *dtype)
{
    const char *key = pons_fields_has(f, "dtype") ? "dtype" : "torch_dtype", *name = NULL;
    *dtype = PONS_DTYPE_F32;
    if (!pons_fields_has(f, key)) return PONS_OK;
    pons_status st = pons_fields_text(f, key, &name);
    if (st != PONS_OK) return st;
    if (!strncmp(name, "torch.", 6)) name += 6;
    if (!strcmp(name, "float32"))
        *dtype = PONS_DTYPE_F32;
    else if (!strcmp(name, "float16"))
        *dtype = PONS_DTYPE_F16;
    else if (!strcmp(name, "bfloat16"))
        *dtype = PONS_DTYPE_BF16;
    else
        return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, key, "float32, float16, bfloat16");
    return PONS_OK;
}

static pons_status read_all(const pons_fields *f, pons_model_config *out)
{
    pons_status st = PONS_OK;
    const char *activation = "silu";
    PONS_TRY(st, read_arch(f, &out->arch));
    PONS_TRY(st, pons_config_json_refuse_foreign(f));
    PONS_TRY(st, read_sizes(f, out));
    PONS_TRY(st, pons_config_json_window(f, out));
    PONS_TRY(st, pons_config_json_rope(f, out));
    out->rms_eps = 1e-6;
    if (pons_fields_has(f, "rms_norm_eps"))
        PONS_TRY(st, pons_fields_positive(f, "rms_norm_eps", 1, &out->rms_eps));
    if (pons_fields_has(f, "hidden_act"))
        PONS_TRY(st, pons_fields_text(f, "hidden_act", &activation));
    if (strcmp(activation, "silu"))
        return pons_fields_fail(f, PONS_ERR_UNSUPPORTED, "hidden_act", "silu");
    PONS_TRY(st, optional_boolean(f, "tie_word_embeddings", &out->tied));
    if (out->arch->attention_bias_key)
        PONS_TRY(st, optional_boolean(f, "attention_bias", &out->attention_bias));
    if (out->arch->mlp_bias_key) PONS_TRY(st, optional_boolean(f, "mlp_bias", &out->mlp_bias));
    PONS_TRY(st, read_dtype(f, &out->dtype));
done:
    return st;
}

pons_status pons_model_config_read(const char *path, pons_model_config *out)
{
    pons_status st = PONS_OK;
    json_t *root = NULL;
    pons_quant_config quant = {0};
    pons_model_config config = {0};
    PONS_TRY(st, pons_json_read(path, &root));
    if (!json_is_object(root)) {
        st = pons_fail(PONS_ERR_INPUT, "%s: found no JSON object, allowed one object", path);
        goto done;
    }
    PONS_TRY(st, read_all(&(pons_fields){path, "", root}, &config));
    PONS_TRY(st, pons_quant_config_read(path, root, &quant));
    *out = config;
done:
    pons_quant_config_free(&quant);
    json_decref(root);
    return st;
}
