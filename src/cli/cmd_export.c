/* Owns `pons export`: its arguments, its report. The work is pack's. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "io/file.h"
#include "pack/digest.h"
#include "pack/export.h"

enum { KEY_TO = 0x100, KEY_OUT, KEY_DTYPE, KEY_FORCE };

static const struct argp_option options[] = {
    {"to", KEY_TO, "FORMAT", 0, "Form of the output: compressed-tensors or dense (required)", 0},
    {"out", KEY_OUT, "DIR", 0, "Output directory, made by this command (required)", 0},
    {"dtype", KEY_DTYPE, "TYPE", 0,
     "Type of what is stored as plain floats: f32, f16 or bf16 (default: that of PATH)", 0},
    {"force", KEY_FORCE, NULL, 0, "Replace an existing output directory (default: refuse)", 0},
    {0}};

typedef struct arguments {
    pons_export_options export;
    pons_dtype dtype;
} arguments;

static error_t parse_format(struct argp_state *state, const char *arg, arguments *a)
{
    char known[256] = "";
    a->export.format = pons_format_find(arg);
    if (a->export.format) return 0;
    for (int i = 0; pons_format_at(i); i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", pons_format_at(i)->name);
    }
    return pons_cli_reject(state, "--to: found '%s'; allowed are %s", arg, known);
}

static error_t parse_dtype(struct argp_state *state, const char *arg, arguments *a)
{
    static const struct {
        const char *name;
        pons_dtype dtype;
    } types[] = {{"f32", PONS_DTYPE_F32}, {"f16", PONS_DTYPE_F16}, {"bf16", PONS_DTYPE_BF16}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(arg, types[i].name)) continue;
        a->dtype = types[i].dtype;
        a->export.dtype = &a->dtype;
        return 0;
    }
    return pons_cli_reject(state, "--dtype: found '%s'; allowed are f32, f16, bf16", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_TO: return parse_format(state, arg, a);
    case KEY_OUT: a->export.out = arg; return 0;
    case KEY_DTYPE: return parse_dtype(state, arg, a);
    case KEY_FORCE: a->export.staging = PONS_EXPORT_REPLACE; return 0;
    case ARGP_KEY_ARG:
        if (a->export.source) return ARGP_ERR_UNKNOWN;
        a->export.source = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "PATH",
    .doc = "Write a compressed model in another form.\n\n"
           "PATH is the state directory of a finished run (OUT.run), or an output directory. "
           "PATH is only read; the output appears complete or not at all. Under mpirun the ranks "
           "share the blocks.\v"
           "A state directory has the codes of every linear; a dense output has lost them. "
           "Exported to the form of its own output, a run gives the same bytes in every file."};

static pons_status require(const arguments *a, const char *command)
{
    const char *missing = !a->export.source   ? "PATH"
                          : !a->export.format ? "--to"
                          : !a->export.out    ? "--out"
                                              : NULL;
    if (!missing) return PONS_OK;
    return pons_fail(PONS_ERR_USAGE, "%s is missing (see %s --help)", missing, command);
}

/* Rank 0. */
static pons_status print(const arguments *a, const pons_export_result *result, double seconds,
                         bool json)
{
    pons_status st = PONS_OK;
    char digest[65];
    json_t *report = NULL;
    PONS_TRY(st, pons_pack_digest(a->export.out, digest));
    report = json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:s, s:f}", "format", a->export.format->name,
                       "dtype", pons_dtype_name(result->dtype), "source",
                       pons_json_name(a->export.source), "out", pons_json_name(a->export.out),
                       "files", (json_int_t)result->files, "bytes", (json_int_t)result->bytes,
                       "digest", digest, "seconds", seconds);
    st = report ? pons_cli_print(report, json)
                : pons_fail(PONS_ERR_NOMEM, "out of memory for the report");
done:
    json_decref(report);
    return st;
}

pons_status pons_cmd_export(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    arguments a = {0};
    pons_export_result result = {0};
    double start = pons_clock();
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, require(&a, argv[0]));
    PONS_TRY(st, pons_export(comm, &a.export, &result));
    PONS_TRY_ALL(st, comm,
                 pons_comm_rank(comm) == 0 ? print(&a, &result, pons_clock() - start, common->json)
                                           : PONS_OK);
done:
    return st;
}
