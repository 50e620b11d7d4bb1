/* Owns `pons compress`: its arguments, its report, and the recipes it prints instead of working. The
 * work is pipeline's. */
#include "base/mem.h"
#include "base/stop.h"
#include "cli/cli.h"
#include "config/reference.h"
#include "pipeline/compress.h"

enum {
    KEY_MODEL = 0x100,
    KEY_CALIB,
    KEY_OUT,
    KEY_RUN,
    KEY_FORCE,
    KEY_RESUME,
    KEY_HESSIANS,
    KEY_SET,
    KEY_CHECK,
    KEY_KEYS,
    KEY_REFERENCE_ARGS,
    KEY_REFERENCE
};

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "PATH", 0, "Model: Hugging Face directory or .gguf file (required)", 0},
    {"calib", KEY_CALIB, "FILE", 0,
     "Calibration text or ids (.ids, .npy, .i32); required if the method uses one", 0},
    {"out", KEY_OUT, "DIR", 0, "Output directory, created by this run (required)", 0},
    {"run", KEY_RUN, "DIR", 0,
     "State directory of the run: recipe, journal, Hessians (default: OUT.run)", 0},
    {"force", KEY_FORCE, NULL, 0, "Replace an existing output directory (default: refuse)", 0},
    {"resume", KEY_RESUME, NULL, 0,
     "Continue a run with the same arguments after its last finished block, on any number of "
     "ranks; start one if there is none (default: refuse)",
     0},
    {"hessians", KEY_HESSIANS, "RUN", 0,
     "Take the Hessians of an earlier run (its state directory) instead of a forward pass: a run "
     "with hessians: keep, the same model and calibration, and like this recipe a wave of all "
     "blocks",
     0},
    {"set", KEY_SET, "KEY=VALUE", 0,
     "Override one recipe key, e.g. prune.sparsity=0.6; may be repeated", 0},
    {NULL, 0, NULL, 0, "Instead of compressing:", 1},
    {"check", KEY_CHECK, NULL, 0, "Print RECIPE with the effective value of every key", 0},
    {"keys", KEY_KEYS, NULL, 0, "Print all recipe keys as a Markdown table", 0},
    {"reference-args", KEY_REFERENCE_ARGS, "COMMAND", 0,
     "Print the recipe that corresponds to this command line of the published OBR programs", 0},
    {"reference", KEY_REFERENCE, "PROGRAM", 0,
     "Which program: quarot, spinquant or flatquant (default: inferred from the script or the "
     "options)",
     0},
    {0}};

typedef struct arguments {
    pons_compress_options run;
    const char **set; /* [argc] */
    bool check, keys;
    const char *reference_args, *reference;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_MODEL: a->run.model = arg; return 0;
    case KEY_CALIB: a->run.calibration = arg; return 0;
    case KEY_OUT: a->run.out = arg; return 0;
    case KEY_RUN: a->run.run = arg; return 0;
    case KEY_FORCE: a->run.force = true; return 0;
    case KEY_RESUME: a->run.resume = true; return 0;
    case KEY_HESSIANS: a->run.hessians = arg; return 0;
    case KEY_SET: a->set[a->run.set_count++] = arg; return 0;
    case KEY_CHECK: a->check = true; return 0;
    case KEY_KEYS: a->keys = true; return 0;
    case KEY_REFERENCE_ARGS: a->reference_args = arg; return 0;
    case KEY_REFERENCE: a->reference = arg; return 0;
    case ARGP_KEY_ARG:
        if (a->run.recipe) return ARGP_ERR_UNKNOWN;
        a->run.recipe = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "RECIPE",
    .doc = "Compress a model by the YAML recipe RECIPE and write a model directory.\n\n"
           "Under mpirun the ranks share the work; the packed result does not depend on their "
           "number. The report (perplexities when the recipe has an evaluate section, seconds, "
           "bytes) goes to stdout.\v"
           "configs/README.md describes the recipe keys; configs/ has examples."};

/* Whether a recipe is printed and nothing else is done. */
static bool only_prints(const arguments *a) { return a->check || a->keys || a->reference_args; }

static pons_status require(const arguments *a, const char *command)
{
    if (a->keys && (a->check || a->reference_args || a->run.recipe || a->run.set_count))
        return pons_fail(PONS_ERR_USAGE, "--keys excludes all other arguments (see %s --help)",
                         command);
    if (a->reference_args && (a->check || a->run.recipe || a->run.set_count))
        return pons_fail(PONS_ERR_USAGE,
                         "--reference-args excludes RECIPE, --set and --check (see %s --help)",
                         command);
    if (a->reference && !a->reference_args)
        return pons_fail(PONS_ERR_USAGE, "--reference needs --reference-args (see %s --help)",
                         command);
    if (a->keys || a->reference_args || (a->check && a->run.recipe)) return PONS_OK;
    const char *missing = !a->run.recipe  ? "RECIPE"
                          : !a->run.model ? "--model"
                          : !a->run.out   ? "--out"
                                          : NULL;
    if (!missing && a->run.force && a->run.resume)
        return pons_fail(PONS_ERR_USAGE,
                         "--force starts over and --resume continues: give one of them");
    if (!missing) return PONS_OK;
    return pons_fail(PONS_ERR_USAGE, "%s is missing (see %s --help)", missing, command);
}

static pons_status print_recipe(const arguments *a)
{
    pons_status st = PONS_OK;
    pons_recipe recipe;
    if (a->keys) return pons_recipe_print_keys(stdout);
    if (a->reference_args) return pons_reference_print(a->reference_args, a->reference, stdout);
    PONS_TRY(st, pons_recipe_load(a->run.recipe, a->set, a->run.set_count, &recipe));
    PONS_TRY(st, pons_recipe_print(&recipe, stdout));
done:
    return st;
}

pons_status pons_cmd_compress(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    json_t *report = NULL;
    arguments a = {0};
    a.set = pons_mem_calloc(argc, sizeof *a.set);
    PONS_TRY_ALL(st, comm, a.set ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, require(&a, argv[0]));
    if (only_prints(&a)) {
        PONS_TRY_ALL(st, comm, pons_comm_rank(comm) == 0 ? print_recipe(&a) : PONS_OK);
        goto done;
    }
    a.run.set = a.set;
    pons_stop_on_signals();
    PONS_TRY(st, pons_pipeline_compress(comm, &a.run, &report));
    PONS_TRY_ALL(st, comm, report ? pons_cli_print(report, common->json) : PONS_OK);
done:
    json_decref(report);
    pons_mem_free(a.set);
    return st;
}
