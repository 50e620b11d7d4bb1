/* From JSONL files to token sequences. Owns where a sequence is cut into context and continuation;
 * what the strings are is item.c's. */
#include "tasks/questions.h"

#include <string.h>

#include "base/mem.h"
#include "io/file.h"
#include "text/utf8.h"

/* Room for n elements of `size` bytes. */
static pons_status reserve(void **block, int64_t *room, int64_t n, size_t size)
{
    if (n <= *room) return PONS_OK;
    int64_t more = *room * 2 > n ? *room * 2 : n;
    void *grown = pons_mem_resize(*block, (size_t)*room * size, more, size);
    if (!grown) return PONS_ERR_NOMEM;
    *block = grown;
    *room = more;
    return PONS_OK;
}

static pons_status append_sequence(pons_questions *q, const int32_t *ids, int64_t n, int64_t scored)
{
    pons_status st = PONS_OK;
    pons_sequences *s = &q->sequences;
    int64_t at = s->count ? s->begin[s->count] : 0, rooms = q->sequence_room;
    PONS_TRY(st, reserve((void **)&s->scored, &rooms, s->count + 2, sizeof *s->scored));
    PONS_TRY(st, reserve((void **)&s->begin, &q->sequence_room, s->count + 2, sizeof *s->begin));
    PONS_TRY(st, reserve((void **)&s->ids, &q->id_room, at + n, sizeof *s->ids));
    memcpy(s->ids + at, ids, (size_t)n * sizeof *ids);
    s->begin[s->count] = at;
    s->scored[s->count++] = scored;
    s->begin[s->count] = at + n;
done:
    return st;
}

typedef struct reader {
    const pons_tasks_options *options;
    const pons_tokenizer *tokenizer;
    int64_t positions;
    char place[1100]; /* "FILE:LINE" */
} reader;

/* White space that ends a context belongs to the continuation. */
static int64_t context_bytes(const char *context)
{
    int64_t n = (int64_t)strlen(context);
    while (n > 0 && pons_utf8_is_space(pons_utf8_decode(context + pons_utf8_before(context, n))))
        n = pons_utf8_before(context, n);
    return n;
}

static pons_status encode_choice(const reader *r, const char *context, const char *continuation,
                                 pons_questions *q)
{
    pons_status st = PONS_OK;
    int32_t *ids = NULL, *head = NULL;
    int64_t n = 0, cut = 0;
    char *whole = pons_mem_printf("%s%s", context, continuation);
    if (!whole) return PONS_ERR_NOMEM;
    PONS_TRY(st, pons_tokenizer_encode(r->tokenizer, whole, strlen(whole), r->options->special,
                                       &ids, &n));
    PONS_TRY(st, pons_tokenizer_encode(r->tokenizer, whole, (size_t)context_bytes(context),
                                       r->options->special, &head, &cut));
    if (cut < 1 || cut >= n || (r->positions && n - cut > r->positions)) {
        st = pons_fail(
            PONS_ERR_INPUT,
            "%s: the context has %lld of the %lld tokens of context and continuation; both need at "
            "least one%s",
            r->place, (long long)cut, (long long)n,
            cut < 1 || cut >= n ? "" : ", and the continuation at most the model's positions");
        goto done;
    }
    int64_t kept = r->positions && n > r->positions + 1 ? r->positions + 1 : n;
    PONS_TRY(st, append_sequence(q, ids + n - kept, kept, n - cut));
done:
    pons_mem_free(head);
    pons_mem_free(ids);
    pons_mem_free(whole);
    return st;
}

static pons_status append_question(const reader *r, pons_task_kind kind, int64_t number,
                                   const pons_task_item *item, pons_questions *q)
{
    pons_status st = PONS_OK;
    pons_question question = {.kind = kind,
                              .item = number,
                              .choices = item->choices,
                              .gold = item->gold,
                              .sequence = q->sequences.count};
    memcpy(question.characters, item->characters, sizeof question.characters);
    for (int i = 0; i < item->choices; i++)
        PONS_TRY(st, encode_choice(r, item->context[i], item->continuation[i], q));
    PONS_TRY(st, reserve((void **)&q->question, &q->room, q->count + 1, sizeof question));
    q->question[q->count++] = question;
done:
    return st;
}

/* One line of a file. */
static pons_status read_line(const reader *r, pons_task_kind kind, int64_t number, const char *text,
                             size_t bytes, pons_questions *q)
{
    pons_status st = PONS_OK;
    pons_task_item item = {0};
    json_error_t error;
    json_t *object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!object) return pons_fail(PONS_ERR_INPUT, "%s: not valid JSON: %s", r->place, error.text);
    PONS_TRY(st, pons_task_item_read(kind, r->place, object, &item));
    PONS_TRY(st, append_question(r, kind, number, &item, q));
done:
    pons_task_item_free(&item);
    json_decref(object);
    return st;
}

static pons_status read_file(reader *r, const pons_task_file *file, pons_questions *q)
{
    pons_status st = PONS_OK;
    char *data = NULL;
    size_t bytes = 0;
    int64_t items = 0, row = 0;
    PONS_TRY(st, pons_file_read(file->path, &data, &bytes));
    for (const char *at = data; at < data + bytes; row++) {
        const char *newline = memchr(at, '\n', (size_t)(data + bytes - at));
        size_t n = (size_t)((newline ? newline : data + bytes) - at);
        bool blank = strspn(at, " \t\r") >= n;
        if (!blank && r->options->limit && items == r->options->limit) break;
        snprintf(r->place, sizeof r->place, "%.1000s:%lld", file->path, (long long)row + 1);
        if (!blank) PONS_TRY(st, read_line(r, file->kind, items++, at, n, q));
        at += n + 1;
    }
    if (!items)
        st = pons_fail(PONS_ERR_INPUT, "%s: found no questions, allowed: JSON objects, one a line",
                       file->path);
done:
    pons_mem_free(data);
    return st;
}

pons_status pons_questions_read(const pons_tasks_options *options, const pons_tokenizer *tokenizer,
                                int64_t positions, pons_questions *out)
{
    pons_status st = PONS_OK;
    reader r = {.options = options, .tokenizer = tokenizer, .positions = positions};
    *out = (pons_questions){0};
    for (int i = 0; i < options->count; i++)
        PONS_TRY(st, read_file(&r, &options->files[i], out));
done:
    return st;
}

void pons_questions_free(pons_questions *q)
{
    pons_mem_free(q->question);
    pons_mem_free(q->sequences.begin);
    pons_mem_free(q->sequences.scored);
    pons_mem_free(q->sequences.ids);
    *q = (pons_questions){0};
}
