/* Running the tasks: sequences to all ranks, answers, scores and the file of items. */
#include "tasks/tasks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/file.h"
#include "tasks/questions.h"

static pons_status read_questions(const pons_model *model, const pons_tasks_options *options,
                                  pons_questions *q)
{
    pons_status st = PONS_OK;
    pons_tokenizer *tokenizer = NULL;
    PONS_TRY(st, pons_tokenizer_open(pons_model_path(model), &tokenizer));
    PONS_TRY(st, pons_questions_read(options, tokenizer,
                                     pons_model_get_config(model)->max_positions, q));
done:
    pons_tokenizer_close(&tokenizer);
    return st;
}

static pons_status allocate(pons_sequences *s, int64_t ids)
{
    pons_status st = PONS_OK;
    PONS_ALLOC(st, s->begin, s->count + 1);
    PONS_ALLOC(st, s->scored, s->count);
    PONS_ALLOC(st, s->ids, ids);
done:
    return st;
}

/* Collective: rank 0's sequences to every rank. */
static pons_status share_sequences(pons_comm *comm, pons_sequences *s)
{
    pons_status st = PONS_OK;
    bool reads = pons_comm_rank(comm) == 0;
    int64_t size[2] = {s->count, reads ? s->begin[s->count] : 0};
    pons_comm_bcast(comm, size, sizeof size, 0);
    s->count = size[0];
    PONS_TRY_ALL(st, comm, reads ? PONS_OK : allocate(s, size[1]));
    pons_comm_bcast(comm, s->begin, (size_t)(s->count + 1) * sizeof *s->begin, 0);
    pons_comm_bcast(comm, s->scored, (size_t)s->count * sizeof *s->scored, 0);
    pons_comm_bcast(comm, s->ids, (size_t)size[1] * sizeof *s->ids, 0);
done:
    return st;
}

/* The choice with the largest log-likelihood, or the largest per character; the first of equals. */
static int answer(const pons_question *q, const double *log_likelihood, bool normalize)
{
    int best = 0;
    double most = 0;
    for (int i = 0; i < q->choices; i++) {
        double x = log_likelihood[q->sequence + i];
        if (normalize) x /= (double)q->characters[i];
        if (i == 0 || x > most) {
            best = i;
            most = x;
        }
    }
    return best;
}

typedef struct tally {
    int64_t items, right[2]; /* plain, normalized */
} tally;

static pons_status write_items(const pons_questions *all, const double *log_likelihood,
                               const char *path)
{
    pons_status st = PONS_OK;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return pons_fail(PONS_ERR_NOMEM, "out of memory for the items");
    for (int64_t n = 0; n < all->count; n++) {
        const pons_question *q = &all->question[n];
        const pons_sequences *s = &all->sequences;
        fprintf(out, "{\"task\": \"%s\", \"item\": %lld, \"gold\": %d, \"answer\": %d",
                pons_task_name(q->kind), (long long)q->item, q->gold,
                answer(q, log_likelihood, false));
        if (pons_task_is_normalized(q->kind))
            fprintf(out, ", \"answer_norm\": %d", answer(q, log_likelihood, true));
        for (int i = 0; i < q->choices; i++)
            fprintf(out, "%s%.9g", i ? ", " : ", \"log_likelihood\": [",
                    log_likelihood[q->sequence + i]);
        for (int i = 0; i < q->choices; i++)
            fprintf(out, "%s%lld", i ? ", " : "], \"tokens\": [",
                    (long long)s->scored[q->sequence + i]);
        for (int i = 0; i < q->choices; i++)
            fprintf(out, "%s%lld", i ? ", " : "], \"characters\": [", (long long)q->characters[i]);
        fputs("]}\n", out);
    }
    st = fclose(out) ? pons_fail(PONS_ERR_NOMEM, "out of memory for the items")
                     : pons_file_write(path, text, bytes);
    free(text);
    return st;
}

/* Share of right answers and its standard error (null for one question) under `name`. */
static bool add_share(json_t *object, const char *name, int64_t right, int64_t items)
{
    char error_name[32];
    double share = (double)right / (double)items;
    snprintf(error_name, sizeof error_name, "%s_stderr", name);
    return !json_object_set_new(object, name, json_real(share)) &&
           !json_object_set_new(object, error_name,
                                items > 1
                                    ? json_real(sqrt(share * (1 - share) / (double)(items - 1)))
                                    : json_null());
}

static pons_status make_result(const pons_questions *all, const pons_tasks_options *options,
                               const double *log_likelihood, double seconds, json_t **out)
{
    tally tallies[PONS_TASKS] = {{0}};
    json_t *tasks = json_object();
    double sum = 0;
    bool ok = tasks != NULL;
    for (int64_t n = 0; n < all->count; n++) {
        const pons_question *q = &all->question[n];
        tally *t = &tallies[q->kind];
        t->items++;
        for (int norm = 0; norm < 2; norm++)
            t->right[norm] += answer(q, log_likelihood, norm) == q->gold;
    }
    for (int i = 0; ok && i < options->count; i++) {
        pons_task_kind kind = options->files[i].kind;
        const tally *t = &tallies[kind];
        bool norm = pons_task_is_normalized(kind);
        double score = (double)t->right[norm] / (double)t->items;
        json_t *task = json_pack("{s:I}", "items", (json_int_t)t->items);
        ok = task && add_share(task, "acc", t->right[0], t->items) &&
             (!norm || add_share(task, "acc_norm", t->right[1], t->items)) &&
             !json_object_set_new(task, "score", json_real(score));
        ok = !json_object_set_new(tasks, pons_task_name(kind), task) && ok;
        sum += score;
    }
    *out = json_pack("{s:o, s:f, s:I, s:I, s:f}", "tasks", tasks, "average", sum / options->count,
                     "sequences", (json_int_t)all->sequences.count, "tokens",
                     (json_int_t)all->sequences.begin[all->sequences.count], "seconds", seconds);
    if (ok && *out) return PONS_OK;
    json_decref(*out);
    *out = NULL;
    return pons_fail(PONS_ERR_NOMEM, "out of memory for the result");
}

pons_status pons_tasks_run(pons_comm *comm, const pons_model *model,
                           const pons_tasks_options *options, json_t **result)
{
    pons_status st = PONS_OK, local = PONS_OK;
    double start = pons_clock(), *log_likelihood = NULL;
    bool reads = pons_comm_rank(comm) == 0;
    pons_questions q = {0};
    *result = NULL;
    PONS_TRY_ALL(st, comm, reads ? read_questions(model, options, &q) : PONS_OK);
    PONS_TRY(st, share_sequences(comm, &q.sequences));
    log_likelihood = pons_mem_alloc(q.sequences.count, sizeof *log_likelihood);
    PONS_TRY_ALL(st, comm, log_likelihood ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_eval_score(comm, model, &q.sequences, options->weights_only, options->bf16,
                                 log_likelihood));
    if (reads && options->items) local = write_items(&q, log_likelihood, options->items);
    if (reads && local == PONS_OK)
        local = make_result(&q, options, log_likelihood, pons_clock() - start, result);
    PONS_TRY_ALL(st, comm, local);
done:
    pons_mem_free(log_likelihood);
    pons_questions_free(&q);
    return st;
}
