/* Prompts of the six tasks. Owns what a line of each file must hold; does not tokenize. */
#include "tasks/item.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

static const struct {
    const char *name;
    bool normalized;
} tasks[PONS_TASKS] = {[PONS_TASK_PIQA] = {"piqa", true},
                       [PONS_TASK_BOOLQ] = {"boolq", false},
                       [PONS_TASK_HELLASWAG] = {"hellaswag", true},
                       [PONS_TASK_ARC_EASY] = {"arc_easy", true},
                       [PONS_TASK_ARC_CHALLENGE] = {"arc_challenge", true},
                       [PONS_TASK_WINOGRANDE] = {"winogrande", false}};

const char *pons_task_name(pons_task_kind kind) { return tasks[kind].name; }

bool pons_task_is_normalized(pons_task_kind kind) { return tasks[kind].normalized; }

pons_task_kind pons_task_find(const char *name, size_t bytes)
{
    pons_task_kind kind = 0;
    while (kind < PONS_TASKS &&
           (strlen(tasks[kind].name) != bytes || memcmp(tasks[kind].name, name, bytes)))
        kind++;
    return kind;
}

void pons_task_item_free(pons_task_item *item)
{
    for (int i = 0; i < PONS_TASK_CHOICES; i++) {
        pons_mem_free(item->context[i]);
        pons_mem_free(item->continuation[i]);
    }
    *item = (pons_task_item){0};
}

typedef struct line {
    const char *place; /* "FILE:LINE" */
    const json_t *object;
} line;

static pons_status refuse(const line *l, const char *field, const char *allowed)
{
    json_t *value = json_object_get(l->object, field);
    char *found = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    pons_status st = pons_fail(PONS_ERR_INPUT, "%s: %s: found %.60s, allowed: %s", l->place, field,
                               found ? found : "nothing", allowed);
    free(found);
    return st;
}

static pons_status read_text(const line *l, const char *field, const char **out)
{
    const json_t *value = json_object_get(l->object, field);
    *out = json_string_value(value);
    return *out && strlen(*out) == json_string_length(value)
               ? PONS_OK
               : refuse(l, field, "a string without zero characters");
}

/* The index of the right choice, below `choices`, as a number or as digits. */
static pons_status read_label(const line *l, const char *field, int choices, int64_t first,
                              int *out)
{
    const json_t *value = json_object_get(l->object, field);
    const char *text = json_string_value(value);
    int64_t label = -1;
    if (json_is_integer(value)) label = json_integer_value(value);
    if (text && text[0] >= '0' && text[0] <= '9' && !text[1]) label = text[0] - '0';
    label -= first;
    if (label >= 0 && label < choices) {
        *out = (int)label;
        return PONS_OK;
    }
    char allowed[64];
    snprintf(allowed, sizeof allowed, "%lld to %lld", (long long)first,
             (long long)first + choices - 1);
    return refuse(l, field, allowed);
}

/* One more choice: takes both texts, NULL meaning that memory was out. */
static pons_status add(pons_task_item *item, char *context, char *continuation, const char *choice)
{
    int i = item->choices++;
    item->context[i] = context;
    item->continuation[i] = continuation;
    for (; *choice; choice += pons_utf8_length(choice))
        item->characters[i]++;
    return context && continuation ? PONS_OK : PONS_ERR_NOMEM;
}

/* A choice that follows the context after a space. */
static pons_status add_choice(pons_task_item *item, const char *context, const char *choice)
{
    return add(item, pons_mem_strdup(context), pons_mem_printf(" %s", choice), choice);
}

static pons_status read_piqa(const line *l, pons_task_item *out)
{
    pons_status st = PONS_OK;
    const char *goal, *choice[2];
    char *context = NULL;
    PONS_TRY(st, read_text(l, "goal", &goal));
    PONS_TRY(st, read_text(l, "sol1", &choice[0]));
    PONS_TRY(st, read_text(l, "sol2", &choice[1]));
    PONS_TRY(st, read_label(l, "label", 2, 0, &out->gold));
    context = pons_mem_printf("Question: %s\nAnswer:", goal);
    for (int i = 0; i < 2; i++)
        PONS_TRY(st, context ? add_choice(out, context, choice[i]) : PONS_ERR_NOMEM);
done:
    pons_mem_free(context);
    return st;
}

static pons_status read_boolq(const line *l, pons_task_item *out)
{
    pons_status st = PONS_OK;
    const char *passage, *question;
    char *context = NULL;
    const json_t *answer = json_object_get(l->object, "answer");
    PONS_TRY(st, read_text(l, "passage", &passage));
    PONS_TRY(st, read_text(l, "question", &question));
    if (json_is_boolean(answer))
        out->gold = json_is_true(answer);
    else
        PONS_TRY(st, read_label(l, "label", 2, 0, &out->gold));
    context = pons_mem_printf("%s\nQuestion: %s?\nAnswer:", passage, question);
    PONS_TRY(st, context ? add_choice(out, context, "no") : PONS_ERR_NOMEM);
    PONS_TRY(st, add_choice(out, context, "yes"));
done:
    pons_mem_free(context);
    return st;
}

static pons_status read_hellaswag(const line *l, pons_task_item *out)
{
    pons_status st = PONS_OK;
    const char *activity, *a, *b, *text;
    char *tail = NULL, *context = NULL, *choice = NULL;
    const json_t *endings = json_object_get(l->object, "endings");
    size_t count = json_array_size(endings), i;
    const json_t *ending;
    PONS_TRY(st, read_text(l, "activity_label", &activity));
    PONS_TRY(st, read_text(l, "ctx_a", &a));
    PONS_TRY(st, read_text(l, "ctx_b", &b));
    if (count < 2 || count > PONS_TASK_CHOICES)
        return refuse(l, "endings", "a list of 2 to 8 strings");
    PONS_TRY(st, read_label(l, "label", (int)count, 0, &out->gold));
    tail = pons_task_capitalize(b);
    context = tail ? pons_mem_printf("%s: %s %s", activity, a, tail) : NULL;
    if (!context) st = PONS_ERR_NOMEM;
    if (st == PONS_OK) pons_task_clean(context);
    json_array_foreach(endings, i, ending)
    {
        text = json_string_value(ending);
        if (st == PONS_OK && !text) st = refuse(l, "endings", "a list of 2 to 8 strings");
        if (st != PONS_OK) break;
        choice = pons_mem_strdup(text);
        if (choice) pons_task_clean(choice);
        st = choice ? add_choice(out, context, choice) : PONS_ERR_NOMEM;
        pons_mem_free(choice);
    }
done:
    pons_mem_free(tail);
    pons_mem_free(context);
    return st;
}

/* Choice i of an ARC question: {"text": [...], "label": [...]} or [{"text", "label"}, ...]. */
static void arc_choice(const json_t *choices, size_t i, const char **text, const char **label)
{
    bool columns = json_is_object(choices);
    const json_t *row = json_array_get(choices, i);
    *text = json_string_value(columns ? json_array_get(json_object_get(choices, "text"), i)
                                      : json_object_get(row, "text"));
    *label = json_string_value(columns ? json_array_get(json_object_get(choices, "label"), i)
                                       : json_object_get(row, "label"));
}

static pons_status read_arc(const line *l, pons_task_item *out)
{
    pons_status st = PONS_OK;
    const json_t *question = json_object_get(l->object, "question");
    bool nested = json_is_object(question); /* the data set's own file */
    const line inner = {l->place, nested ? question : l->object};
    const json_t *choices = json_object_get(inner.object, "choices");
    const char *stem, *key, *text, *label;
    char *context = NULL;
    PONS_TRY(st, read_text(&inner, nested ? "stem" : "question", &stem));
    PONS_TRY(st, read_text(l, "answerKey", &key));
    size_t count =
        json_array_size(json_is_object(choices) ? json_object_get(choices, "text") : choices);
    if (count < 2 || count > PONS_TASK_CHOICES)
        return refuse(&inner, "choices", "2 to 8 choices, each with text and label");
    context = pons_mem_printf("Question: %s\nAnswer:", stem);
    out->gold = -1;
    for (size_t i = 0; i < count; i++) {
        arc_choice(choices, i, &text, &label);
        if (!text || !label) {
            st = refuse(&inner, "choices", "2 to 8 choices, each with text and label");
            goto done;
        }
        if (out->gold < 0 && !strcmp(label, key)) out->gold = (int)i;
        PONS_TRY(st, context ? add_choice(out, context, text) : PONS_ERR_NOMEM);
    }
    if (out->gold < 0) st = refuse(l, "answerKey", "the label of a choice");
done:
    pons_mem_free(context);
    return st;
}

/* The two contexts differ, what follows them does not. */
static pons_status read_winogrande(const line *l, pons_task_item *out)
{
    pons_status st = PONS_OK;
    const char *sentence, *option[2];
    char *rest = NULL;
    PONS_TRY(st, read_text(l, "sentence", &sentence));
    PONS_TRY(st, read_text(l, "option1", &option[0]));
    PONS_TRY(st, read_text(l, "option2", &option[1]));
    PONS_TRY(st, read_label(l, "answer", 2, 1, &out->gold));
    const char *gap = strchr(sentence, '_');
    if (!gap) return refuse(l, "sentence", "a sentence with _ in it");
    rest = pons_mem_strdup(gap + 1);
    if (!rest) return PONS_ERR_NOMEM;
    pons_task_strip(rest);
    for (int i = 0; i < 2; i++)
        PONS_TRY(st, add(out, pons_mem_printf("%.*s%s", (int)(gap - sentence), sentence, option[i]),
                         pons_mem_printf(" %s", rest), rest));
done:
    pons_mem_free(rest);
    return st;
}

pons_status pons_task_item_read(pons_task_kind kind, const char *place, const json_t *object,
                                pons_task_item *out)
{
    const line l = {place, object};
    *out = (pons_task_item){0};
    if (!json_is_object(object))
        return pons_fail(PONS_ERR_INPUT, "%s: found no JSON object, allowed: one per line", place);
    switch (kind) {
    case PONS_TASK_PIQA: return read_piqa(&l, out);
    case PONS_TASK_BOOLQ: return read_boolq(&l, out);
    case PONS_TASK_HELLASWAG: return read_hellaswag(&l, out);
    case PONS_TASK_ARC_EASY:
    case PONS_TASK_ARC_CHALLENGE: return read_arc(&l, out);
    case PONS_TASK_WINOGRANDE: return read_winogrande(&l, out);
    default: return pons_fail(PONS_ERR_BUG, "task %d is unknown", (int)kind);
    }
}
