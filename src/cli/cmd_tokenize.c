/* Owns `pons tokenize`: its arguments, the id files it writes. Encoding is text's. Rank 0 works
 * alone. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/sha256.h"
#include "cli/cli.h"
#include "io/file.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

enum { KEY_MODEL = 0x100, KEY_TOKENIZER, KEY_TEXT, KEY_SPECIAL, KEY_OUT };

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "PATH", 0, "Model whose tokenizer is used: directory or .gguf file", 0},
    {"tokenizer", KEY_TOKENIZER, "FILE", 0, "A tokenizer.json instead of --model", 0},
    {"text", KEY_TEXT, "FILE", 0, "UTF-8 text to encode instead of STRING", 0},
    {"special", KEY_SPECIAL, NULL, 0,
     "Add the special tokens of the post-processor, such as BOS (default: without)", 0},
    {"out", KEY_OUT, "FILE", 0,
     "Write the ids to FILE.ids (decimal text) or FILE.i32 (raw little-endian int32) and print "
     "only their number and SHA-256",
     0},
    {0}};

typedef struct arguments {
    const char *tokenizer, *text, *string, *out;
    bool special;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_MODEL:
    case KEY_TOKENIZER:
        if (a->tokenizer) return pons_cli_reject(state, "give one of --model and --tokenizer");
        a->tokenizer = arg;
        return 0;
    case KEY_TEXT: a->text = arg; return 0;
    case KEY_SPECIAL: a->special = true; return 0;
    case KEY_OUT: a->out = arg; return 0;
    case ARGP_KEY_ARG:
        if (a->string) return ARGP_ERR_UNKNOWN;
        a->string = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "[STRING]",
    .doc = "Print the token ids of STRING or of a text file, separated by spaces.\v"
           "With --json or --out the SHA-256 of the ids as little-endian int32 is printed, too."};

static bool ends_with(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && !strcmp(path + n - m, suffix);
}

static pons_status check(const arguments *a, const char *command)
{
    if (!a->tokenizer)
        return pons_fail(PONS_ERR_USAGE, "--model or --tokenizer is missing (see %s --help)",
                         command);
    if (!a->text == !a->string)
        return pons_fail(PONS_ERR_USAGE, "give one of STRING and --text (see %s --help)", command);
    if (a->out && !ends_with(a->out, ".ids") && !ends_with(a->out, ".i32"))
        return pons_fail(
            PONS_ERR_USAGE,
            "--out: found '%s'; the name must end in .ids (decimal text) or .i32 (raw)", a->out);
    return PONS_OK;
}

static pons_status write_ids(const char *path, const int32_t *ids, int64_t count)
{
    pons_status st = PONS_OK;
    char *text = NULL;
    if (ends_with(path, ".i32")) return pons_file_write(path, ids, (size_t)count * sizeof *ids);
    PONS_ALLOC(st, text, count * 12 + 1); /* at most 11 characters and a newline */
    size_t n = 0;
    for (int64_t i = 0; i < count; i++)
        n += (size_t)sprintf(text + n, "%d\n", ids[i]);
    PONS_TRY(st, pons_file_write(path, text, n));
done:
    pons_mem_free(text);
    return st;
}

static void digest(const int32_t *ids, int64_t count, char hex[65])
{
    pons_sha256 s;
    pons_sha256_begin(&s);
    pons_sha256_update(&s, ids, (size_t)count * sizeof *ids);
    pons_sha256_end(&s, hex);
}

static pons_status print(const arguments *a, bool json, const int32_t *ids, int64_t count)
{
    if (!json && !a->out) {
        for (int64_t i = 0; i < count; i++)
            printf(i ? " %d" : "%d", ids[i]);
        putchar('\n');
        return pons_cli_flush();
    }
    char hex[65];
    digest(ids, count, hex);
    bool ok = true;
    json_t *object = json_object(), *list = NULL;
    pons_cli_set(object, "count", json_integer(count), &ok);
    pons_cli_set(object, "sha256", json_string(hex), &ok);
    pons_cli_set(object, "unicode", json_string(pons_unicode_describe()), &ok);
    if (a->out) {
        pons_cli_set(object, "out", pons_json_name(a->out), &ok);
    } else {
        list = json_array();
        for (int64_t i = 0; i < count; i++)
            if (json_array_append_new(list, json_integer(ids[i]))) ok = false;
        pons_cli_set(object, "ids", list, &ok);
    }
    pons_status st =
        ok ? pons_cli_print(object, json) : pons_fail(PONS_ERR_NOMEM, "out of memory for the ids");
    json_decref(object);
    return st;
}

static pons_status tokenize(const arguments *a, bool json)
{
    pons_status st = PONS_OK;
    pons_tokenizer *tokenizer = NULL;
    char *text = NULL;
    int32_t *ids = NULL;
    int64_t count = 0;
    size_t bytes = 0;
    PONS_TRY(st, pons_tokenizer_open(a->tokenizer, &tokenizer));
    if (a->text)
        PONS_TRY(st, pons_file_read(a->text, &text, &bytes));
    else
        bytes = strlen(a->string);
    PONS_TRY(st, pons_tokenizer_encode(tokenizer, a->text ? text : a->string, bytes, a->special,
                                       &ids, &count));
    if (a->out) PONS_TRY(st, write_ids(a->out, ids, count));
    PONS_TRY(st, print(a, json, ids, count));
done:
    pons_mem_free(ids);
    pons_mem_free(text);
    pons_tokenizer_close(&tokenizer);
    return st;
}

pons_status pons_cmd_tokenize(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    arguments a = {0};
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, check(&a, argv[0]));
    PONS_TRY_ALL(st, comm, pons_comm_rank(comm) == 0 ? tokenize(&a, common->json) : PONS_OK);
done:
    return st;
}
