/* Model files made for tests. Reads the originals through the io room, which has tests of its own. */
#include "support/model_files.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/safetensors_writer.h"
#include "io/store.h"
#include "support/stored.h"

static void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "model_files: %s: %s\n", what, pons_error_message());
    exit(1);
}

static bool is(const char *a, const char *b) { return a && !strcmp(a, b); }

void model_copy(const char *from, const char *to, const model_edit *edit)
{
    static const model_edit none;
    static const float ones[4] = {1, 1, 1, 1};
    const int64_t four = 4;
    char path[512];
    pons_store *store = NULL;
    pons_st_writer *w = NULL;
    if (!edit) edit = &none;
    must(pons_dir_make(to) == PONS_OK, to);
    must(pons_store_open(from, &store) == PONS_OK, from);
    snprintf(path, sizeof path, "%s/model.safetensors", to);
    must(pons_st_writer_create(path, &w) == PONS_OK, path);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < pons_store_count(store); i++) {
            const pons_tensor_view *t = pons_store_at(store, i);
            int64_t n = pons_tensor_elements(t);
            size_t bytes = pons_dtype_bytes(t->dtype, n);
            if (is(edit->drop, t->name)) continue;
            if (!pass) {
                bool flat = is(edit->flatten, t->name);
                must(pons_st_writer_declare(w, t->name, t->dtype, flat ? 1 : t->ndim,
                                            flat ? &n : t->shape) == PONS_OK,
                     t->name);
                if (is(edit->copy, t->name))
                    must(pons_st_writer_declare(w, edit->as, t->dtype, t->ndim, t->shape) ==
                             PONS_OK,
                         edit->as);
                continue;
            }
            char *copy = malloc(bytes);
            memcpy(copy, stored(store, t), bytes);
            if (is(edit->poison, t->name)) {
                const float nan_value = NAN;
                pons_dtype_from_float(t->dtype, &nan_value, 1,
                                      copy + pons_dtype_bytes(t->dtype, edit->poison_at));
            }
            must(pons_st_writer_write(w, copy, bytes) == PONS_OK, t->name);
            if (is(edit->copy, t->name))
                must(pons_st_writer_write(w, copy, bytes) == PONS_OK, edit->as);
            free(copy);
        }
        if (edit->add)
            must((pass ? pons_st_writer_write(w, ones, sizeof ones)
                       : pons_st_writer_declare(w, edit->add, PONS_DTYPE_F32, 1, &four)) == PONS_OK,
                 edit->add);
    }
    must(pons_st_writer_commit(&w) == PONS_OK, path);
    pons_store_close(&store);

    snprintf(path, sizeof path, "%s/config.json", from);
    json_t *config = json_load_file(path, 0, NULL);
    if (edit->key)
        json_object_set_new(config, edit->key, json_loads(edit->json, JSON_DECODE_ANY, NULL));
    snprintf(path, sizeof path, "%s/config.json", to);
    must(!json_dump_file(config, path, JSON_INDENT(2)), path);
    json_decref(config);
}

/* ---- GGUF. */

static void put(FILE *f, const void *data, size_t bytes)
{
    must(fwrite(data, 1, bytes, f) == bytes, "write");
}
static void put32(FILE *f, uint32_t x) { put(f, &x, 4); }
static void put64(FILE *f, uint64_t x) { put(f, &x, 8); }
static void put_text(FILE *f, const char *s)
{
    put64(f, strlen(s));
    put(f, s, strlen(s));
}
static void key_u32(FILE *f, const char *arch, const char *key, int64_t x)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", arch, key);
    put_text(f, full);
    put32(f, 4);
    put32(f, (uint32_t)x);
}
static void key_f32(FILE *f, const char *arch, const char *key, double x)
{
    char full[128];
    float value = (float)x;
    snprintf(full, sizeof full, "%s.%s", arch, key);
    put_text(f, full);
    put32(f, 6);
    put(f, &value, 4);
}

/* model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight */
static void gguf_name(const char *name, char out[128])
{
    static const char *const map[][2] = {{"self_attn.q_proj", "attn_q"},
                                         {"self_attn.k_proj", "attn_k"},
                                         {"self_attn.v_proj", "attn_v"},
                                         {"self_attn.o_proj", "attn_output"},
                                         {"mlp.gate_proj", "ffn_gate"},
                                         {"mlp.up_proj", "ffn_up"},
                                         {"mlp.down_proj", "ffn_down"},
                                         {"input_layernorm", "attn_norm"},
                                         {"post_attention_layernorm", "ffn_norm"},
                                         {"self_attn.q_norm", "attn_q_norm"},
                                         {"self_attn.k_norm", "attn_k_norm"}};
    int layer, used = 0;
    if (sscanf(name, "model.layers.%d.%n", &layer, &used) == 1) {
        for (size_t i = 0; i < sizeof map / sizeof *map; i++) {
            size_t length = strlen(map[i][0]);
            if (!strncmp(name + used, map[i][0], length) && name[used + (int)length] == '.')
                snprintf(out, 128, "blk.%d.%s%s", layer, map[i][1], name + used + length);
        }
        return;
    }
    snprintf(out, 128, "%s",
             is("model.embed_tokens.weight", name) ? "token_embd.weight"
             : is("model.norm.weight", name)       ? "output_norm.weight"
                                                   : "output.weight");
}

/* Converters view the rows of a head as [2, head_dim / 2] and swap the two axes. */
static void permute(float *x, int64_t rows, int64_t cols, int64_t head_dim)
{
    float *old = malloc((size_t)(rows * cols) * sizeof *old);
    memcpy(old, x, (size_t)(rows * cols) * sizeof *old);
    for (int64_t head = 0; head < rows / head_dim; head++)
        for (int64_t half = 0; half < 2; half++)
            for (int64_t j = 0; j < head_dim / 2; j++)
                memcpy(x + (head * head_dim + 2 * j + half) * cols,
                       old + (head * head_dim + half * (head_dim / 2) + j) * cols,
                       (size_t)cols * sizeof *x);
    free(old);
}

typedef struct gguf_settings {
    const char *arch;
    int64_t hidden, heads, kv_heads, head_dim, layers, intermediate, positions;
    double theta, eps, factor, low, high, original; /* factor 0: no llama3 scaling */
} gguf_settings;

static gguf_settings read_settings(const char *from)
{
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", from);
    json_t *c = json_load_file(path, 0, NULL), *rope = json_object_get(c, "rope_parameters");
    const char *type = json_string_value(json_object_get(c, "model_type"));
    gguf_settings s = {
        is(type, "qwen2")   ? "qwen2"
        : is(type, "qwen3") ? "qwen3"
                            : "llama",
        json_integer_value(json_object_get(c, "hidden_size")),
        json_integer_value(json_object_get(c, "num_attention_heads")),
        json_integer_value(json_object_get(c, "num_key_value_heads")),
        json_integer_value(json_object_get(c, "head_dim")),
        json_integer_value(json_object_get(c, "num_hidden_layers")),
        json_integer_value(json_object_get(c, "intermediate_size")),
        json_integer_value(json_object_get(c, "max_position_embeddings")),
        json_number_value(json_object_get(rope, "rope_theta")),
        json_number_value(json_object_get(c, "rms_norm_eps")),
        json_number_value(json_object_get(rope, "factor")),
        json_number_value(json_object_get(rope, "low_freq_factor")),
        json_number_value(json_object_get(rope, "high_freq_factor")),
        json_number_value(json_object_get(rope, "original_max_position_embeddings"))};
    if (!s.head_dim) s.head_dim = s.hidden / s.heads;
    json_decref(c);
    return s;
}

static void put_metadata(FILE *f, const gguf_settings *s)
{
    put_text(f, "general.architecture");
    put32(f, 8);
    put_text(f, s->arch);
    key_u32(f, s->arch, "block_count", s->layers);
    key_u32(f, s->arch, "context_length", s->positions);
    key_u32(f, s->arch, "embedding_length", s->hidden);
    key_u32(f, s->arch, "feed_forward_length", s->intermediate);
    key_u32(f, s->arch, "attention.head_count", s->heads);
    key_u32(f, s->arch, "attention.head_count_kv", s->kv_heads);
    key_u32(f, s->arch, "attention.key_length", s->head_dim);
    key_u32(f, s->arch, "attention.value_length", s->head_dim);
    key_f32(f, s->arch, "attention.layer_norm_rms_epsilon", s->eps);
    key_f32(f, s->arch, "rope.freq_base", s->theta);
}
enum { METADATA = 11 };

/* What converters store for llama3 scaling: what to divide each frequency by. */
static void divisors(const gguf_settings *s, float *out)
{
    for (int64_t i = 0; i < s->head_dim / 2; i++) {
        double wavelength = 2 * M_PI * pow(s->theta, 2.0 * (double)i / (double)s->head_dim);
        double smooth = (s->original / wavelength - s->low) / (s->high - s->low);
        out[i] =
            (float)(wavelength < s->original / s->high  ? 1
                    : wavelength > s->original / s->low ? s->factor
                                                        : 1 / ((1 - smooth) / s->factor + smooth));
    }
}

static void put_info(FILE *f, const char *name, int ndim, const int64_t *shape, uint64_t *offset)
{
    uint64_t n = 1;
    put_text(f, name);
    put32(f, (uint32_t)ndim);
    for (int i = ndim - 1; i >= 0; i--) {
        put64(f, (uint64_t)shape[i]);
        n *= (uint64_t)shape[i];
    }
    put32(f, 0);
    put64(f, *offset);
    *offset += (4 * n + 31) / 32 * 32;
}

static void put_padded(FILE *f, const float *x, int64_t n)
{
    put(f, x, 4 * (size_t)n);
    while (ftell(f) % 32)
        fputc(0, f);
}

void model_to_gguf(const char *from, const char *path)
{
    pons_store *store = NULL;
    const gguf_settings s = read_settings(from);
    bool llama = is(s.arch, "llama"), scaled = s.factor > 0;
    int64_t half = s.head_dim / 2;
    uint64_t offset = 0;
    char name[128];
    must(pons_store_open(from, &store) == PONS_OK, from);
    int64_t count = pons_store_count(store);
    FILE *f = fopen(path, "wb");
    must(f != NULL, path);
    put(f, "GGUF", 4);
    put32(f, 3);
    put64(f, (uint64_t)(count + scaled));
    put64(f, METADATA);
    put_metadata(f, &s);
    for (int64_t i = 0; i < count; i++) {
        const pons_tensor_view *t = pons_store_at(store, i);
        gguf_name(t->name, name);
        put_info(f, name, t->ndim, t->shape, &offset);
    }
    if (scaled) put_info(f, "rope_freqs.weight", 1, &half, &offset);
    while (ftell(f) % 32)
        fputc(0, f);
    for (int64_t i = 0; i < count; i++) {
        const pons_tensor_view *t = pons_store_at(store, i);
        int64_t n = pons_tensor_elements(t);
        float *x = malloc((size_t)n * sizeof *x);
        pons_dtype_to_float(t->dtype, stored(store, t), n, x);
        if (llama && (strstr(t->name, "q_proj") || strstr(t->name, "k_proj")))
            permute(x, t->shape[0], t->ndim == 2 ? t->shape[1] : 1, s.head_dim);
        put_padded(f, x, n);
        free(x);
    }
    if (scaled) {
        float x[512];
        divisors(&s, x);
        put_padded(f, x, half);
    }
    fclose(f);
    pons_store_close(&store);
}
