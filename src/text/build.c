/* Owns the reading of a tokenizer.json document: its top level and the added tokens. The decoder
 * is not looked at: nothing here turns ids back into text. */
#include "text/parts.h"

#include <stdio.h>
#include <string.h>

/* The added token's id must be free or already its own: the file is the truth for ids. */
static pons_status place_id(const pons_json_place *place, const char *content, int64_t bytes,
                            const json_t *value, const pons_tokenizer *tokenizer, int32_t *id)
{
    int64_t known;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > INT32_MAX)
        return pons_fail(PONS_ERR_INPUT, "%s.id: expected an id in 0 .. 2^31-1", place->text);
    *id = (int32_t)json_integer_value(value);
    if (pons_map_get(&tokenizer->bpe.vocab, content, bytes, &known) && known != *id)
        return pons_fail(PONS_ERR_INPUT, "%s: \"%.60s\" has id %d here and %lld in the vocabulary",
                         place->text, content, *id, (long long)known);
    return PONS_OK;
}

static pons_status add_token(const pons_json_place *place, const json_t *value,
                             pons_matcher *matcher, pons_bytes scratch[2], pons_ranges *ranges,
                             pons_tokenizer *tokenizer)
{
    static const char *const keys[] = {"id",     "content",    "single_word", "lstrip",
                                       "rstrip", "normalized", "special",     NULL};
    pons_status st = PONS_OK;
    pons_added_token token = {0};
    bool special = false;
    const char *content;
    int64_t bytes;
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, pons_json_text(place, value, "content", &content, &bytes));
    PONS_TRY(st,
             place_id(place, content, bytes, json_object_get(value, "id"), tokenizer, &token.id));
    PONS_TRY(st, pons_json_flag(place, value, "special", &special));
    bool normalized = !special;
    PONS_TRY(st, pons_json_flag(place, value, "normalized", &normalized));
    PONS_TRY(st, pons_json_flag(place, value, "single_word", &token.single_word));
    PONS_TRY(st, pons_json_flag(place, value, "lstrip", &token.lstrip));
    PONS_TRY(st, pons_json_flag(place, value, "rstrip", &token.rstrip));
    if (token.id >= tokenizer->vocab_size) tokenizer->vocab_size = (int64_t)token.id + 1;
    if (normalized)
        PONS_TRY(st, pons_normalizer_apply(&tokenizer->normalizer, matcher, scratch, ranges,
                                           &content, &bytes));
    st = pons_added_put(normalized ? &tokenizer->normalized : &tokenizer->raw, content, bytes,
                        token);
done:
    return st;
}

/* Special tokens first: of two with the same content the first one counts. */
static pons_status build_added(const char *name, const json_t *list, pons_tokenizer *tokenizer)
{
    pons_status st = PONS_OK;
    pons_matcher *matcher = NULL;
    pons_bytes scratch[2] = {{0}, {0}};
    pons_ranges ranges = {0};
    pons_json_place top = pons_json_top(name, "added_tokens");
    if (!list || json_is_null(list)) return PONS_OK;
    if (!json_is_array(list)) return pons_fail(PONS_ERR_INPUT, "%s: expected a list", top.text);
    PONS_TRY(st, pons_matcher_make(&matcher));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *value = json_array_get(list, i);
            pons_json_place at = top;
            snprintf(at.text, sizeof at.text, "%.480s[%zu]", top.text, i);
            if (json_is_true(json_object_get(value, "special")) != (pass == 0)) continue;
            PONS_TRY(st, add_token(&at, value, matcher, scratch, &ranges, tokenizer));
        }
    }
done:
    pons_ranges_free(&ranges);
    pons_bytes_free(&scratch[0]);
    pons_bytes_free(&scratch[1]);
    pons_matcher_free(&matcher);
    return st;
}

static pons_status check_top(const char *name, const json_t *document)
{
    static const char *const keys[] = {
        "version",       "truncation",     "padding", "added_tokens", "normalizer",
        "pre_tokenizer", "post_processor", "decoder", "model",        NULL};
    static const char *const unused[] = {"truncation", "padding"};
    pons_json_place top = pons_json_top(name, "tokenizer");
    pons_status st = pons_json_check(&top, document, keys);
    if (st != PONS_OK) return st;
    const json_t *version = json_object_get(document, "version");
    if (!json_is_string(version) || strcmp(json_string_value(version), "1.0"))
        return pons_fail(PONS_ERR_UNSUPPORTED, "%s: version \"%s\" is not 1.0", name,
                         json_is_string(version) ? json_string_value(version) : "?");
    for (size_t i = 0; i < sizeof unused / sizeof *unused; i++) {
        const json_t *value = json_object_get(document, unused[i]);
        if (value && !json_is_null(value))
            return pons_fail(PONS_ERR_UNSUPPORTED, "%s: %s is not supported; set it to null", name,
                             unused[i]);
    }
    return PONS_OK;
}

pons_status pons_tokenizer_build(const char *name, const json_t *document,
                                 pons_tokenizer *tokenizer)
{
    pons_status st = PONS_OK;
    pons_json_place normalizer = pons_json_top(name, "normalizer");
    pons_json_place pretokenizer = pons_json_top(name, "pre_tokenizer");
    pons_json_place postprocessor = pons_json_top(name, "post_processor");
    pons_json_place model = pons_json_top(name, "model");
    PONS_TRY(st, check_top(name, document));
    PONS_TRY(st, pons_build_normalizer(&normalizer, json_object_get(document, "normalizer"),
                                       &tokenizer->normalizer));
    PONS_TRY(st, pons_build_pretokenizer(&pretokenizer, json_object_get(document, "pre_tokenizer"),
                                         &tokenizer->stages));
    PONS_TRY(st,
             pons_build_postprocessor(&postprocessor, json_object_get(document, "post_processor"),
                                      &tokenizer->prefix, &tokenizer->suffix));
    PONS_TRY(st, pons_build_model(&model, json_object_get(document, "model"), &tokenizer->bpe));
    for (int64_t i = 0; i < tokenizer->bpe.vocab.capacity; i++) {
        const pons_map_slot *slot = &tokenizer->bpe.vocab.slots[i];
        if (slot->length >= 0 && slot->value >= tokenizer->vocab_size)
            tokenizer->vocab_size = slot->value + 1;
    }
    st = build_added(name, json_object_get(document, "added_tokens"), tokenizer);
done:
    return st;
}
