/* Owns `pons report`: its arguments. The page is the room report's. */
#include "base/mem.h"
#include "cli/cli.h"
#include "report/report.h"

enum { KEY_OUT = 0x100, KEY_MARKDOWN };

static const struct argp_option options[] = {
    {"out", KEY_OUT, "FILE.html", 0, "Write the report as one self-contained page", 0},
    {"markdown", KEY_MARKDOWN, "FILE.md", 0, "Write it as Markdown", 0},
    {0}};

typedef struct arguments {
    pons_report_options report;
    const char **runs; /* [argc] */
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_OUT: a->report.html = arg; return 0;
    case KEY_MARKDOWN: a->report.markdown = arg; return 0;
    case ARGP_KEY_ARG: a->runs[a->report.count++] = arg; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "RUN...",
    .doc =
        "Write a page about runs of pons compress: perplexity and zero-shot accuracy beside the "
        "paper's, error and zeros of every linear, codes, iterations, time and memory, the recipe. "
        "RUN is a state directory (OUT.run); unfinished runs are shown up to their last block.\v"
        "Zero-shot results are read from RUN/tasks.json: pons eval tasks --json >RUN/tasks.json. "
        "The label of a recipe names the row of the paper (configs/paper)."};

static pons_status check(const arguments *a, const char *command)
{
    if (!a->report.count)
        return pons_fail(PONS_ERR_USAGE, "RUN is missing (see %s --help)", command);
    if (!a->report.html && !a->report.markdown)
        return pons_fail(PONS_ERR_USAGE, "--out or --markdown is missing (see %s --help)", command);
    return PONS_OK;
}

pons_status pons_cmd_report(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    arguments a = {0};
    a.runs = pons_mem_calloc(argc, sizeof *a.runs);
    PONS_TRY_ALL(st, comm, a.runs ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, check(&a, argv[0]));
    a.report.runs = a.runs;
    PONS_TRY(st, pons_report_write(comm, &a.report));
done:
    pons_mem_free(a.runs);
    return st;
}
