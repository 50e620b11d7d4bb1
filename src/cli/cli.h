/**
 * The program: commands, their arguments, and how results and failures reach the user.
 *
 * Every rank parses the same command line; only rank 0 prints. A command
 * returns a status that all ranks agree on, and main turns it into one line on stderr and the exit
 * code. Results go to stdout, everything else to stderr.
 */
#ifndef PONS_CLI_CLI_H
#define PONS_CLI_CLI_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "config/recipe.h"
#include "par/comm.h"

/** Options every command understands. */
typedef struct pons_cli_common {
    bool help, json;
    pons_log_level level; /* INFO; DEBUG under --verbose, ERROR under --quiet */
} pons_cli_common;

/** One command. */
typedef struct pons_command {
    const char *name;    /* "compress", "eval ppl" */
    const char *summary; /* one line for pons --help */
    bool
        mpi; /* ranks share the work; false: rank 0 works alone, and MPI is not started for one process */
    /** Parse and run. Collective on comm. argv[0] is the command's full name ("pons eval ppl");
     * `common` carries what was given before the command. @return the same on every rank. */
    pons_status (*run)(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
} pons_command;

pons_status pons_cmd_bench(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_compress(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_eval_ppl(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_eval_tasks(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_export(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_inspect(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_plan(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_report(pons_comm *comm, int argc, char **argv, pons_cli_common *common);
pons_status pons_cmd_tokenize(pons_comm *comm, int argc, char **argv, pons_cli_common *common);

/** Whether the command shares its work between ranks, so that MPI is wanted also for a single process. Local. */
bool pons_cli_needs_mpi(int argc, char **argv);

/** Find the command, parse, run. Collective on comm. @return the same on every rank. */
pons_status pons_cli_run(pons_comm *comm, int argc, char **argv);

/** What a parser returns after it has recorded a sentence with pons_fail(PONS_ERR_USAGE, ...). */
enum { PONS_CLI_REPORTED = 4096 };

/**
 * Parse a command's arguments. Collective on comm; prints help on rank 0 when asked.
 *
 * @param argp  options, parser, args_doc and doc of the command; --help, --json, --verbose and
 *              --quiet are added here
 * @param input given to the command's parser as state->input
 * @return PONS_OK or PONS_ERR_USAGE, the same on every rank. When common->help is set the help has
 *         been printed and nothing else is to be done.
 */
pons_status pons_cli_parse(pons_comm *comm, const struct argp *argp, int argc, char **argv,
                           pons_cli_common *common, void *input);

/** Record "COMMAND: ..." as a usage error and return PONS_CLI_REPORTED. Local; for parsers. */
int pons_cli_reject(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Option value as a whole number in [low, high]. Local; for parsers. @return 0 or
 * PONS_CLI_REPORTED. */
int pons_cli_parse_int(const struct argp_state *state, const char *option, const char *arg,
                       int64_t low, int64_t high, int64_t *out);

/** Value of --compute: auto, fp32 or bf16. Local; for parsers. @return 0 or PONS_CLI_REPORTED. */
int pons_cli_parse_compute(const struct argp_state *state, const char *arg, pons_compute *out);

/** Whether products are in bf16: as told, or where all ranks compute it alike. Collective.
 * @return PONS_OK; PONS_ERR_UNSUPPORTED for bf16 that they do not, the same on every rank. */
pons_status pons_cli_use_bf16(pons_comm *comm, pons_compute compute, bool *bf16);

/** A result as JSON, or as aligned "key value" lines with nested keys joined by dots. Local: rank 0
 * calls it. @return PONS_OK, PONS_ERR_IO when stdout cannot be written. */
pons_status pons_cli_print(const json_t *result, bool json);

/** Whether a path names a file of Hessians. Local. */
bool pons_cli_is_hessians(const char *path);

/** `pons inspect` of a file of Hessians: attributes, then width, trace and norms of each group, all of
 * it read and checked. Local: rank 0 calls it. @return as pons_hessian_file_read. */
pons_status pons_cli_inspect_hessians(const char *path, bool json);

/** Flush stdout and say whether everything printed has left. Local. */
pons_status pons_cli_flush(void);

/** New value under `key`, for results built up member by member: sets *ok to false when memory is
 * out. NaN and infinities become null. Local. */
void pons_cli_set(json_t *object, const char *key, json_t *value, bool *ok);
json_t *pons_cli_real(double value);

#endif
