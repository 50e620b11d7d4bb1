/* Owns tensor names in both worlds (Hugging Face, GGUF) and the checks at open: present, shape, type,
 * nothing unexpected. Does not read weights. */
#include "model/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/codes.h"

enum { NAME = 192 };

typedef struct finder {
    pons_model *model;
    const pons_quant_config *quant; /* NULL: the shapes tell how linears are packed */
    bool gguf;
    const char **claimed; /* names of the tensors used so far */
    int64_t claims;
} finder;

static void format_shape(int ndim, const int64_t *shape, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < ndim && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld", i ? ", " : "",
                                 (long long)shape[i]);
    if (used < bytes) snprintf(text + used, bytes - used, "]");
}

/* Claim a tensor of shape [rows] (cols < 0) or [rows, cols] of the given element kind. */
typedef enum element { REAL, I32, I64 } element;

static pons_status claim(finder *f, const char *name, element kind, int64_t rows, int64_t cols,
                         const pons_tensor_view **out)
{
    const pons_tensor_view *t = pons_store_find(f->model->store, name);
    *out = t;
    if (!t) return pons_fail(PONS_ERR_INPUT, "%s: tensor %s is missing", f->model->path, name);
    const int64_t shape[2] = {rows, cols};
    int ndim = cols < 0 ? 1 : 2;
    if (t->ndim != ndim || memcmp(t->shape, shape, (size_t)ndim * sizeof *shape)) {
        char found[96], expected[96];
        format_shape(t->ndim, t->shape, found, sizeof found);
        format_shape(ndim, shape, expected, sizeof expected);
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s: found shape %s, expected %s",
                         f->model->path, name, found, expected);
    }
    bool ok = kind == REAL  ? pons_dtype_is_real(t->dtype)
              : kind == I32 ? t->dtype == PONS_DTYPE_I32
                            : t->dtype == PONS_DTYPE_I64;
    if (!ok || t->shape[ndim - 1] % pons_dtype_unit_elements(t->dtype))
        return pons_fail(PONS_ERR_UNSUPPORTED, "%s: tensor %s: found type %s, expected %s",
                         f->model->path, name, pons_dtype_name(t->dtype),
                         kind == REAL  ? "a floating-point or GGUF block type that fits its rows"
                         : kind == I32 ? "I32"
                                       : "I64");
    f->claimed[f->claims++] = t->name;
    return PONS_OK;
}

/* ---- Names. */

/* "model.layers.3.mlp.down_proj" or "blk.3.ffn_down". */
static void module_name(const finder *f, int64_t layer, const char *name, const char *gguf,
                        char out[NAME])
{
    snprintf(out, NAME, f->gguf ? "blk.%lld.%s" : "model.layers.%lld.%s", (long long)layer,
             f->gguf ? gguf : name);
}

static void gain_name(const finder *f, int64_t layer, int gain, char out[NAME + 32])
{
    char module[NAME];
    const pons_arch_gain *g = &f->model->config.arch->gain[gain];
    module_name(f, layer, g->name, g->gguf, module);
    snprintf(out, NAME + 32, "%s.weight", module);
}

/* ---- Linears. */

static pons_status check_stored_shape(const finder *f, const char *prefix,
                                      const pons_tensor_view *stored, int64_t rows, int64_t cols)
{
    int64_t found[2];
    pons_status st = pons_store_read(f->model->store, stored, 0, sizeof found, found);
    if (st != PONS_OK) return st;
    if (found[0] == rows && found[1] == cols) return PONS_OK;
    return pons_fail(PONS_ERR_INPUT,
                     "%s: tensor %s.weight_shape: found [%lld, %lld], expected [%lld, %lld]",
                     f->model->path, prefix, (long long)found[0], (long long)found[1],
                     (long long)rows, (long long)cols);
}

static pons_status find_packed(finder *f, const char *prefix, const pons_quant_scheme *scheme,
                               pons_linear_tensors *t)
{
    pons_status st = PONS_OK;
    char name[NAME + 32];
    t->bits = scheme->bits;
    t->group_size = scheme->group_size ? scheme->group_size : t->cols;
    if (t->cols % t->group_size)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: %s: found group_size %lld, expected a divisor of its %lld columns",
                         f->model->path, prefix, (long long)t->group_size, (long long)t->cols);
    t->groups = t->cols / t->group_size;
    snprintf(name, sizeof name, "%s.weight_packed", prefix);
    PONS_TRY(st, claim(f, name, I32, t->rows, pons_code_words(t->bits, t->cols), &t->packed));
    snprintf(name, sizeof name, "%s.weight_scale", prefix);
    PONS_TRY(st, claim(f, name, REAL, t->rows, t->groups, &t->scale));
    snprintf(name, sizeof name, "%s.weight_shape", prefix);
    PONS_TRY(st, claim(f, name, I64, 2, -1, &t->shape));
    PONS_TRY(st, check_stored_shape(f, prefix, t->shape, t->rows, t->cols));
    if (!scheme->symmetric) {
        snprintf(name, sizeof name, "%s.weight_zero_point", prefix);
        PONS_TRY(st, claim(f, name, I32, pons_code_words(t->bits, t->rows), t->groups, &t->zero));
    }
    f->model->packed = true;
done:
    return st;
}

/* How a linear was packed, told from what is stored of it; false when it is not packed. From 32
 * columns on there is no doubt about the bits. */
static bool infer_scheme(const finder *f, const char *prefix, int64_t cols, pons_quant_scheme *s)
{
    char name[NAME + 32];
    snprintf(name, sizeof name, "%s.weight_packed", prefix);
    const pons_tensor_view *packed = pons_store_find(f->model->store, name);
    snprintf(name, sizeof name, "%s.weight_scale", prefix);
    const pons_tensor_view *scale = pons_store_find(f->model->store, name);
    snprintf(name, sizeof name, "%s.weight_zero_point", prefix);
    bool zero = pons_store_find(f->model->store, name) != NULL;
    if (!packed || packed->ndim != 2 || !scale || scale->ndim != 2 || scale->shape[1] < 1)
        return false;
    *s = (pons_quant_scheme){.bits = (int)(packed->shape[1] * 32 / cols),
                             .symmetric = !zero,
                             .group_size = cols / scale->shape[1]};
    return s->bits >= 2 && s->bits <= 8;
}

static pons_status find_linear(finder *f, int64_t layer, int linear)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = &f->model->config;
    const pons_arch_linear *of = &c->arch->linear[linear];
    pons_linear_tensors *t = &f->model->linear[layer * c->arch->linears + linear];
    char prefix[NAME], name[NAME + 32];
    module_name(f, layer, of->name, of->gguf, prefix);
    pons_linear_shape(c, linear, &t->rows, &t->cols);
    t->bits = 16;
    t->groups = 1;
    t->group_size = t->cols;
    if (f->gguf && of->gguf_pairs) t->interleaved = c->head_dim;
    pons_quant_scheme inferred;
    const pons_quant_scheme *scheme = f->quant ? pons_quant_config_find(f->quant, prefix)
                                      : infer_scheme(f, prefix, t->cols, &inferred) ? &inferred
                                                                                    : NULL;
    if (scheme) {
        PONS_TRY(st, find_packed(f, prefix, scheme, t));
    } else {
        snprintf(name, sizeof name, "%s.weight", prefix);
        PONS_TRY(st, claim(f, name, REAL, t->rows, t->cols, &t->weight));
    }
    snprintf(name, sizeof name, "%s.bias", prefix);
    if (pons_linear_has_bias(c, linear)) PONS_TRY(st, claim(f, name, REAL, t->rows, -1, &t->bias));
done:
    return st;
}

static pons_status find_block(finder *f, int64_t layer)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = &f->model->config;
    char name[NAME + 32];
    for (int g = 0; g < c->arch->gains; g++) {
        gain_name(f, layer, g, name);
        PONS_TRY(st, claim(f, name, REAL, pons_width_of(c, c->arch->gain[g].width), -1,
                           &f->model->gain[layer * c->arch->gains + g]));
    }
    for (int l = 0; l < c->arch->linears; l++)
        PONS_TRY(st, find_linear(f, layer, l));
done:
    return st;
}

static pons_status allocate_blocks(pons_model *m)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = &m->config;
    PONS_CALLOC(st, m->linear, c->layers * c->arch->linears);
    PONS_CALLOC(st, m->gain, c->layers * c->arch->gains);
done:
    return st;
}

/* ---- The rest. */

/* A tied head that is stored all the same must be the embedding: transformers takes one or the other,
 * by version. */
static pons_status claim_copy(finder *f, const char *name)
{
    enum { PIECE = 1 << 20 };
    pons_status st = PONS_OK;
    const pons_tensor_view *e = f->model->embedding, *t;
    char *pieces = NULL;
    PONS_TRY(st, claim(f, name, REAL, e->shape[0], e->shape[1], &t));
    size_t bytes = pons_dtype_bytes(e->dtype, pons_tensor_elements(e));
    bool same = t->dtype == e->dtype;
    PONS_ALLOC(st, pieces, 2 * PIECE);
    for (size_t at = 0; same && at < bytes; at += PIECE) {
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        PONS_TRY(st, pons_store_read(f->model->store, e, at, n, pieces));
        PONS_TRY(st, pons_store_read(f->model->store, t, at, n, pieces + PIECE));
        same = !memcmp(pieces, pieces + PIECE, n);
    }
    if (!same)
        st = pons_fail(PONS_ERR_UNSUPPORTED,
                       "%s: tensor %s is not the embedding, as tie_word_embeddings says it is",
                       f->model->path, name);
done:
    pons_mem_free(pieces);
    return st;
}

static pons_status find_ends(finder *f)
{
    pons_status st = PONS_OK;
    pons_model *m = f->model;
    const pons_model_config *c = &m->config;
    PONS_TRY(st, claim(f, f->gguf ? "token_embd.weight" : "model.embed_tokens.weight", REAL,
                       c->vocab, c->hidden, &m->embedding));
    PONS_TRY(st, claim(f, f->gguf ? "output_norm.weight" : "model.norm.weight", REAL, c->hidden, -1,
                       &m->final_norm));
    m->head = m->embedding;
    if (!c->tied)
        PONS_TRY(st, claim(f, f->gguf ? "output.weight" : "lm_head.weight", REAL, c->vocab,
                           c->hidden, &m->head));
    else if (pons_store_find(m->store, "lm_head.weight"))
        PONS_TRY(st, claim_copy(f, "lm_head.weight"));
done:
    return st;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Buffers that repeat what config.json says. */
static bool is_known_extra(const finder *f, const char *name)
{
    static const char suffix[] = "rotary_emb.inv_freq";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    if (f->gguf) return !strcmp(name, "rope_freqs.weight"); /* read with the metadata */
    return length >= tail && !strcmp(name + length - tail, suffix);
}

/* A tensor nobody asked for (a q_norm, an expert, a layer too many) means another architecture. */
static pons_status refuse_extras(finder *f)
{
    const pons_store *store = f->model->store;
    qsort(f->claimed, (size_t)f->claims, sizeof *f->claimed, compare_names);
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        const char *name = pons_store_at(store, i)->name;
        if (is_known_extra(f, name)) continue;
        if (!bsearch(&name, f->claimed, (size_t)f->claims, sizeof *f->claimed, compare_names))
            return pons_fail(PONS_ERR_UNSUPPORTED,
                             "%s: tensor %s is not part of the architecture its configuration "
                             "describes",
                             f->model->path, name);
    }
    return PONS_OK;
}

pons_status pons_model_find_tensors(pons_model *model, const pons_quant_config *quant)
{
    pons_status st = PONS_OK;
    finder f = {.model = model, .quant = quant, .gguf = pons_store_is_gguf(model->store)};
    const pons_model_config *c = &model->config;
    char last[NAME + 32];
    PONS_ALLOC(st, f.claimed, pons_store_count(model->store) + 1);
    gain_name(&f, c->layers - 1, 0, last);
    if (!pons_store_find(model->store, last)) { /* before memory is asked for that many layers */
        st = pons_fail(PONS_ERR_INPUT,
                       "%s: tensor %s is missing (the configuration says %lld layers)", model->path,
                       last, (long long)c->layers);
        goto done;
    }
    PONS_TRY(st, allocate_blocks(model));
    PONS_TRY(st, find_ends(&f));
    for (int64_t layer = 0; layer < c->layers; layer++)
        PONS_TRY(st, find_block(&f, layer));
    PONS_TRY(st, refuse_extras(&f));
done:
    pons_mem_free(f.claimed);
    return st;
}

pons_status pons_model_find_block(pons_model *model, int64_t layer)
{
    pons_status st = PONS_OK;
    finder f = {.model = model};
    PONS_ALLOC(st, f.claimed, pons_store_count(model->store) + 1);
    PONS_TRY(st, allocate_blocks(model));
    PONS_TRY(st, find_block(&f, layer));
    PONS_TRY(st, refuse_extras(&f));
done:
    pons_mem_free(f.claimed);
    return st;
}

const pons_linear_tensors *pons_model_linear(const pons_model *model, int64_t layer, int linear)
{
    const pons_model_config *c = &model->config;
    PONS_ASSERT(layer >= 0 && layer < c->layers && linear >= 0 && linear < c->arch->linears);
    return &model->linear[layer * c->arch->linears + linear];
}
