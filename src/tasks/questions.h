/**
 * The questions of all files as token sequences. Private to the room.
 */
#ifndef PONS_TASKS_QUESTIONS_H
#define PONS_TASKS_QUESTIONS_H

#include "eval/score.h"
#include "tasks/tasks.h"
#include "text/tokenizer.h"

typedef struct pons_question {
    pons_task_kind kind;
    int64_t item; /* line of the file, blank ones not counted, from 0 */
    int choices, gold;
    int64_t characters[PONS_TASK_CHOICES];
    int64_t sequence; /* of choice 0; the others follow */
} pons_question;

typedef struct pons_questions {
    int64_t count, room;
    pons_question *question;
    pons_sequences sequences;
    int64_t sequence_room, id_room;
} pons_questions;

/**
 * Read and encode the questions of all files. Local.
 * @param positions most tokens of a context; 0: no limit
 * @return PONS_ERR_IO, PONS_ERR_INPUT naming file and line, PONS_ERR_NOMEM.
 */
pons_status pons_questions_read(const pons_tasks_options *options, const pons_tokenizer *tokenizer,
                                int64_t positions, pons_questions *out);

void pons_questions_free(pons_questions *questions);

#endif
