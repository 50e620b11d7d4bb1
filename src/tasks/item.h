/**
 * One question of a zero-shot task: from a line of its JSONL file to the strings that are compared.
 * Source: specification 6; the prompts are those of lm-eval 0.4.
 *
 *   task           context                                      continuations        score
 *   piqa           Question: GOAL\nAnswer:                       sol1, sol2           acc_norm
 *   boolq          PASSAGE\nQuestion: QUESTION?\nAnswer:         no, yes              acc
 *   hellaswag      ACTIVITY: CTX_A CTX_B (cleaned)              endings (cleaned)    acc_norm
 *   arc_easy,      Question: QUESTION\nAnswer:                   choices              acc_norm
 *   arc_challenge
 *   winogrande     the sentence up to "_", then either option   rest of the sentence acc
 *
 * A continuation begins with a space. The formats of the data sets' own files and of their Hugging
 * Face conversions are both read.
 */
#ifndef PONS_TASKS_ITEM_H
#define PONS_TASKS_ITEM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef enum pons_task_kind {
    PONS_TASK_PIQA,
    PONS_TASK_BOOLQ,
    PONS_TASK_HELLASWAG,
    PONS_TASK_ARC_EASY,
    PONS_TASK_ARC_CHALLENGE,
    PONS_TASK_WINOGRANDE,
    PONS_TASKS
} pons_task_kind;

/** "piqa". Local. */
const char *pons_task_name(pons_task_kind kind);

/** PONS_TASKS when there is no task of this name. Local. */
pons_task_kind pons_task_find(const char *name, size_t bytes);

/** Whether the published score is acc_norm (else acc). Local. */
bool pons_task_is_normalized(pons_task_kind kind);

enum { PONS_TASK_CHOICES = 8 };

typedef struct pons_task_item {
    int choices, gold;
    char *context[PONS_TASK_CHOICES];      /* UTF-8, counted memory */
    char *continuation[PONS_TASK_CHOICES]; /* the same, with its leading space */
    int64_t characters[PONS_TASK_CHOICES]; /* of the choice, without that space: for acc_norm */
} pons_task_item;

/**
 * Read a question. Local.
 * @param place "FILE:LINE" for messages
 * @return PONS_OK; PONS_ERR_INPUT naming place, field, what was found and what is allowed;
 * PONS_ERR_NOMEM. The item is to be freed in any case.
 */
pons_status pons_task_item_read(pons_task_kind kind, const char *place, const json_t *line,
                                pons_task_item *out);

void pons_task_item_free(pons_task_item *item);

/** Drop white space at both ends, in place. Local. */
void pons_task_strip(char *text);

/** HellaSwag's cleaning of WikiHow artefacts: outer white space, " [title]" to ". ", [...] away,
 * double spaces to single ones. In place. Local. */
void pons_task_clean(char *text);

/** First character to title case, the others to lower case. Counted memory; NULL when memory is
 * out. Local. */
char *pons_task_capitalize(const char *text);

#endif
