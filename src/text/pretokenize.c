/* Owns the stages and the way a piece takes through them, depth first: a stage's working memory is
 * used again only after all its pieces have left the last stage. */
#include "text/pretokenize.h"

#include <string.h>

#include "base/mem.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

pons_status pons_stages_add(pons_stages *stages, pons_stage *stage)
{
    void *block = stages->stages;
    pons_status st = pons_grow(&block, &stages->capacity, stages->count + 1, sizeof *stage);
    if (st == PONS_OK) {
        stages->stages = block;
        stages->stages[stages->count++] = *stage;
    } else {
        pons_pattern_free(&stage->pattern);
        pons_bytes_free(&stage->content);
    }
    *stage = (pons_stage){0};
    return st;
}

void pons_stages_free(pons_stages *stages)
{
    for (int64_t i = 0; i < stages->count; i++) {
        pons_pattern_free(&stages->stages[i].pattern);
        pons_bytes_free(&stages->stages[i].content);
    }
    pons_mem_free(stages->stages);
    *stages = (pons_stages){0};
}

/* Join range i with the piece before it, or make it a piece. */
static void keep(pons_ranges *ranges, int64_t *kept, int64_t i, bool join)
{
    if (join && *kept > 0)
        ranges->data[*kept - 1].end = ranges->data[i].end;
    else
        ranges->data[(*kept)++] = ranges->data[i];
}

/* Seen from the right, a match joins the piece after it unless that is a match itself. */
static void merge_with_next(pons_ranges *ranges)
{
    int64_t kept = ranges->count;
    bool previous = false;
    for (int64_t i = ranges->count - 1; i >= 0; i--) {
        pons_range range = ranges->data[i];
        if (range.match && !previous && kept < ranges->count)
            ranges->data[kept].start = range.start;
        else
            ranges->data[--kept] = range;
        previous = range.match;
    }
    ranges->count -= kept;
    memmove(ranges->data, ranges->data + kept, (size_t)ranges->count * sizeof *ranges->data);
}

void pons_cut_merge(pons_ranges *ranges, pons_cut_behavior behavior, bool invert)
{
    int64_t kept = 0;
    bool previous = false;
    if (invert)
        for (int64_t i = 0; i < ranges->count; i++)
            ranges->data[i].match = !ranges->data[i].match;
    if (behavior == PONS_CUT_ISOLATED || ranges->count == 0) return;
    if (behavior == PONS_CUT_MERGED_WITH_NEXT) {
        merge_with_next(ranges);
        return;
    }
    for (int64_t i = 0; i < ranges->count; i++) {
        bool match = ranges->data[i].match;
        switch (behavior) {
        case PONS_CUT_REMOVED:
            if (!match) keep(ranges, &kept, i, false);
            break;
        case PONS_CUT_CONTIGUOUS: keep(ranges, &kept, i, match == previous); break;
        default: keep(ranges, &kept, i, match && !previous); break;
        }
        previous = match;
    }
    ranges->count = kept;
}

static pons_status run_stage(const pons_pretokenizer *run, int64_t number, const char *text,
                             int64_t bytes, bool first);

static pons_status cut(const pons_pretokenizer *run, int64_t number, const char *text,
                       int64_t bytes, bool first)
{
    pons_status st = PONS_OK;
    const pons_stage *stage = &run->stages->stages[number];
    pons_ranges *ranges = &run->work[number].ranges;
    PONS_TRY(st, pons_pattern_cut(stage->pattern, run->matcher, text, bytes, ranges));
    pons_cut_merge(ranges, stage->behavior, stage->invert);
    for (int64_t i = 0; i < ranges->count; i++) {
        const pons_range *r = &ranges->data[i];
        PONS_TRY(st, run_stage(run, number + 1, text + r->start, r->end - r->start,
                               first && r->start == 0));
    }
done:
    return st;
}

static pons_status to_bytes(const char *text, int64_t bytes, pons_bytes *out)
{
    pons_status st = PONS_OK;
    for (int64_t i = 0; i < bytes; i++) {
        char character[4];
        int n = pons_utf8_encode(pons_byte_alphabet_character((unsigned char)text[i]), character);
        PONS_TRY(st, pons_bytes_append(out, character, n));
    }
done:
    return st;
}

static pons_status metaspace(const pons_stage *stage, const char *text, int64_t bytes, bool first,
                             pons_bytes *out)
{
    pons_status st = PONS_OK;
    const pons_bytes *mark = &stage->content;
    bool marked = *text == ' ' ||
                  (bytes >= mark->count && memcmp(text, mark->data, (size_t)mark->count) == 0);
    bool prepend =
        stage->scheme == PONS_PREPEND_ALWAYS || (stage->scheme == PONS_PREPEND_FIRST && first);
    if (prepend && !marked) PONS_TRY(st, pons_bytes_append(out, mark->data, mark->count));
    for (int64_t i = 0; i < bytes;) {
        if (text[i] == ' ') {
            PONS_TRY(st, pons_bytes_append(out, mark->data, mark->count));
            i++;
            continue;
        }
        const char *space = memchr(text + i, ' ', (size_t)(bytes - i));
        int64_t end = space ? space - text : bytes;
        PONS_TRY(st, pons_bytes_append(out, text + i, end - i));
        i = end;
    }
done:
    return st;
}

static pons_status run_stage(const pons_pretokenizer *run, int64_t number, const char *text,
                             int64_t bytes, bool first)
{
    if (bytes == 0) return PONS_OK;
    if (number == run->stages->count) return run->sink(run->context, text, bytes);
    pons_status st = PONS_OK;
    const pons_stage *stage = &run->stages->stages[number];
    pons_bytes *out = &run->work[number].text;
    out->count = 0;
    switch (stage->kind) {
    case PONS_STAGE_CUT: return cut(run, number, text, bytes, first);
    case PONS_STAGE_PREFIX_SPACE:
        if (*text == ' ') return run_stage(run, number + 1, text, bytes, first);
        PONS_TRY(st, pons_bytes_append(out, " ", 1));
        PONS_TRY(st, pons_bytes_append(out, text, bytes));
        break;
    case PONS_STAGE_BYTES: PONS_TRY(st, to_bytes(text, bytes, out)); break;
    case PONS_STAGE_METASPACE: PONS_TRY(st, metaspace(stage, text, bytes, first, out)); break;
    }
    st = run_stage(run, number + 1, out->data, out->count, first);
done:
    return st;
}

pons_status pons_pretokenize(const pons_pretokenizer *run, const char *text, int64_t bytes,
                             bool first)
{
    return run_stage(run, 0, text, bytes, first);
}
