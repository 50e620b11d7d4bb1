/* Owns the list of commands and the options that may come before one. Does not parse a command's
 * own arguments. */
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "cli/cli.h"

static const pons_command commands[] = {
    {"bench", "speed of each phase beside a baseline", true, pons_cmd_bench},
    {"compress", "compress a model by a recipe", true, pons_cmd_compress},
    {"eval ppl", "perplexity of a model on a text", true, pons_cmd_eval_ppl},
    {"eval tasks", "zero-shot accuracy of a model on local task files", true, pons_cmd_eval_tasks},
    {"export", "another form of a compressed model, from its run or output", false,
     pons_cmd_export},
    {"inspect", "shapes, bits, zeros and errors of a model's linears", false, pons_cmd_inspect},
    {"plan", "bytes, flop and seconds of a job before it runs", false, pons_cmd_plan},
    {"report", "a page about runs: results beside the paper's, errors, codes, time", false,
     pons_cmd_report},
    {"tokenize", "token ids of a text", false, pons_cmd_tokenize},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void)
{
    printf("Usage: pons [--verbose|--quiet] COMMAND ... | pons --version | pons --help\n"
           "       mpirun -n RANKS pons COMMAND ...\n\n"
           "Compress large language models by Optimal Brain Restoration.\n\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  pons %-10s %s\n", commands[i].name, commands[i].summary);
    printf("\nEach command has --help. Results go to stdout (--json: as JSON), progress and\n"
           "messages to stderr. Threads per rank: OMP_NUM_THREADS, else the node's cores divided\n"
           "by its ranks.\n\nExit codes:\n");
#define PRINT(name, code, text) printf("  %2d  %s\n", code, text);
    PONS_STATUS_LIST(PRINT)
#undef PRINT
}

/* Number of words of `name` that argv begins with; 0 when it does not. */
static int matches(const char *name, int argc, char **argv)
{
    int words = 0;
    while (words < argc) {
        size_t n = strcspn(name, " ");
        if (strlen(argv[words]) != n || strncmp(name, argv[words], n)) return 0;
        words++;
        if (!name[n]) return words;
        name += n + 1;
    }
    return 0;
}

static pons_status unknown_command(int argc, char **argv)
{
    char known[256] = "";
    for (int i = 0; i < COMMANDS; i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", commands[i].name);
    }
    if (argc == 0)
        return pons_fail(PONS_ERR_USAGE, "no command; known are %s (see pons --help)", known);
    bool group = false; /* "eval" alone or "eval x" */
    for (int i = 0; i < COMMANDS; i++) {
        size_t n = strlen(argv[0]);
        group |= n && !strncmp(commands[i].name, argv[0], n) && commands[i].name[n] == ' ';
    }
    return pons_fail(PONS_ERR_USAGE, "unknown command '%s%s%s'; known are %s (see pons --help)",
                     argv[0], group && argc > 1 ? " " : "", group && argc > 1 ? argv[1] : "",
                     known);
}

bool pons_cli_needs_mpi(int argc, char **argv)
{
    int i = 1;
    for (int k = 1; k < argc; k++)
        if (!strcmp(argv[k], "--help") || !strcmp(argv[k], "-h")) return false;
    while (i < argc && argv[i][0] == '-')
        i++;
    for (int c = 0; c < COMMANDS; c++)
        if (matches(commands[c].name, argc - i, argv + i)) return commands[c].mpi;
    return false; /* help, version, a mistake */
}

pons_status pons_cli_run(pons_comm *comm, int argc, char **argv)
{
    bool speaks = pons_comm_rank(comm) == 0;
    pons_cli_common common = {.level = PONS_LOG_INFO};
    int i = 1;
    pons_status st = pons_comm_agree(comm, pons_fault_arm(pons_comm_rank(comm)));
    if (st != PONS_OK) return st;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "--version")) {
            if (speaks) printf("pons %s\n", PONS_VERSION);
            return pons_comm_agree(comm, speaks ? pons_cli_flush() : PONS_OK);
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            if (speaks) print_help();
            return pons_comm_agree(comm, speaks ? pons_cli_flush() : PONS_OK);
        } else if (!strcmp(argv[i], "--verbose") || !strcmp(argv[i], "-v")) {
            common.level = PONS_LOG_DEBUG;
        } else if (!strcmp(argv[i], "--quiet") || !strcmp(argv[i], "-q")) {
            common.level = PONS_LOG_ERROR;
        } else {
            return pons_comm_agree(
                comm, pons_fail(PONS_ERR_USAGE, "unknown option '%s' (see pons --help)", argv[i]));
        }
    }
    /* "pons eval --help" asks what there is below eval. */
    if (argc - i == 2 && !strcmp(argv[i], "eval") && !strcmp(argv[i + 1], "--help")) {
        if (speaks) print_help();
        return pons_comm_agree(comm, speaks ? pons_cli_flush() : PONS_OK);
    }
    for (int c = 0; c < COMMANDS; c++) {
        int words = matches(commands[c].name, argc - i, argv + i);
        if (!words) continue;
        char name[64];
        snprintf(name, sizeof name, "pons %s", commands[c].name);
        char **rest = argv + i + words - 1; /* the last word of the command becomes argv[0] */
        rest[0] = name;
        return commands[c].run(comm, argc - i - words + 1, rest, &common);
    }
    return pons_comm_agree(comm, unknown_command(argc - i, argv + i));
}
