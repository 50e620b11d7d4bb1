/* Owns the files beside the weights. */
#include "pack/companions.h"

#include "base/mem.h"
#include "io/file.h"
#include "text/tokenizer.h"

/* formats.md section 2. */
static const char *const copied[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
    "NOTICE.txt",
    "NOTICE.md",
};

pons_status pons_companions_copy(const char *dir, const char *source)
{
    pons_status st = PONS_OK;
    char *from = NULL, *to = NULL;
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        from = pons_mem_printf("%s/%s", source, copied[i]);
        to = pons_mem_printf("%s/%s", dir, copied[i]);
        if (!from || !to) {
            st = PONS_ERR_NOMEM;
            goto done;
        }
        if (pons_file_exists(from)) PONS_TRY(st, pons_file_copy(from, to));
        pons_mem_free(from);
        pons_mem_free(to);
        from = to = NULL;
    }
done:
    pons_mem_free(to);
    pons_mem_free(from);
    return st;
}

/* ---- From GGUF metadata. */

static pons_status write_json(const char *dir, const char *name, const json_t *value)
{
    char *path = pons_mem_printf("%s/%s", dir, name);
    if (!path) return PONS_ERR_NOMEM;
    pons_status st = pons_json_write(path, value);
    pons_mem_free(path);
    return st;
}

static const pons_gguf_value *find_id(const pons_store *store, const char *key)
{
    const pons_gguf_value *v = pons_store_metadata(store, key);
    return v && v->type == PONS_GGUF_UINT ? v : NULL;
}

/* The text of the token whose id the metadata key names. */
static json_t *token_text(const pons_store *store, const char *key)
{
    const pons_gguf_value *id = find_id(store, key);
    const pons_gguf_value *tokens = pons_store_metadata(store, "tokenizer.ggml.tokens");
    if (!id || !tokens || tokens->type != PONS_GGUF_ARRAY || tokens->element != PONS_GGUF_STRING ||
        id->u >= (uint64_t)tokens->count)
        return NULL;
    const void *cursor = tokens->raw;
    const char *text = NULL;
    size_t length = 0;
    for (uint64_t i = 0; i <= id->u; i++)
        text = pons_gguf_array_next_string(&cursor, &length);
    return json_stringn(text, length);
}

static const struct {
    const char *id_key, *text_key, *gguf_key;
} special[] = {{"bos_token_id", "bos_token", "tokenizer.ggml.bos_token_id"},
               {"eos_token_id", "eos_token", "tokenizer.ggml.eos_token_id"},
               {"pad_token_id", "pad_token", "tokenizer.ggml.padding_token_id"},
               {"unk_token_id", "unk_token", "tokenizer.ggml.unknown_token_id"}};

static pons_status write_settings(const char *dir, const pons_store *store)
{
    pons_status st = PONS_OK;
    json_t *generation = json_object();
    json_t *tokenizer = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                                  "clean_up_tokenization_spaces", 0);
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        const pons_gguf_value *id = find_id(store, special[i].gguf_key);
        json_t *text = token_text(store, special[i].gguf_key);
        if (id && special[i].id_key[0] != 'u')
            json_object_set_new(generation, special[i].id_key, json_integer((json_int_t)id->u));
        if (text) json_object_set_new(tokenizer, special[i].text_key, text);
    }
    const pons_gguf_value *chat = pons_store_metadata(store, "tokenizer.chat_template");
    if (chat && chat->type == PONS_GGUF_STRING)
        json_object_set_new(tokenizer, "chat_template", json_stringn(chat->text, chat->length));
    PONS_TRY(st, write_json(dir, "generation_config.json", generation));
    PONS_TRY(st, write_json(dir, "tokenizer_config.json", tokenizer));
done:
    json_decref(tokenizer);
    json_decref(generation);
    return st;
}

static pons_status make_from_gguf(const char *dir, const pons_model *source)
{
    pons_status st = PONS_OK;
    pons_tokenizer *tokenizer = NULL;
    char *path = NULL;
    const pons_store *store = pons_model_store(source);
    if (!pons_store_metadata(store, "tokenizer.ggml.model")) return PONS_OK; /* weights only */
    path = pons_mem_printf("%s/tokenizer.json", dir);
    if (!path) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_tokenizer_open(pons_model_path(source), &tokenizer));
    PONS_TRY(st, pons_tokenizer_write_json(tokenizer, path));
    PONS_TRY(st, write_settings(dir, store));
done:
    pons_tokenizer_close(&tokenizer);
    pons_mem_free(path);
    return st;
}

pons_status pons_companions_make(const char *dir, const pons_model *source)
{
    return pons_store_is_gguf(pons_model_store(source))
               ? make_from_gguf(dir, source)
               : pons_companions_copy(dir, pons_model_path(source));
}
