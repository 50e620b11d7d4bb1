/* Owns `pons eval tasks`: its arguments and its result. The work is the room tasks'. */
#include <omp.h>
#include <string.h>

#include "cli/cli.h"
#include "kern/gemm.h"
#include "kern/limits.h"
#include "tasks/tasks.h"

enum {
    KEY_MODEL = 0x100,
    KEY_TASK,
    KEY_LIMIT,
    KEY_ITEMS,
    KEY_SPECIAL,
    KEY_WEIGHTS_ONLY,
    KEY_COMPUTE
};

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "PATH", 0, "Model: Hugging Face directory or .gguf file (required)", 0},
    {"task", KEY_TASK, "NAME=FILE", 0,
     "Questions of one task, JSONL; NAME is piqa, boolq, hellaswag, arc_easy, arc_challenge or "
     "winogrande; may be repeated (required)",
     0},
    {"limit", KEY_LIMIT, "N", 0, "Questions of each task, from the start (default: all)", 0},
    {"items", KEY_ITEMS, "FILE", 0, "Write the log-likelihoods of every question, JSONL", 0},
    {"special", KEY_SPECIAL, NULL, 0,
     "Encode with the special tokens of the post-processor, such as BOS (default: without, as "
     "lm-eval 0.4 does)",
     0},
    {"weights-only", KEY_WEIGHTS_ONLY, NULL, 0,
     "Keep activations and the KV cache at 16 bits (default: as recorded in the model)", 0},
    {"compute", KEY_COMPUTE, "TYPE", 0,
     "Matrix products in fp32, bf16, or auto: bf16 where the processor has it (default: auto)", 0},
    {0}};

typedef struct arguments {
    const char *model;
    pons_task_file files[PONS_TASKS];
    pons_tasks_options run;
    pons_compute compute;
} arguments;

static int parse_task(const struct argp_state *state, const char *arg, arguments *a)
{
    const char *equals = strchr(arg, '=');
    pons_task_kind kind = equals ? pons_task_find(arg, (size_t)(equals - arg)) : PONS_TASKS;
    if (kind == PONS_TASKS || !equals[1])
        return pons_cli_reject(state,
                               "--task: found '%s'; allowed is NAME=FILE with NAME one of piqa, "
                               "boolq, hellaswag, arc_easy, arc_challenge, winogrande",
                               arg);
    for (int i = 0; i < a->run.count; i++)
        if (a->files[i].kind == kind)
            return pons_cli_reject(state, "--task: %s is given twice", pons_task_name(kind));
    a->files[a->run.count++] = (pons_task_file){kind, equals + 1};
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_MODEL: a->model = arg; return 0;
    case KEY_TASK: return parse_task(state, arg, a);
    case KEY_LIMIT: return pons_cli_parse_int(state, "--limit", arg, 1, INT32_MAX, &a->run.limit);
    case KEY_ITEMS: a->run.items = arg; return 0;
    case KEY_SPECIAL: a->run.special = true; return 0;
    case KEY_WEIGHTS_ONLY: a->run.weights_only = true; return 0;
    case KEY_COMPUTE: return pons_cli_parse_compute(state, arg, &a->compute);
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .doc = "Measure zero-shot accuracy: the answer to a question is the choice with the largest "
           "log-likelihood (acc), or the largest per character (acc_norm). Prompts and scores are "
           "those of lm-eval 0.4.\n\n"
           "Activations and the KV cache are quantized as recorded in the model's pons.json. The "
           "score of a task is acc_norm for piqa, hellaswag and arc, acc for boolq and winogrande; "
           "average is their unweighted mean."};

static pons_status check(const arguments *a, const char *command)
{
    const char *missing = !a->model ? "--model" : !a->run.count ? "--task" : NULL;
    if (missing)
        return pons_fail(PONS_ERR_USAGE, "%s is missing (see %s --help)", missing, command);
    return PONS_OK;
}

pons_status pons_cmd_eval_tasks(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    pons_model *model = NULL;
    json_t *result = NULL;
    arguments a = {0};
    a.run.files = a.files;
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, check(&a, argv[0]));
    PONS_TRY_ALL(st, comm, pons_kern_reserve_blas(omp_get_max_threads()));
    PONS_TRY(st, pons_cli_use_bf16(comm, a.compute, &a.run.bf16));
    PONS_TRY_ALL(st, comm, pons_model_open(a.model, &model));
    PONS_TRY(st, pons_tasks_run(comm, model, &a.run, &result));
    PONS_TRY_ALL(st, comm, result ? pons_cli_print(result, common->json) : PONS_OK);
done:
    json_decref(result);
    pons_model_close(&model);
    return st;
}
