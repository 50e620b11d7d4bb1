/* Owns how arguments are parsed and refused: argp, silenced, so that no rank prints or exits by
 * itself. Does not know any command's options. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "kern/choice.h"
#include "kern/gemm.h"

enum { KEY_JSON = 0x300 };

static const struct argp_option common_options[] = {
    {"json", KEY_JSON, NULL, 0, "Print the result as JSON", 0},
    {"verbose", 'v', NULL, 0, "Also log details, from every rank", 0},
    {"quiet", 'q', NULL, 0, "Log errors only, show no progress", 0},
    {"help", 'h', NULL, 0, "Print this help and exit", 0},
    {0}};

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    pons_cli_common *common = state->input;
    switch (key) {
    case KEY_JSON: common->json = true; return 0;
    case 'v': common->level = PONS_LOG_DEBUG; return 0;
    case 'q': common->level = PONS_LOG_ERROR; return 0;
    case 'h': common->help = true; return 0;
    case ARGP_KEY_ARG: /* the command's own parser did not want it */
        return pons_cli_reject(state, "unexpected argument '%s'", arg);
    default: return ARGP_ERR_UNKNOWN;
    }
}

typedef struct parse {
    void *input; /* the command's */
    pons_cli_common *common;
    const char *last; /* word argp was at when it failed */
} parse;

static error_t parse_top(int key, char *arg, struct argp_state *state)
{
    parse *p = state->input;
    (void)arg;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = p->input;
        state->child_inputs[1] = p->common;
        return 0;
    }
    if (key == ARGP_KEY_ERROR && state->next > 0) p->last = state->argv[state->next - 1];
    return ARGP_ERR_UNKNOWN;
}

static int count_options(const struct argp_option *options, const char *name, size_t n, bool *exact)
{
    int found = 0;
    for (; options->name; options++) {
        if (strncmp(options->name, name, n)) continue;
        found++;
        *exact |= options->name[n] == 0;
    }
    return found;
}

/* What argp did not like about `word`: silenced, it only says that it failed. */
static pons_status explain(const struct argp_option *options, const char *word, const char *command)
{
    const char *name = word + strspn(word, "-");
    size_t n = strcspn(name, "=");
    bool exact = false;
    int found = count_options(options, name, n, &exact);
    found += count_options(common_options, name, n, &exact);
    const char *what = !n || !found          ? "is not an option"
                       : !exact && found > 1 ? "is ambiguous"
                       : name[n]             ? "takes no value"
                                             : "needs a value";
    return pons_fail(PONS_ERR_USAGE, "'%s' %s (see %s --help)", word, what, command);
}

static pons_status run_argp(const struct argp *argp, const struct argp *top, int argc, char **argv,
                            parse *p)
{
    int error = argp_parse(top, argc, argv, ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP, NULL, p);
    if (error == 0) return PONS_OK;
    if (error == PONS_CLI_REPORTED) return PONS_ERR_USAGE;
    if (error == EINVAL) return explain(argp->options, p->last ? p->last : "", argv[0]);
    return pons_fail_errno(PONS_ERR_NOMEM, error, "reading the command line");
}

pons_status pons_cli_parse(pons_comm *comm, const struct argp *argp, int argc, char **argv,
                           pons_cli_common *common, void *input)
{
    const struct argp own = {.options = argp->options, .parser = argp->parser};
    const struct argp shared = {.options = common_options, .parser = parse_common};
    const struct argp_child children[] = {
        {&own, 0, NULL, 1}, {&shared, 0, "Common options:", 2}, {0}};
    const struct argp top = {
        .parser = parse_top, .args_doc = argp->args_doc, .doc = argp->doc, .children = children};
    parse p = {.input = input, .common = common};
    pons_status st = pons_comm_agree(comm, run_argp(argp, &top, argc, argv, &p));
    if (st != PONS_OK) return st;
    pons_log_configure(common->level, pons_comm_rank(comm));
    if (common->help && pons_comm_rank(comm) == 0) {
        argp_help(&top, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK, argv[0]);
        st = pons_cli_flush();
    }
    return pons_comm_agree(comm, st);
}

int pons_cli_reject(const struct argp_state *state, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pons_fail(PONS_ERR_USAGE, "%s (see %s --help)", text, state->argv[0]);
    return PONS_CLI_REPORTED;
}

int pons_cli_parse_int(const struct argp_state *state, const char *option, const char *arg,
                       int64_t low, int64_t high, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(arg, &end, 10);
    if (errno || end == arg || *end || value < low || value > high)
        return pons_cli_reject(state, "%s: found '%s', a whole number from %lld to %lld is needed",
                               option, arg, (long long)low, (long long)high);
    *out = value;
    return 0;
}

int pons_cli_parse_compute(const struct argp_state *state, const char *arg, pons_compute *out)
{
    if (!strcmp(arg, "auto"))
        *out = PONS_COMPUTE_AUTO;
    else if (!strcmp(arg, "fp32"))
        *out = PONS_COMPUTE_FP32;
    else if (!strcmp(arg, "bf16"))
        *out = PONS_COMPUTE_BF16;
    else
        return pons_cli_reject(state, "--compute: found '%s'; allowed are auto, fp32, bf16", arg);
    return 0;
}

pons_status pons_cli_use_bf16(pons_comm *comm, pons_compute compute, bool *bf16)
{
    bool everywhere = pons_kern_shares_bf16(comm); /* processors may differ */
    *bf16 = compute == PONS_COMPUTE_AUTO ? pons_choice_bf16(comm, PONS_CHOICE_FORWARD)
                                         : everywhere && compute == PONS_COMPUTE_BF16;
    if (compute != PONS_COMPUTE_BF16 || everywhere) return PONS_OK;
    return pons_fail(
        PONS_ERR_UNSUPPORTED,
        "--compute bf16 needs a processor with AMX, or AVX-512 and a build with oneDNN, the same "
        "on every rank; use fp32 or auto");
}
