/* Owns the reading of a tokenizer file's BPE model. */
#include "text/parts.h"

#include <string.h>

static pons_status build_vocab(const pons_json_place *place, const json_t *vocab, pons_bpe *out)
{
    const char *text;
    size_t bytes;
    json_t *value;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0)
        return pons_fail(PONS_ERR_INPUT, "%s.vocab: expected an object of tokens", place->text);
    json_object_keylen_foreach((json_t *)vocab, text, bytes, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            json_integer_value(value) > INT32_MAX)
            return pons_fail(PONS_ERR_INPUT, "%s.vocab: the id of \"%.60s\" is not in 0 .. 2^31-1",
                             place->text, text);
        pons_status st = pons_map_put(&out->vocab, text, (int64_t)bytes, json_integer_value(value));
        if (st != PONS_OK) return st;
    }
    return PONS_OK;
}

/* One merge: "left right", or ["left", "right"] in newer files. */
static pons_status build_merge(const pons_json_place *place, const json_t *value, int32_t rank,
                               pons_bpe *out)
{
    const char *left, *right;
    size_t left_bytes, right_bytes;
    if (json_is_string(value)) {
        left = json_string_value(value);
        size_t bytes = json_string_length(value);
        const char *space = memchr(left, ' ', bytes);
        right = space ? space + 1 : left;
        left_bytes = space ? (size_t)(space - left) : 0;
        right_bytes = bytes - (size_t)(right - left);
        if (!space || memchr(right, ' ', right_bytes))
            return pons_fail(PONS_ERR_INPUT, "%s.merges[%d]: \"%.60s\" is not two tokens",
                             place->text, rank, left);
    } else {
        const json_t *a = json_array_get(value, 0), *b = json_array_get(value, 1);
        if (json_array_size(value) != 2 || !json_is_string(a) || !json_is_string(b))
            return pons_fail(PONS_ERR_INPUT, "%s.merges[%d]: expected two tokens", place->text,
                             rank);
        left = json_string_value(a);
        left_bytes = json_string_length(a);
        right = json_string_value(b);
        right_bytes = json_string_length(b);
    }
    pons_status st =
        pons_bpe_add_merge(out, left, (int64_t)left_bytes, right, (int64_t)right_bytes, rank);
    return st == PONS_ERR_INPUT ? pons_fail_within(st, "%s", place->text) : st;
}

static pons_status build_unknown(const pons_json_place *place, const json_t *value, pons_bpe *out)
{
    const json_t *unk = json_object_get(value, "unk_token");
    int64_t id;
    out->unk = -1;
    if (!unk || json_is_null(unk)) return PONS_OK;
    if (!json_is_string(unk) ||
        !pons_map_get(&out->vocab, json_string_value(unk), (int64_t)json_string_length(unk), &id))
        return pons_fail(PONS_ERR_INPUT, "%s.unk_token: not a token of the vocabulary",
                         place->text);
    out->unk = (int32_t)id;
    return PONS_OK;
}

/* Fields whose other values would change the ids. */
static pons_status refuse_rest(const pons_json_place *place, const json_t *value)
{
    static const char *const empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *type = json_object_get(value, "type");
    const json_t *dropout = json_object_get(value, "dropout");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE")))
        return pons_fail(PONS_ERR_UNSUPPORTED, "%s: model \"%s\" is not supported (supported: BPE)",
                         place->text, json_is_string(type) ? json_string_value(type) : "?");
    if (dropout && !json_is_null(dropout))
        return pons_fail(PONS_ERR_UNSUPPORTED, "%s.dropout: only null is supported", place->text);
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        const json_t *text = json_object_get(value, empty[i]);
        if (text && !json_is_null(text) && !(json_is_string(text) && !json_string_length(text)))
            return pons_fail(PONS_ERR_UNSUPPORTED, "%s.%s: only null is supported", place->text,
                             empty[i]);
    }
    return PONS_OK;
}

pons_status pons_build_model(const pons_json_place *place, const json_t *value, pons_bpe *out)
{
    static const char *const keys[] = {"type",
                                       "dropout",
                                       "unk_token",
                                       "continuing_subword_prefix",
                                       "end_of_word_suffix",
                                       "fuse_unk",
                                       "byte_fallback",
                                       "ignore_merges",
                                       "vocab",
                                       "merges",
                                       NULL};
    pons_status st = PONS_OK;
    if (!json_is_object(value)) {
        st = pons_fail(PONS_ERR_INPUT, "%s: expected an object", place->text);
        goto done;
    }
    PONS_TRY(st, refuse_rest(place, value)); /* first: a foreign model is named, not its fields */
    PONS_TRY(st, pons_json_check(place, value, keys));
    PONS_TRY(st, pons_json_flag(place, value, "fuse_unk", &out->fuse_unk));
    PONS_TRY(st, pons_json_flag(place, value, "byte_fallback", &out->byte_fallback));
    PONS_TRY(st, pons_json_flag(place, value, "ignore_merges", &out->ignore_merges));
    PONS_TRY(st, build_vocab(place, json_object_get(value, "vocab"), out));
    PONS_TRY(st, build_unknown(place, value, out));
    pons_bpe_find_bytes(out);
    const json_t *merges = json_object_get(value, "merges");
    if (!json_is_array(merges) || json_array_size(merges) > INT32_MAX) {
        st = pons_fail(PONS_ERR_INPUT, "%s.merges: expected a list", place->text);
        goto done;
    }
    for (size_t i = 0; i < json_array_size(merges); i++)
        PONS_TRY(st, build_merge(place, json_array_get(merges, i), (int32_t)i, out));
done:
    return st;
}
