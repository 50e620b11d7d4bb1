/* GGUF: header, metadata, tensors, the configuration and the tokenizer made of them. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/store.h"
#include "model/gguf.h"
#include "text/tokenizer.h"

static void put_text(FILE *f, const char *text)
{
    uint64_t n = strlen(text);
    fwrite(&n, 8, 1, f);
    fwrite(text, 1, n, f);
}

static void put_number(FILE *f, const char *key, uint32_t type, const void *value)
{
    put_text(f, key);
    fwrite(&type, 4, 1, f);
    fwrite(value, 1, 4, f);
}

static void put_string(FILE *f, const char *key, const char *value)
{
    const uint32_t type = 8;
    put_text(f, key);
    fwrite(&type, 4, 1, f);
    put_text(f, value);
}

static void put_strings(FILE *f, const char *key, uint64_t n, const char *const *value)
{
    const uint32_t type[2] = {9, 8};
    put_text(f, key);
    fwrite(type, 4, 2, f);
    fwrite(&n, 8, 1, f);
    for (uint64_t i = 0; i < n; i++)
        put_text(f, value[i]);
}

static void put_numbers(FILE *f, const char *key, uint32_t of, uint64_t n, const void *value)
{
    const uint32_t type[2] = {9, of};
    put_text(f, key);
    fwrite(type, 4, 2, f);
    fwrite(&n, 8, 1, f);
    fwrite(value, 4, n, f);
}

void fuzz_seeds(const char *folder)
{
    static const char *const integers[] = {
        "llama.context_length",       "llama.embedding_length",     "llama.block_count",
        "llama.feed_forward_length",  "llama.attention.head_count", "llama.attention.head_count_kv",
        "tokenizer.ggml.bos_token_id"};
    static const uint32_t values[] = {64, 8, 1, 16, 2, 1, 0};
    static const char *const tokens[] = {"<s>", "a", "b", "ab", "\xe2\x96\x81"}, *const merges[] = {
                                                                                     "a b"};
    static const int32_t types[] = {3, 1, 1, 1, 1};
    static const float scores[] = {0, -1, -2, -3, -4}, eps = 1e-5f, theta = 1e4f, factor = 2,
                       data[16];
    const uint64_t dims[2] = {4, 2}, offset[2] = {0, 32};
    const uint32_t version = 3, f32 = 0, ndim[2] = {2, 1};
    static const char *const models[] = {"gpt2", "llama"};
    for (int k = 0; k < 2; k++) {
        FILE *f = fopen(fuzz_path(folder, models[k]), "wb");
        const uint64_t tensors = 2, pairs = 7 + 3 + 3 + 5;
        fuzz_must(f != NULL, folder);
        fwrite("GGUF", 1, 4, f);
        fwrite(&version, 4, 1, f);
        fwrite(&tensors, 8, 1, f);
        fwrite(&pairs, 8, 1, f);
        put_string(f, "general.architecture", "llama");
        put_string(f, "tokenizer.ggml.model", models[k]);
        put_string(f, "tokenizer.ggml.pre", "llama-bpe");
        for (int i = 0; i < 7; i++)
            put_number(f, integers[i], 4, &values[i]);
        put_number(f, "llama.attention.layer_norm_rms_epsilon", 6, &eps);
        put_number(f, "llama.rope.freq_base", 6, &theta);
        put_number(f, "llama.rope.scaling.factor", 6, &factor);
        put_strings(f, "tokenizer.ggml.tokens", 5, tokens);
        put_strings(f, "tokenizer.ggml.merges", 1, merges);
        put_numbers(f, "tokenizer.ggml.token_type", 5, 5, types);
        put_numbers(f, "tokenizer.ggml.scores", 6, 5, scores);
        put_string(f, "general.name", "seed");
        for (int i = 0; i < 2; i++) {
            put_text(f, i ? "rope_freqs.weight" : "token_embd.weight");
            fwrite(&ndim[i], 4, 1, f);
            fwrite(i ? &dims[1] : dims, 8, ndim[i], f);
            fwrite(&f32, 4, 1, f);
            fwrite(&offset[i], 8, 1, f);
        }
        while (ftell(f) % 32)
            fputc(0, f);
        fwrite(data, 4, 16, f);
        fuzz_must(!fclose(f), folder);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "ab a<s>b";
    const char *path = fuzz_file("m.gguf", data, size);
    pons_store *store = NULL;
    pons_tokenizer *t = NULL;
    pons_model_config config;
    int32_t *ids = NULL;
    int64_t count;
    if (pons_store_open(path, &store) != PONS_OK) return 0;
    (void)!pons_model_config_from_gguf(store, &config);
    for (int64_t i = 0; i < pons_store_count(store); i++) {
        void *bytes = NULL;
        if (pons_store_load(store, pons_store_at(store, i), &bytes) == PONS_OK)
            pons_mem_free(bytes);
    }
    pons_store_close(&store);
    if (pons_tokenizer_open(path, &t) != PONS_OK) return 0;
    if (pons_tokenizer_encode(t, text, strlen(text), true, &ids, &count) == PONS_OK)
        pons_mem_free(ids);
    pons_tokenizer_close(&t);
    return 0;
}
