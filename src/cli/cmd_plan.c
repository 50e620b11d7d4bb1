/* Owns `pons plan`: its arguments and what is printed. The figures are plan's, the machine's rates come
 * from plan_rates. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/plan_allocation.h"
#include "cli/plan_rates.h"
#include "io/file.h"
#include "kern/choice.h"
#include "model/model.h"
#include "par/mpi_handle.h"
#include "rotate/rotation.h"

enum {
    KEY_MODEL = 0x100,
    KEY_RANKS,
    KEY_NODES,
    KEY_THREADS,
    KEY_MEMORY,
    KEY_SET,
    KEY_MEASURE,
    KEY_RATES,
    KEY_SIMULATE,
    KEY_RUN
};

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "PATH", 0,
     "Directory with config.json (weights are not needed), the file itself, or a .gguf (required)",
     0},
    {"ranks", KEY_RANKS, "P", 0, "Ranks of the job (default: 1)", 0},
    {"nodes", KEY_NODES, "N", 0, "Number of nodes, with the same number of ranks each (default: 1)",
     0},
    {"threads", KEY_THREADS, "N", 0, "Threads per rank (default: 1)", 0},
    {"memory", KEY_MEMORY, "G", 0,
     "Memory of a node in GB (10^9 bytes); refuse a job that does not fit (default: not checked)",
     0},
    {"set", KEY_SET, "KEY=VALUE", 0, "Override one recipe key; may be repeated", 0},
    {"measure", KEY_MEASURE, NULL, 0,
     "Measure the rates of this machine on one thread, for half a minute (default: rates of one "
     "Sapphire Rapids core)",
     0},
    {"rates", KEY_RATES, "FILE", 0,
     "Rates from an earlier plan's --json output, or any JSON object with its keys", 0},
    {"simulate", KEY_SIMULATE, NULL, 0,
     "Print simulated schedules with 1, 2, 4 ... teams instead of phases (without --ranks: for 8, "
     "64, 256 ranks)",
     0},
    {"run", KEY_RUN, "DIR", 0,
     "State directory of a run with prune.allocate budget: also print its allocation", 0},
    {0}};

typedef struct arguments {
    const char *recipe, *model, *rates, *run;
    const char **set; /* [argc] */
    int set_count;
    int64_t ranks, nodes, threads, memory;
    bool measure, simulate;
} arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    arguments *a = state->input;
    switch (key) {
    case KEY_MODEL: a->model = arg; return 0;
    case KEY_RANKS: return pons_cli_parse_int(state, "--ranks", arg, 1, 1 << 20, &a->ranks);
    case KEY_NODES: return pons_cli_parse_int(state, "--nodes", arg, 1, 1 << 20, &a->nodes);
    case KEY_THREADS: return pons_cli_parse_int(state, "--threads", arg, 1, 1024, &a->threads);
    case KEY_MEMORY: return pons_cli_parse_int(state, "--memory", arg, 1, 1 << 20, &a->memory);
    case KEY_SET: a->set[a->set_count++] = arg; return 0;
    case KEY_MEASURE: a->measure = true; return 0;
    case KEY_RATES: a->rates = arg; return 0;
    case KEY_RUN: a->run = arg; return 0;
    case KEY_SIMULATE: a->simulate = true; return 0;
    case ARGP_KEY_ARG:
        if (a->recipe) return ARGP_ERR_UNKNOWN;
        a->recipe = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "RECIPE",
    .doc = "Print bytes, flop and seconds of a job per rank and phase, and what limits them, "
           "before it is queued. Only the recipe and the model's configuration are read.\n\n"
           "'rank' is memory of each rank, 'node' memory that the ranks of a node share, 'disk' "
           "the part of it in layout.scratch. A term marked * is the same on every rank and does "
           "not decrease with their number."};

static pons_status require(const arguments *a, const char *command)
{
    const char *missing = !a->recipe ? "RECIPE" : !a->model ? "--model" : NULL;
    if (missing)
        return pons_fail(PONS_ERR_USAGE, "%s is missing (see %s --help)", missing, command);
    if (a->measure && a->rates) return pons_fail(PONS_ERR_USAGE, "--measure excludes --rates");
    return PONS_OK;
}

/* ---- Printing */

static const char *const kinds[PONS_PLAN_KINDS] = {"rank", "node", "disk"};

static void print_rates(const arguments *a, const pons_plan_input *in)
{
    const char *source = a->measure ? "measured here" : a->rates ? a->rates : "defaults";
    const pons_plan_rates *v = &in->rates;
    printf("rates (%s): forward %.0f, hessian %.0f, factor %.0f, inverse %.0f, solve %.0f, clip "
           "%.0f, gptq %.0f GF/s per thread; memory %.1f, network %.1f, disk %.1f GB/s; latency "
           "%.0f us; products in %s, the solver's in %s\n",
           source, v->forward, v->hessian, v->factor, v->inverse, v->solve, v->clip, v->gptq,
           v->memory, v->network, v->disk, 1e6 * v->latency, in->bf16 ? "bf16" : "fp32",
           in->solver_bf16 ? "bf16" : "fp32");
    if (in->recipe->compute == PONS_COMPUTE_AUTO)
        printf("compute: auto = %s here (%s)\n", in->bf16 ? "bf16" : "fp32",
               pons_choice_reason(PONS_CHOICE_FORWARD));
    if (in->recipe->obr.precision == PONS_COMPUTE_AUTO)
        printf("obr.precision: auto = %s here (%s)\n", in->solver_bf16 ? "bf16" : "fp32",
               pons_choice_reason(PONS_CHOICE_SOLVER));
    printf("\n");
}

static void print_phases(const pons_plan_input *in, const pons_plan *plan)
{
    printf("%-13s %-8s %9s %9s %10s %9s %6s  %-8s %s\n", "phase", "group", "rank MB", "node MB",
           "Gflop", "seconds", "busy", "bound", "largest term");
    for (int i = 0; i < plan->phases; i++) {
        const pons_plan_phase *p = &plan->phase[i];
        const pons_plan_term *t = &p->term[0];
        for (int k = 1; k < p->terms; k++)
            if (p->term[k].kind != PONS_PLAN_DISK && p->term[k].bytes > t->bytes) t = &p->term[k];
        printf("%-13s %-8s %9.0f %9.0f %10.1f %9.3f %5.0f%%  %-8s %s%s\n", p->name, p->group,
               p->bytes[PONS_PLAN_RANK] / 1e6, p->bytes[PONS_PLAN_NODE] / 1e6, p->flop / 1e9,
               p->seconds, 100 * p->busy, p->bound, t->name, t->replicated ? " *" : "");
    }
    const pons_plan_phase *p = &plan->phase[plan->fullest];
    printf("\nfullest: %s%s%s\n", p->name, p->group[0] ? " of " : "", p->group);
    for (int i = 0; i < p->terms; i++)
        printf("  %-46s %10.1f MB %s %s%s\n", p->term[i].name, p->term[i].bytes / 1e6,
               p->term[i].kind == PONS_PLAN_DISK ? "on" : "per", kinds[p->term[i].kind],
               p->term[i].replicated ? " *" : "");
    printf(
        "\nbytes: %.3f GB per rank for itself, %.3f GB per node; resident set of a rank with what "
        "it shares: %.3f GB\n",
        plan->rank_bytes / 1e9, plan->node_bytes / 1e9, plan->resident_bytes / 1e9);
    if (plan->disk_bytes > 0)
        printf("disk: %.3f GB per node in layout.scratch\n", plan->disk_bytes / 1e9);
    pons_plan_files f;
    pons_plan_files_of(in, &f);
    printf("files: %.3f GB in RUN (blocks %.3f, model %.3f, hidden states %.3f, Hessians %.3f), "
           "%.3f GB "
           "in OUT\n",
           (f.blocks + f.model + f.hidden + f.hessians) / 1e9, f.blocks / 1e9, f.model / 1e9,
           f.hidden / 1e9, f.hessians / 1e9, f.out / 1e9);
    printf(
        "seconds: %.1f per block, %.0f for %lld blocks on %d ranks of %d thread%s; %.3g Pflop; a "
        "rank receives %.1f GB\n",
        plan->block_seconds, plan->total_seconds, (long long)in->model->layers, in->ranks,
        in->threads, in->threads == 1 ? "" : "s", plan->total_flop / 1e15, plan->moved_bytes / 1e9);
}

static json_t *phase_json(const pons_plan_phase *p, bool *ok)
{
    json_t *o = json_object(), *terms = json_array();
    pons_cli_set(o, "phase", json_string(p->name), ok);
    pons_cli_set(o, "group", json_string(p->group), ok);
    for (int k = 0; k < PONS_PLAN_KINDS; k++) {
        char key[32];
        snprintf(key, sizeof key, "%s_bytes", kinds[k]);
        pons_cli_set(o, key, pons_cli_real(p->bytes[k]), ok);
    }
    pons_cli_set(o, "flop", pons_cli_real(p->flop), ok);
    pons_cli_set(o, "moved_bytes", pons_cli_real(p->moved), ok);
    pons_cli_set(o, "seconds", pons_cli_real(p->seconds), ok);
    pons_cli_set(o, "busy", pons_cli_real(p->busy), ok);
    pons_cli_set(o, "bound", json_string(p->bound), ok);
    for (int i = 0; i < p->terms; i++)
        *ok = json_array_append_new(terms, json_pack("{s:s, s:s, s:b, s:f}", "name",
                                                     p->term[i].name, "per", kinds[p->term[i].kind],
                                                     "replicated", p->term[i].replicated, "bytes",
                                                     p->term[i].bytes)) == 0 &&
              *ok;
    pons_cli_set(o, "terms", terms, ok);
    return o;
}

/* @param allocation may be NULL */
static pons_status print_plan_json(const pons_plan_input *in, const pons_plan *plan,
                                   json_t *allocation)
{
    bool ok = true;
    json_t *root = json_object(), *list = json_array();
    for (int i = 0; i < plan->phases; i++)
        ok = json_array_append_new(list, phase_json(&plan->phase[i], &ok)) == 0 && ok;
    pons_cli_set(root, "ranks", json_integer(in->ranks), &ok);
    pons_cli_set(root, "nodes", json_integer(in->nodes), &ok);
    pons_cli_set(root, "threads", json_integer(in->threads), &ok);
    pons_cli_set(root, "rank_bytes", pons_cli_real(plan->rank_bytes), &ok);
    pons_cli_set(root, "node_bytes", pons_cli_real(plan->node_bytes), &ok);
    pons_cli_set(root, "disk_bytes", pons_cli_real(plan->disk_bytes), &ok);
    pons_plan_files f;
    pons_plan_files_of(in, &f);
    pons_cli_set(root, "files",
                 json_pack("{s:f, s:f, s:f, s:f, s:f}", "blocks", f.blocks, "model", f.model,
                           "hidden", f.hidden, "hessians", f.hessians, "out", f.out),
                 &ok);
    pons_cli_set(root, "resident_bytes", pons_cli_real(plan->resident_bytes), &ok);
    pons_cli_set(root, "seconds", pons_cli_real(plan->total_seconds), &ok);
    pons_cli_set(root, "flop", pons_cli_real(plan->total_flop), &ok);
    pons_cli_set(root, "moved_bytes", pons_cli_real(plan->moved_bytes), &ok);
    pons_cli_set(root, "fullest", json_string(plan->phase[plan->fullest].name), &ok);
    pons_cli_set(root, "rates", pons_cli_rates_json(&in->rates, &ok), &ok);
    pons_cli_set(root, "phases", list, &ok);
    if (allocation)
        pons_cli_set(root, "allocation", json_incref(json_object_get(allocation, "linears")), &ok);
    pons_status st =
        ok ? pons_cli_print(root, true) : pons_fail(PONS_ERR_NOMEM, "out of memory for the result");
    json_decref(root);
    return st;
}

/* One row per number of teams. @param list JSON array, or NULL: text */
static pons_status print_schedules(const pons_plan_input *in, json_t *list)
{
    for (int teams = 1; teams <= in->ranks && teams <= in->model->layers; teams *= 2) {
        pons_plan_schedule s;
        if (in->ranks % teams) continue;
        pons_status st = pons_plan_simulate(in, teams, &s);
        if (st != PONS_OK) return st;
        bool fits = in->memory_bytes <= 0 || s.node_bytes <= in->memory_bytes;
        if (!list)
            printf("%6d %6d %6d %9.1f %6.1f%% %10.1f %9.1f  %s%s\n", in->ranks, s.teams,
                   s.ranks_per_team, s.seconds / 60, 100 * s.idle, s.moved_bytes / 1e9,
                   s.node_bytes / 1e9, s.bound, fits ? "" : "; does not fit");
        else if (json_array_append_new(
                     list,
                     json_pack("{s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:b, s:s}", "ranks", in->ranks,
                               "teams", s.teams, "ranks_per_team", s.ranks_per_team, "seconds",
                               s.seconds, "idle", s.idle, "moved_bytes", s.moved_bytes,
                               "node_bytes", s.node_bytes, "fits", fits, "bound", s.bound)) != 0)
            return pons_fail(PONS_ERR_NOMEM, "out of memory for the result");
    }
    return PONS_OK;
}

static pons_status simulate(pons_plan_input *in, const arguments *a, bool json)
{
    static const int usual[] = {8, 64, 256};
    pons_status st = PONS_OK;
    bool ok = true;
    json_t *root = json ? json_object() : NULL, *list = json ? json_array() : NULL;
    if (!json)
        printf("%6s %6s %6s %9s %7s %10s %9s  %s\n", "ranks", "teams", "each", "minutes", "idle",
               "GB/rank", "GB/node", "bound");
    for (int i = 0; i < (a->ranks ? 1 : 3) && st == PONS_OK; i++) {
        if (!a->ranks) {
            in->ranks = usual[i];
            in->nodes = a->nodes ? (int)a->nodes : (usual[i] + 7) / 8;
        }
        if (in->nodes > in->ranks) in->nodes = in->ranks;
        st = print_schedules(in, list);
    }
    if (json) {
        pons_cli_set(root, "rates", pons_cli_rates_json(&in->rates, &ok), &ok);
        pons_cli_set(root, "schedules", list, &ok);
        if (st == PONS_OK) st = ok ? pons_cli_print(root, true) : PONS_ERR_NOMEM;
        json_decref(root);
    }
    return st == PONS_OK ? pons_cli_flush() : st;
}

/* ---- The command */

/* config.json of a directory, the file itself, or a GGUF's metadata. */
static pons_status read_model(const char *path, pons_model_config *out)
{
    pons_status st = PONS_OK;
    pons_model *model = NULL;
    char *located = NULL, *file = NULL;
    PONS_TRY(st, pons_store_locate(path, &located));
    size_t n = strlen(located);
    if (n > 5 && !strcmp(located + n - 5, ".gguf")) {
        PONS_TRY(st, pons_model_open(located, &model));
        *out = *pons_model_get_config(model);
    } else {
        file = pons_dir_exists(located) ? pons_mem_printf("%s/config.json", located)
                                        : pons_mem_strdup(located);
        PONS_TRY(st, file ? pons_model_config_read(file, out) : PONS_ERR_NOMEM);
    }
done:
    pons_mem_free(file);
    pons_mem_free(located);
    pons_model_close(&model);
    return st;
}

/* Resident bytes of this process, which has loaded its libraries as a job would, and of MPI where it was not started:
 * 9 to 10 MB seen with Open MPI 4.1. */
static double resident_bytes(pons_comm *comm)
{
    const double of_mpi = pons_comm_mpi(comm) == MPI_COMM_NULL ? 10e6 : 0;
    long long total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%lld %lld", &total, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return pages ? 4096.0 * (double)pages + of_mpi : 70e6;
}

static pons_status plan(pons_comm *comm, const arguments *a, bool json)
{
    pons_status st = PONS_OK;
    pons_recipe recipe;
    pons_model_config model;
    pons_rotation *rotation = NULL;
    pons_plan *result = NULL;
    json_t *allocation = NULL;
    PONS_TRY(st, pons_recipe_load(a->recipe, a->set, a->set_count, &recipe));
    PONS_TRY(st, read_model(a->model, &model));
    if (recipe.rotation.file[0]) /* read as compress does, to refuse what it refuses */
        PONS_TRY(st, pons_rotation_create(&recipe, &model, &rotation));
    if (a->run) PONS_TRY(st, pons_cli_read_allocation(a->run, &allocation));
    bool forward = recipe.compute == PONS_COMPUTE_AUTO
                       ? pons_choice_bf16(pons_par_alone(), PONS_CHOICE_FORWARD)
                       : recipe.compute == PONS_COMPUTE_BF16;
    bool solver = recipe.obr.precision == PONS_COMPUTE_AUTO
                      ? pons_choice_bf16(pons_par_alone(), PONS_CHOICE_SOLVER)
                      : recipe.obr.precision == PONS_COMPUTE_BF16;
    pons_plan_input in = {.recipe = &recipe,
                          .model = &model,
                          .ranks = a->ranks ? (int)a->ranks : 1,
                          .nodes = a->nodes ? (int)a->nodes : 1,
                          .threads = a->threads ? (int)a->threads : 1,
                          .bf16 = forward,
                          .solver_bf16 = solver,
                          .base_bytes = resident_bytes(comm),
                          .memory_bytes = 1e9 * (double)a->memory};
    in.rates = pons_plan_default_rates(in.bf16);
    if (a->rates) PONS_TRY(st, pons_cli_read_rates(a->rates, &in.rates));
    if (a->measure) PONS_TRY(st, pons_cli_measure_rates(in.bf16, in.solver_bf16, &in.rates));
    if (a->simulate && !json) print_rates(a, &in);
    if (a->simulate) return simulate(&in, a, json);
    PONS_CALLOC(st, result, 1);
    PONS_TRY(st, pons_plan_make(&in, result));
    if (!json) print_rates(a, &in);
    if (json)
        PONS_TRY(st, print_plan_json(&in, result, allocation));
    else
        print_phases(&in, result);
    if (!json && allocation) pons_cli_print_allocation(allocation);
    PONS_TRY(st, pons_cli_flush());
    st = pons_plan_check(&in, result);
done:
    pons_rotation_destroy(&rotation);
    json_decref(allocation);
    pons_mem_free(result);
    return st;
}

pons_status pons_cmd_plan(pons_comm *comm, int argc, char **argv, pons_cli_common *common)
{
    pons_status st = PONS_OK;
    arguments a = {0};
    a.set = pons_mem_calloc(argc, sizeof *a.set);
    PONS_TRY_ALL(st, comm, a.set ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_cli_parse(comm, &argp, argc, argv, common, &a));
    if (common->help) goto done;
    PONS_TRY_ALL(st, comm, require(&a, argv[0]));
    PONS_TRY_ALL(st, comm, pons_comm_rank(comm) == 0 ? plan(comm, &a, common->json) : PONS_OK);
done:
    pons_mem_free(a.set);
    return st;
}
