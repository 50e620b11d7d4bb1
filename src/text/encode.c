/* Owns the way of a text through a tokenizer: raw added tokens, normalizer, normalized added tokens,
 * pre-tokenizer, model, and the special ids around the result. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "text/parts.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"

typedef struct encoding {
    const pons_tokenizer *tokenizer;
    pons_matcher *matcher;
    pons_bytes normal[2];
    pons_ranges ranges;
    pons_stage_work *stages;
    pons_bpe_work words;
    pons_ids ids;
} encoding;

static pons_status encode_word(void *context, const char *word, int64_t bytes)
{
    encoding *e = context;
    return pons_bpe_encode(&e->tokenizer->bpe, &e->words, word, bytes, &e->ids);
}

typedef pons_status (*between)(encoding *e, const char *text, int64_t bytes, bool first);

/* Ids of the set's tokens in the text; what lies between them goes to `rest`. */
static pons_status split_added(encoding *e, const pons_added_set *set, const char *text,
                               int64_t bytes, bool first, between rest)
{
    pons_status st = PONS_OK;
    int64_t from = 0, previous = 0;
    pons_range span;
    for (;;) {
        int32_t id = pons_added_next(set, text, bytes, &from, previous, &span);
        int64_t end = id < 0 ? bytes : span.start;
        if (previous < end)
            PONS_TRY(st, rest(e, text + previous, end - previous, first && previous == 0));
        if (id < 0) break;
        PONS_TRY(st, pons_ids_append(&e->ids, &id, 1));
        previous = span.end;
    }
done:
    return st;
}

static pons_status encode_normalized(encoding *e, const char *text, int64_t bytes, bool first)
{
    pons_pretokenizer run = {.stages = &e->tokenizer->stages,
                             .work = e->stages,
                             .matcher = e->matcher,
                             .sink = encode_word,
                             .context = e};
    return pons_pretokenize(&run, text, bytes, first);
}

static pons_status encode_raw(encoding *e, const char *text, int64_t bytes, bool first)
{
    pons_status st = pons_normalizer_apply(&e->tokenizer->normalizer, e->matcher, e->normal,
                                           &e->ranges, &text, &bytes);
    if (st != PONS_OK) return st;
    return split_added(e, &e->tokenizer->normalized, text, bytes, first, encode_normalized);
}

pons_status pons_tokenizer_encode(const pons_tokenizer *tokenizer, const char *text, size_t bytes,
                                  bool special, int32_t **ids, int64_t *count)
{
    pons_status st = PONS_OK;
    encoding e = {.tokenizer = tokenizer};
    int64_t length = (int64_t)bytes, valid = pons_utf8_check(text, length);
    if (valid < length)
        return pons_fail(PONS_ERR_INPUT, "the text is not UTF-8: byte 0x%02x at offset %lld",
                         (unsigned)(unsigned char)text[valid], (long long)valid);
    pons_unicode_warn(text, length);
    PONS_TRY(st, pons_matcher_make(&e.matcher));
    PONS_CALLOC(st, e.stages, tokenizer->stages.count);
    if (special)
        PONS_TRY(st, pons_ids_append(&e.ids, tokenizer->prefix.data, tokenizer->prefix.count));
    PONS_TRY(st, split_added(&e, &tokenizer->raw, text, length, true, encode_raw));
    if (special)
        PONS_TRY(st, pons_ids_append(&e.ids, tokenizer->suffix.data, tokenizer->suffix.count));
    int32_t *result;
    PONS_ALLOC(st, result, e.ids.count);
    if (e.ids.count) memcpy(result, e.ids.data, (size_t)e.ids.count * sizeof *result);
    *ids = result;
    *count = e.ids.count;
done:
    pons_ids_free(&e.ids);
    pons_bpe_work_free(&e.words);
    for (int64_t i = 0; e.stages && i < tokenizer->stages.count; i++) {
        pons_ranges_free(&e.stages[i].ranges);
        pons_bytes_free(&e.stages[i].text);
    }
    pons_mem_free(e.stages);
    pons_ranges_free(&e.ranges);
    pons_bytes_free(&e.normal[0]);
    pons_bytes_free(&e.normal[1]);
    pons_matcher_free(&e.matcher);
    return st;
}
