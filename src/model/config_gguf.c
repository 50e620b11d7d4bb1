/* Owns reading GGUF metadata into pons_model_config. Single numbers are read in gguf_number.c, rotary
 * scaling in gguf_rope.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/gguf.h"

typedef struct reader {
    const pons_store *store;
    const char *path, *arch;
} reader;

/* Keys other architectures or options use to change the numbers. */
static pons_status refuse_foreign(const reader *r)
{
    static const struct {
        const char *key;
        double neutral;
    } foreign[] = {{"attention.sliding_window", 0},
                   {"attention.scale", NAN},
                   {"attention.clamp_kqv", 0},
                   {"attention.max_alibi_bias", 0},
                   {"attention.causal", 1},
                   {"attention.layer_norm_epsilon", NAN},
                   {"expert_count", 0},
                   {"logit_scale", 1},
                   {"embedding_scale", 1},
                   {"residual_scale", 1},
                   {"final_logit_softcapping", 0},
                   {"attn_logit_softcapping", 0},
                   {"use_parallel_residual", 0},
                   {"rope.scaling.attn_factor", 1},
                   {"rope.dimension_sections", NAN}};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char full[PONS_GGUF_KEY_BYTES];
        const pons_gguf_value *v = pons_gguf_find(r->store, r->arch, foreign[i].key, full);
        if (!v) continue;
        double x = v->type == PONS_GGUF_UINT    ? (double)v->u
                   : v->type == PONS_GGUF_INT   ? (double)v->i
                   : v->type == PONS_GGUF_FLOAT ? v->f
                                                : NAN;
        if (x != foreign[i].neutral)
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: metadata %s: found %g, which Pons does not implement", r->path,
                             full, x);
    }
    return PONS_OK;
}

static pons_status read_arch(reader *r, const pons_arch **arch)
{
    const pons_gguf_value *v = pons_store_metadata(r->store, "general.architecture");
    const pons_arch *a;
    char name[64] = "nothing", known[256] = "";
    size_t used = 0;
    bool text = v && v->type == PONS_GGUF_STRING;
    if (text) snprintf(name, sizeof name, "%.*s", v->length < 60 ? (int)v->length : 60, v->text);
    *arch = text ? pons_arch_of_gguf(name) : NULL;
    if (*arch) {
        r->arch = (*arch)->gguf;
        return PONS_OK;
    }
    for (int i = 0; (a = pons_arch_at(i)) && used < sizeof known; i++)
        if (a->gguf)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                                     a->gguf);
    return pons_fail(text ? PONS_ERR_UNSUPPORTED : PONS_ERR_INPUT,
                     "%s: metadata general.architecture: found %s, allowed %s", r->path, name,
                     known);
}

static pons_status read_head_dim(const reader *r, pons_model_config *c)
{
    pons_status st = PONS_OK;
    int64_t values = 0, rotary = 0;
    int64_t usual = c->hidden / c->heads;
    PONS_TRY(st, pons_gguf_integer(r->store, r->arch, "attention.key_length", usual, &c->head_dim));
    PONS_TRY(st, pons_gguf_integer(r->store, r->arch, "attention.value_length", usual, &values));
    PONS_TRY(st,
             pons_gguf_integer(r->store, r->arch, "rope.dimension_count", c->head_dim, &rotary));
    if (!c->head_dim || c->head_dim % 2 || values != c->head_dim || rotary != c->head_dim)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "%s: metadata %s: found attention.key_length %lld, attention.value_length "
                         "%lld, rope.dimension_count %lld, allowed three equal even numbers",
                         r->path, r->arch, (long long)c->head_dim, (long long)values,
                         (long long)rotary);
done:
    return st;
}

static pons_status read_sizes(const reader *r, pons_model_config *c)
{
    pons_status st = PONS_OK;
    const struct {
        const char *key;
        int64_t fallback, *value;
    } sizes[] = {{"embedding_length", -1, &c->hidden},
                 {"feed_forward_length", -1, &c->intermediate},
                 {"block_count", -1, &c->layers},
                 {"attention.head_count", -1, &c->heads},
                 {"context_length", 2048, &c->max_positions}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        PONS_TRY(st, pons_gguf_integer(r->store, r->arch, sizes[i].key, sizes[i].fallback,
                                       sizes[i].value));
        if (!*sizes[i].value)
            return pons_fail(PONS_ERR_INPUT,
                             "%s: metadata %s.%s: found 0, allowed a positive integer", r->path,
                             r->arch, sizes[i].key);
    }
    PONS_TRY(st, pons_gguf_integer(r->store, r->arch, "attention.head_count_kv", c->heads,
                                   &c->kv_heads));
    if (!c->kv_heads || c->heads % c->kv_heads)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: metadata %s.attention.head_count_kv: found %lld, allowed a divisor "
                         "of attention.head_count %lld",
                         r->path, r->arch, (long long)c->kv_heads, (long long)c->heads);
    PONS_TRY(st, read_head_dim(r, c));
done:
    return st;
}

pons_status pons_model_config_from_gguf(const pons_store *store, pons_model_config *out)
{
    pons_status st = PONS_OK;
    reader r = {store, pons_store_path(store), ""};
    pons_model_config c = {0};
    PONS_TRY(st, read_arch(&r, &c.arch));
    PONS_TRY(st, refuse_foreign(&r));
    PONS_TRY(st, read_sizes(&r, &c));
    PONS_TRY(st,
             pons_gguf_positive(store, r.arch, "attention.layer_norm_rms_epsilon", 0, &c.rms_eps));
    PONS_TRY(st, pons_gguf_rope(store, r.arch, &c));

    const pons_tensor_view *embedding = pons_store_find(store, "token_embd.weight");
    if (!embedding || embedding->ndim != 2)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor token_embd.weight is missing or not a matrix",
                         r.path);
    c.vocab = embedding->shape[0];
    c.dtype = embedding->dtype == PONS_DTYPE_F16 || embedding->dtype == PONS_DTYPE_BF16
                  ? embedding->dtype
                  : PONS_DTYPE_F32;
    c.tied = !pons_store_find(store, "output.weight");
    /* The metadata do not say: of optional biases, those of block 0 decide for all. */
    c.attention_bias = c.arch->attention_bias_key && pons_store_find(store, "blk.0.attn_q.bias");
    c.mlp_bias = c.arch->mlp_bias_key && pons_store_find(store, "blk.0.ffn_down.bias");
    *out = c;
done:
    return st;
}
