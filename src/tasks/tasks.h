/**
 * Zero-shot tasks on a model: the answer is the most likely of the given continuations. Questions
 * come
 * from local JSONL files; prompts and scores are those of lm-eval 0.4 (specification 6).
 */
#ifndef PONS_TASKS_TASKS_H
#define PONS_TASKS_TASKS_H

#include "model/model.h"
#include "par/comm.h"
#include "tasks/item.h"

typedef struct pons_task_file {
    pons_task_kind kind;
    const char *path;
} pons_task_file;

typedef struct pons_tasks_options {
    const pons_task_file *files; /* [count], each kind at most once */
    int count;
    int64_t limit;     /* questions read of each file; 0: all */
    bool special;      /* encode with the special tokens of the post-processor, such as BOS */
    bool weights_only; /* activations and KV at 16 bits whatever the model records */
    bool bf16;         /* products in bf16 */
    const char *items; /* JSONL written, one line per question; NULL: none */
} pons_tasks_options;

/**
 * Ask every question. Collective on comm; rank 0 reads, tokenizes, scores and writes.
 *
 * Context and continuation are encoded together and split where the context alone ends; contexts
 * are truncated on the left to the model's positions. acc: share of questions whose right
 * choice has the largest log-likelihood, the first of equals; acc_norm: the same per character of
 * the choice. Standard errors are those of a mean.
 * @param model opened on every rank, with a tokenizer
 * @param result rank 0: new reference, {tasks: {NAME: {items, acc, acc_stderr, acc_norm,
 * acc_norm_stderr, score}}, average, sequences, tokens, seconds}, where score is acc_norm for
 * piqa, hellaswag and arc, acc for the others; NULL elsewhere
 * @return the same on every rank: PONS_ERR_IO, PONS_ERR_INPUT (file, line and field named),
 * PONS_ERR_NOMEM, or what pons_eval_score returns.
 */
pons_status pons_tasks_run(pons_comm *comm, const pons_model *model,
                           const pons_tasks_options *options, json_t **result);

#endif
