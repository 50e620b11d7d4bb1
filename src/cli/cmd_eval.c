/* Owns `pons eval ppl`: its arguments and its result. The measurement is eval's. */
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "eval/perplexity.h"
#include "kern/limits.h"
#include "text/tokenizer.h"

enum {
    KEY_MODEL = 0x100,
    KEY_TEXT,
    KEY_WINDOWS,
    KEY_LENGTH,
    KEY_WEIGHTS_ONLY,
    KEY_COMPUTE,
    KEY_JOIN,
    KEY_SPECIAL
};

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "PATH", 0, "Model: Hugging Face directory or .gguf file (required)", 0},
    {"text", KEY_TEXT, "FILE", 0, "Text, or ids (.ids, .npy, .i32) (required)", 0},
    {"windows", KEY_WINDOWS, "N", 0,
     "Number of windows, from the start of the text (default: all that fit)", 0},
    {"length", KEY_LENGTH, "S", 0, "Tokens per window (default: 2048)", 0},
    {"join", KEY_JOIN, "HOW", 0,
     "How lines are joined: none, the file unchanged; lines, with two newlines as in QuaRot and "
     "SpinQuant; stripped, as in FlatQuant (default: none)",
     0},
    {"special", KEY_SPECIAL, NULL, 0,
     "Encode with the special tokens of the post-processor, such as BOS (default: without)", 0},
    {"weights-only", KEY_WEIGHTS_ONLY, NULL, 0,
     "Keep activations and the KV cache at 16 bits (default: as recorded in the model)", 0},
    {"compute", KEY_COMPUTE, "TYPE", 0,
     "Matrix products in fp32, bf16, or auto: bf16 where the processor has it (default: auto)", 0},
    {0}};

typedef struct arguments {
    const char *model, *text;
    int64_t windows, length;
    bool weights_only, special;
    pons_text_join join;
    pons_compute compute;
} arguments;

static int parse_join(const struct argp_state *state, const char *arg, pons_text_join *out)
{
    static const char *const names[] = {
        [PONS_JOIN_NONE] = "none", [PONS_JOIN_LINES] = "lines", [PONS_JOIN_STRIPPED] = "stripped"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(arg, names[i])) {
            *out = (pons_text_join)i;
            return 0;
        }
    return pons_cli_reject(state, "--join: found '%s'; allowed are none, lines, stripped", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_MODEL: a->model = arg; return 0;
    case KEY_TEXT: a->text = arg; return 0;
    case KEY_WINDOWS: return pons_cli_parse_int(state, "--windows", arg, 1, INT32_MAX, &a->windows);
    case KEY_LENGTH: return pons_cli_parse_int(state, "--length", arg, 2, INT32_MAX, &a->length);
    case KEY_WEIGHTS_ONLY: a->weights_only = true; return 0;
    case KEY_JOIN: return parse_join(state, arg, &a->join);
    case KEY_SPECIAL: a->special = true; return 0;
    case KEY_COMPUTE: return pons_cli_parse_compute(state, arg, &a->compute);
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .doc =
        "Measure perplexity: exp of the mean cross-entropy over consecutive windows of S tokens, "
        "each predicting its last S - 1 tokens. An incomplete last window is dropped.\n\n"
        "Activations and the KV cache are quantized as recorded in the model's pons.json; other "
        "models are not quantized. Prints perplexity, windows and tokens."};

static pons_status check(const arguments *a, const char *command)
{
    const char *missing = !a->model ? "--model" : !a->text ? "--text" : NULL;
    if (missing)
        return pons_fail(PONS_ERR_USAGE, "%s is missing (see %s --help)", missing, command);
    return PONS_OK;
}

/* Rank 0: ids of the text, enough of them for the windows that were asked for. */
static pons_status read_text(const arguments *a, const pons_model *model, int32_t **ids,
                             int64_t *count)
{
    int64_t vocab = pons_model_get_config(model)->vocab;
    pons_status st = pons_text_load(a->text, a->model, vocab, a->special, a->join, ids, count);
    if (st != PONS_OK) return st;
    int64_t windows = a->windows ? a->windows : 1;
    if (*count / a->length >= windows) return PONS_OK;
    return pons_fail(PONS_ERR_INPUT, "%s: %lld tokens are too few for %lld windows of %lld",
                     a->text, (long long)*count, (long long)windows, (long long)a->length);
}

static pons_status print(const pons_perplexity *result, bool json)
{
    bool ok = true;
    json_t *object = json_object();
    pons_cli_set(object, "perplexity", pons_cli_real(result->perplexity), &ok);
    pons_cli_set(object, "windows", json_integer(result->windows), &ok);
    pons_cli_set(object, "tokens", json_integer(result->tokens), &ok);
    pons_cli_set(object, "seconds", pons_cli_real(result->seconds), &ok);
    pons_status st = ok ? pons_cli_print(object, json)
                        : pons_fail(PONS_ERR_NOMEM, "out of memory for the result");
    json_decref(object);
    return st;
}

pons_status pons_cmd_eval_ppl(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    pons_model *model = NULL;
    int32_t *ids = NULL;
    int64_t count = 0;
    bool speaks = pons_comm_rank(comm) == 0, bf16;
    arguments a = {.length = 2048};
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, check(&a, argv[0]));
    PONS_TRY_ALL(st, comm, pons_kern_reserve_blas(omp_get_max_threads()));
    PONS_TRY(st, pons_cli_use_bf16(comm, a.compute, &bf16));
    PONS_TRY_ALL(st, comm, pons_model_open(a.model, &model));
    PONS_TRY_ALL(st, comm, speaks ? read_text(&a, model, &ids, &count) : PONS_OK);
    pons_comm_bcast(comm, &count, sizeof count, 0);
    int64_t positions = pons_model_get_config(model)->max_positions;
    if (positions > 0 && a.length > positions)
        pons_log(PONS_LOG_WARN, "--length %lld is beyond the %lld positions of the model",
                 (long long)a.length, (long long)positions);
    pons_perplexity result;
    PONS_TRY(st, pons_eval_perplexity(comm, model, ids, count, a.windows, a.length, a.weights_only,
                                      bf16, &result));
    PONS_TRY_ALL(st, comm, speaks ? print(&result, common->json) : PONS_OK);
done:
    pons_mem_free(ids);
    pons_model_close(&model);
    return st;
}
