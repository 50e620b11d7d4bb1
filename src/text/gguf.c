/* Owns the meaning of the tokenizer.ggml.* metadata, as an equivalent tokenizer.json document:
 * one reader serves both, and the document can be written beside a model made from GGUF. */
#include <string.h>

#include "base/mem.h"
#include "io/store.h"
#include "text/parts.h"

/* tokenizer.ggml.token_type */
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3(digits)                                                                             \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                           \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* What the name in tokenizer.ggml.pre stands for: expressions that cut one after the other. */
typedef struct pre_kind {
    const char *name;
    const char *cuts[4];
    bool nfc, ignore_merges, add_bos; /* add_bos: when the file does not say */
} pre_kind;

static const pre_kind pre_kinds[] = {
    {"gpt-2", {GPT2}, false, false, false},
    {"phi-2", {GPT2}, false, false, false},
    {"smollm", {"\\p{N}", GPT2}, false, false, false},
    {"starcoder", {"\\p{N}", GPT2}, false, false, false},
    {"refact", {"\\p{N}", GPT2}, false, false, false},
    {"codeshell", {"\\p{N}", GPT2}, false, false, false},
    {"llama-bpe", {LLAMA3("\\p{N}{1,3}")}, false, true, true},
    {"llama3", {LLAMA3("\\p{N}{1,3}")}, false, true, true},
    {"llama-v3", {LLAMA3("\\p{N}{1,3}")}, false, true, true},
    {"qwen2", {LLAMA3("\\p{N}")}, true, false, false},
    {"default",
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"},
     false,
     false,
     false},
};

typedef struct reader {
    const char *path;
    pons_store *store;
    int64_t count; /* tokens */
    const pons_gguf_value *tokens, *types;
    json_t *document, *vocab, *added;
    bool score_based;
} reader;

static pons_status out_of_memory(const reader *r)
{
    return pons_fail(PONS_ERR_NOMEM, "%s: out of memory while reading the tokenizer", r->path);
}

static pons_status want(const reader *r, const char *key, pons_gguf_type type,
                        const pons_gguf_value **out)
{
    *out = pons_store_metadata(r->store, key);
    if (!*out) return pons_fail(PONS_ERR_INPUT, "%s: metadata %s is missing", r->path, key);
    if ((*out)->type != type)
        return pons_fail(PONS_ERR_INPUT, "%s: metadata %s has the wrong type", r->path, key);
    return PONS_OK;
}

static pons_status flag(const reader *r, const char *key, bool absent, bool *out)
{
    const pons_gguf_value *value;
    *out = absent;
    if (!pons_store_metadata(r->store, key)) return PONS_OK;
    pons_status st = want(r, key, PONS_GGUF_UINT, &value);
    if (st == PONS_OK) *out = value->u != 0;
    return st;
}

static int64_t type_of(const reader *r, int64_t id)
{
    return r->types ? pons_gguf_array_int(r->types, id) : NORMAL;
}

static pons_status add_token(reader *r, const char *text, size_t length, int64_t id)
{
    int64_t type = type_of(r, id);
    if (type < NORMAL || type > BYTE)
        return pons_fail(PONS_ERR_INPUT,
                         "%s: tokenizer.ggml.token_type[%lld] is %lld, allowed are 1 to 6", r->path,
                         (long long)id, (long long)type);
    if (json_object_getn(r->vocab, text, length))
        return pons_fail(PONS_ERR_INPUT, "%s: tokenizer.ggml.tokens[%lld] \"%.*s\" occurs twice",
                         r->path, (long long)id, (int)length, text);
    if (json_object_setn_new(r->vocab, text, length, json_integer(id)))
        return pons_fail(PONS_ERR_INPUT, "%s: tokenizer.ggml.tokens[%lld] is not UTF-8", r->path,
                         (long long)id);
    if (type != UNKNOWN && type != CONTROL && type != USER_DEFINED) return PONS_OK;
    json_t *token = json_pack("{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id,
                              "content", text, length, "single_word", 0, "lstrip", 0, "rstrip", 0,
                              "normalized", 0, "special", type != USER_DEFINED);
    return json_array_append_new(r->added, token) ? out_of_memory(r) : PONS_OK;
}

static pons_status read_tokens(reader *r)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, want(r, "tokenizer.ggml.tokens", PONS_GGUF_ARRAY, &r->tokens));
    r->count = r->tokens->count;
    if (r->tokens->element != PONS_GGUF_STRING || r->count > INT32_MAX) {
        st = pons_fail(PONS_ERR_INPUT, "%s: tokenizer.ggml.tokens is not a list of strings",
                       r->path);
        goto done;
    }
    if (pons_store_metadata(r->store, "tokenizer.ggml.token_type")) {
        PONS_TRY(st, want(r, "tokenizer.ggml.token_type", PONS_GGUF_ARRAY, &r->types));
        if (r->types->count != r->count ||
            (r->types->element != PONS_GGUF_INT && r->types->element != PONS_GGUF_UINT)) {
            st = pons_fail(PONS_ERR_INPUT,
                           "%s: tokenizer.ggml.token_type is not one number per token", r->path);
            goto done;
        }
    }
    const void *cursor = r->tokens->raw;
    for (int64_t id = 0; id < r->count; id++) {
        size_t length;
        const char *text = pons_gguf_array_next_string(&cursor, &length);
        PONS_TRY(st, add_token(r, text, length, id));
    }
done:
    return st;
}

/* Merges of a byte-level vocabulary are listed: "left right". */
static pons_status listed_merges(const reader *r, json_t **out)
{
    const pons_gguf_value *list;
    pons_status st = want(r, "tokenizer.ggml.merges", PONS_GGUF_ARRAY, &list);
    if (st != PONS_OK) return st;
    if (list->element != PONS_GGUF_STRING)
        return pons_fail(PONS_ERR_INPUT, "%s: tokenizer.ggml.merges is not a list of strings",
                         r->path);
    *out = json_array();
    const void *cursor = list->raw;
    for (int64_t i = 0; i < list->count; i++) {
        size_t length;
        const char *text = pons_gguf_array_next_string(&cursor, &length);
        const char *space = length ? memchr(text + 1, ' ', length - 1) : NULL;
        if (!space)
            return pons_fail(PONS_ERR_INPUT, "%s: tokenizer.ggml.merges[%lld] is not two tokens",
                             r->path, (long long)i);
        size_t left = (size_t)(space - text);
        json_t *pair = json_pack("[s%, s%]", text, left, space + 1, length - left - 1);
        if (json_array_append_new(*out, pair)) /* also when a part is not UTF-8 */
            return pons_fail(PONS_ERR_INPUT, "%s: tokenizer.ggml.merges[%lld] is not UTF-8",
                             r->path, (long long)i);
    }
    return PONS_OK;
}

static pons_status scored_merges(const reader *r, json_t **out)
{
    pons_status st = PONS_OK;
    pons_map ids = {0};
    double *scores = NULL;
    const pons_gguf_value *list;
    PONS_TRY(st, want(r, "tokenizer.ggml.scores", PONS_GGUF_ARRAY, &list));
    if (list->element != PONS_GGUF_FLOAT || list->count != r->count) {
        st = pons_fail(PONS_ERR_INPUT, "%s: tokenizer.ggml.scores is not one number per token",
                       r->path);
        goto done;
    }
    PONS_ALLOC(st, scores, r->count);
    const void *cursor = r->tokens->raw;
    for (int64_t id = 0; id < r->count; id++) {
        size_t length;
        const char *text = pons_gguf_array_next_string(&cursor, &length);
        scores[id] = pons_gguf_array_float(list, id);
        if (type_of(r, id) == NORMAL) PONS_TRY(st, pons_map_put(&ids, text, (int64_t)length, id));
    }
    st = pons_gguf_score_merges(&ids, scores, out);
    if (st == PONS_ERR_UNSUPPORTED) st = pons_fail_within(st, "%s: tokenizer.ggml.scores", r->path);
done:
    pons_mem_free(scores);
    pons_map_free(&ids);
    return st;
}

/* Text of the token whose id is metadata `key`. */
static pons_status named_token(const reader *r, const char *key, int64_t *id, const char **text,
                               size_t *length)
{
    const pons_gguf_value *value;
    pons_status st = want(r, key, PONS_GGUF_UINT, &value);
    if (st != PONS_OK) return st;
    if (value->u >= (uint64_t)r->count)
        return pons_fail(PONS_ERR_INPUT, "%s: %s is %llu, but there are %lld tokens", r->path, key,
                         (unsigned long long)value->u, (long long)r->count);
    *id = (int64_t)value->u;
    const void *cursor = r->tokens->raw;
    for (int64_t i = 0; i <= *id; i++)
        *text = pons_gguf_array_next_string(&cursor, length);
    return PONS_OK;
}

static pons_status add_to_template(const reader *r, const char *key, json_t *single,
                                   json_t *specials)
{
    int64_t id = 0;
    const char *text = NULL;
    size_t length = 0;
    pons_status st = named_token(r, key, &id, &text, &length);
    if (st != PONS_OK) return st;
    json_t *piece = json_pack("{s:{s:s%, s:i}}", "SpecialToken", "id", text, length, "type_id", 0);
    json_t *special = json_pack("{s:s%, s:[I], s:[s%]}", "id", text, length, "ids", (json_int_t)id,
                                "tokens", text, length);
    if (json_array_append_new(single, piece) ||
        json_object_setn_new(specials, text, length, special))
        return out_of_memory(r);
    return PONS_OK;
}

static pons_status add_postprocessor(const reader *r, bool bos_when_absent)
{
    bool bos, eos;
    pons_status st = PONS_OK;
    json_t *single = json_array(), *specials = json_object(), *sequence = NULL, *value = NULL;
    PONS_TRY(st, flag(r, "tokenizer.ggml.add_bos_token", bos_when_absent, &bos));
    PONS_TRY(st, flag(r, "tokenizer.ggml.add_eos_token", false, &eos));
    if (!bos && !eos) {
        if (json_object_set_new(r->document, "post_processor", json_null())) st = out_of_memory(r);
        goto done;
    }
    if (bos) PONS_TRY(st, add_to_template(r, "tokenizer.ggml.bos_token_id", single, specials));
    sequence = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0);
    if (json_array_append(single, sequence)) {
        st = out_of_memory(r);
        goto done;
    }
    if (eos) PONS_TRY(st, add_to_template(r, "tokenizer.ggml.eos_token_id", single, specials));
    /* A pair of texts never occurs here; the format wants a template for it all the same. */
    value = json_pack("{s:s, s:O, s:[O, {s:{s:s, s:i}}], s:O}", "type", "TemplateProcessing",
                      "single", single, "pair", sequence, "Sequence", "id", "B", "type_id", 1,
                      "special_tokens", specials);
    if (json_object_set_new(r->document, "post_processor", value)) st = out_of_memory(r);
done:
    json_decref(single);
    json_decref(specials);
    json_decref(sequence);
    return st;
}

/* Set members of the document; the values are given away. */
static pons_status set_components(const reader *r, json_t *normalizer, json_t *pretokenizer,
                                  json_t *decoder, json_t *model)
{
    int failed = 0;
    failed |= json_object_set_new(r->document, "normalizer", normalizer);
    failed |= json_object_set_new(r->document, "pre_tokenizer", pretokenizer);
    failed |= json_object_set_new(r->document, "decoder", decoder);
    failed |= json_object_set_new(r->document, "model", model);
    return failed ? out_of_memory(r) : PONS_OK;
}

static pons_status build_byte_level(const reader *r)
{
    pons_status st = PONS_OK;
    const pons_gguf_value *pre;
    json_t *merges = NULL, *cuts = NULL;
    bool space;
    size_t n = sizeof pre_kinds / sizeof *pre_kinds, k = 0;
    PONS_TRY(st, want(r, "tokenizer.ggml.pre", PONS_GGUF_STRING, &pre));
    while (k < n && (strlen(pre_kinds[k].name) != pre->length ||
                     memcmp(pre_kinds[k].name, pre->text, pre->length)))
        k++;
    if (k == n) {
        st = pons_fail(PONS_ERR_UNSUPPORTED,
                       "%s: tokenizer.ggml.pre \"%.*s\" is not supported (supported: gpt-2, phi-2, "
                       "smollm, starcoder, refact, codeshell, llama-bpe, llama3, llama-v3, qwen2, "
                       "default)",
                       r->path, (int)pre->length, pre->text);
        goto done;
    }
    const pre_kind *kind = &pre_kinds[k];
    PONS_TRY(st, flag(r, "tokenizer.ggml.add_space_prefix", false, &space));
    if (space) {
        st = pons_fail(PONS_ERR_UNSUPPORTED,
                       "%s: tokenizer.ggml.add_space_prefix is not supported with model gpt2",
                       r->path);
        goto done;
    }
    PONS_TRY(st, listed_merges(r, &merges));
    cuts = json_array();
    for (size_t i = 0; i < 4 && kind->cuts[i]; i++)
        json_array_append_new(cuts, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split",
                                              "pattern", "Regex", kind->cuts[i], "behavior",
                                              "Isolated", "invert", 0));
    json_array_append_new(cuts,
                          json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space",
                                    0, "trim_offsets", 1, "use_regex", 0));
    PONS_TRY(st,
             set_components(r, kind->nfc ? json_pack("{s:s}", "type", "NFC") : json_null(),
                            json_pack("{s:s, s:O}", "type", "Sequence", "pretokenizers", cuts),
                            json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel",
                                      "add_prefix_space", 1, "trim_offsets", 1, "use_regex", 1),
                            json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type",
                                      "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                                      "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                                      "ignore_merges", kind->ignore_merges, "vocab", r->vocab,
                                      "merges", merges)));
    st = add_postprocessor(r, kind->add_bos);
done:
    json_decref(merges);
    json_decref(cuts);
    return st;
}

static pons_status build_score_based(const reader *r)
{
    pons_status st = PONS_OK;
    json_t *merges = NULL, *unknown = NULL, *steps = NULL;
    bool squeeze, space;
    int64_t id = 0, bytes = 0;
    const char *text = NULL;
    size_t length = 0;
    PONS_TRY(st, flag(r, "tokenizer.ggml.remove_extra_whitespaces", false, &squeeze));
    PONS_TRY(st, flag(r, "tokenizer.ggml.add_space_prefix", true, &space));
    if (squeeze || pons_store_metadata(r->store, "tokenizer.ggml.precompiled_charsmap")) {
        st = pons_fail(PONS_ERR_UNSUPPORTED, "%s: tokenizer.ggml.%s is not supported", r->path,
                       squeeze ? "remove_extra_whitespaces" : "precompiled_charsmap");
        goto done;
    }
    for (int64_t i = 0; i < r->count; i++)
        bytes += type_of(r, i) == BYTE;
    if (bytes != 0 && bytes != 256) {
        st = pons_fail(PONS_ERR_INPUT, "%s: %lld byte tokens; there must be none or 256", r->path,
                       (long long)bytes);
        goto done;
    }
    PONS_TRY(st, scored_merges(r, &merges));
    unknown = json_null();
    if (pons_store_metadata(r->store, "tokenizer.ggml.unknown_token_id")) {
        PONS_TRY(st, named_token(r, "tokenizer.ggml.unknown_token_id", &id, &text, &length));
        unknown = json_stringn(text, length);
    }
    steps = json_array();
    if (space)
        json_array_append_new(
            steps, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", "\xe2\x96\x81"));
    json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                           "String", " ", "content", "\xe2\x96\x81"));
    PONS_TRY(st,
             set_components(
                 r, json_pack("{s:s, s:O}", "type", "Sequence", "normalizers", steps), json_null(),
                 json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}, {s:s, s:s, s:i, s:i}]}",
                           "type", "Sequence", "decoders", "type", "Replace", "pattern", "String",
                           "\xe2\x96\x81", "content", " ", "type", "ByteFallback", "type", "Fuse",
                           "type", "Strip", "content", " ", "start", space, "stop", 0),
                 json_pack("{s:s, s:n, s:O, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE",
                           "dropout", "unk_token", unknown, "continuing_subword_prefix",
                           "end_of_word_suffix", "fuse_unk", 1, "byte_fallback", bytes == 256,
                           "ignore_merges", 0, "vocab", r->vocab, "merges", merges)));
    st = add_postprocessor(r, true);
done:
    json_decref(merges);
    json_decref(unknown);
    json_decref(steps);
    return st;
}

pons_status pons_gguf_tokenizer_json(const char *path, json_t **out)
{
    pons_status st = PONS_OK;
    const pons_gguf_value *model;
    reader r = {.path = path, .vocab = json_object(), .added = json_array()};
    r.document = json_pack("{s:s, s:n, s:n, s:O}", "version", "1.0", "truncation", "padding",
                           "added_tokens", r.added);
    if (!r.document || !r.vocab) {
        st = out_of_memory(&r);
        goto done;
    }
    PONS_TRY(st, pons_store_open(path, &r.store));
    if (!pons_store_is_gguf(r.store)) {
        st = pons_fail(PONS_ERR_INPUT, "%s: not a GGUF file", path);
        goto done;
    }
    PONS_TRY(st, want(&r, "tokenizer.ggml.model", PONS_GGUF_STRING, &model));
    PONS_TRY(st, read_tokens(&r));
    if (model->length == 4 && !memcmp(model->text, "gpt2", 4)) {
        PONS_TRY(st, build_byte_level(&r));
    } else if (model->length == 5 && !memcmp(model->text, "llama", 5)) {
        PONS_TRY(st, build_score_based(&r));
    } else {
        st =
            pons_fail(PONS_ERR_UNSUPPORTED,
                      "%s: tokenizer.ggml.model \"%.*s\" is not supported (supported: gpt2, llama)",
                      path, (int)model->length, model->text);
        goto done;
    }
    *out = r.document;
    r.document = NULL;
done:
    json_decref(r.document);
    json_decref(r.vocab);
    json_decref(r.added);
    pons_store_close(&r.store);
    return st;
}
