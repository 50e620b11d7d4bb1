/* Owns the normalizer steps; the Unicode forms are utf8proc's. */
#include "text/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"

pons_status pons_normalizer_add(pons_normalizer *normalizer, pons_normal_step *step)
{
    void *block = normalizer->steps;
    pons_status st = pons_grow(&block, &normalizer->capacity, normalizer->count + 1, sizeof *step);
    if (st == PONS_OK) {
        normalizer->steps = block;
        normalizer->steps[normalizer->count++] = *step;
    } else {
        pons_pattern_free(&step->pattern);
        pons_bytes_free(&step->content);
    }
    *step = (pons_normal_step){0};
    return st;
}

void pons_normalizer_free(pons_normalizer *normalizer)
{
    for (int64_t i = 0; i < normalizer->count; i++) {
        pons_pattern_free(&normalizer->steps[i].pattern);
        pons_bytes_free(&normalizer->steps[i].content);
    }
    pons_mem_free(normalizer->steps);
    *normalizer = (pons_normalizer){0};
}

/* Characters below U+0300 are NFC already, ASCII is in every form: their bytes stay below this. */
static bool already_normal(pons_normal_kind kind, const char *text, int64_t bytes)
{
    unsigned char limit = kind == PONS_NORMAL_NFC ? 0xcc : 0x80, any = 0;
    for (int64_t i = 0; i < bytes; i++)
        any |= (unsigned char)text[i] >= limit;
    return !any;
}

static pons_status unicode_form(pons_normal_kind kind, const char *text, int64_t bytes,
                                pons_bytes *out)
{
    utf8proc_option_t options =
        UTF8PROC_STABLE |
        (kind == PONS_NORMAL_NFC || kind == PONS_NORMAL_NFKC ? UTF8PROC_COMPOSE
                                                             : UTF8PROC_DECOMPOSE) |
        (kind == PONS_NORMAL_NFKC || kind == PONS_NORMAL_NFKD ? UTF8PROC_COMPAT : 0);
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text, bytes, &mapped, options);
    if (length < 0)
        return pons_fail(length == UTF8PROC_ERROR_NOMEM ? PONS_ERR_NOMEM : PONS_ERR_INPUT,
                         "Unicode normalization of %lld bytes: %s", (long long)bytes,
                         utf8proc_errmsg(length));
    pons_status st = pons_bytes_append(out, (const char *)mapped, length);
    free(mapped);
    return st;
}

static pons_status replace(const pons_normal_step *step, pons_matcher *matcher, pons_ranges *ranges,
                           const char *text, int64_t bytes, pons_bytes *out)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, pons_pattern_cut(step->pattern, matcher, text, bytes, ranges));
    for (int64_t i = 0; i < ranges->count; i++) {
        const pons_range *r = &ranges->data[i];
        if (r->match)
            PONS_TRY(st, pons_bytes_append(out, step->content.data, step->content.count));
        else
            PONS_TRY(st, pons_bytes_append(out, text + r->start, r->end - r->start));
    }
done:
    return st;
}

pons_status pons_normalizer_apply(const pons_normalizer *normalizer, pons_matcher *matcher,
                                  pons_bytes scratch[2], pons_ranges *ranges, const char **text,
                                  int64_t *bytes)
{
    pons_status st = PONS_OK;
    int next = 0;
    for (int64_t i = 0; i<normalizer->count && * bytes> 0; i++) {
        const pons_normal_step *step = &normalizer->steps[i];
        pons_bytes *out = &scratch[next];
        out->count = 0;
        switch (step->kind) {
        case PONS_NORMAL_NFC:
        case PONS_NORMAL_NFD:
        case PONS_NORMAL_NFKC:
        case PONS_NORMAL_NFKD:
            if (already_normal(step->kind, *text, *bytes)) continue;
            PONS_TRY(st, unicode_form(step->kind, *text, *bytes, out));
            break;
        case PONS_NORMAL_PREPEND:
            PONS_TRY(st, pons_bytes_append(out, step->content.data, step->content.count));
            PONS_TRY(st, pons_bytes_append(out, *text, *bytes));
            break;
        case PONS_NORMAL_REPLACE:
            PONS_TRY(st, replace(step, matcher, ranges, *text, *bytes, out));
            break;
        }
        *text = out->data;
        *bytes = out->count;
        next = !next;
    }
done:
    return st;
}
