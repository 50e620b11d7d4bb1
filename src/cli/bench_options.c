/* Owns the options of `pons bench`: their values, and which of them mean something to which
 * measurement. Does not measure. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_options.h"
#include "kern/gemm.h"

/* One bit per option, so that a measurement can refuse those that mean nothing to it. */
enum option_bit {
    ROWS = 1 << 0,
    DIM = 1 << 1,
    LAYER = 1 << 2, /* all that shape a layer beyond rows and dim */
    PRECISION = 1 << 3,
    SOLVER = 1 << 4,
    SAMPLE = 1 << 5,
    TOKENS = 1 << 6,
    MODEL = 1 << 7,
    SWEEP = 1 << 8,
    DUMP = 1 << 9,
    PRUNING = 1 << 10,
    PATTERN = 1 << 11,
    FIXTURES = 1 << 12,
    WINDOWS = 1 << 13,
    RUN = 1 << 14
};

enum option_key {
    KEY_ROWS = 0x100,
    KEY_DIM,
    KEY_SPARSITY,
    KEY_PATTERN,
    KEY_PRECISION,
    KEY_SOLVER,
    KEY_HESSIAN,
    KEY_SPECTRUM,
    KEY_POWER,
    KEY_OUTLIERS,
    KEY_HAAR,
    KEY_ALPHA,
    KEY_DAMPING,
    KEY_SEED,
    KEY_SAMPLE,
    KEY_TOKENS,
    KEY_WINDOWS,
    KEY_MODEL,
    KEY_SWEEP,
    KEY_TO,
    KEY_DUMP,
    KEY_RUN,
    KEY_THREADS,
    KEY_REPEAT,
    KEY_CLOCK,
    KEY_FIXTURES,
    KEY_ONE_PER_BLOCK
};

typedef struct choice {
    int key;
    int bit; /* 0: any measurement takes it */
} choice;

static const choice choices[] = {{KEY_ROWS, ROWS},        {KEY_DIM, DIM},
                                 {KEY_SPARSITY, PATTERN}, {KEY_PATTERN, PATTERN},
                                 {KEY_HESSIAN, LAYER},    {KEY_SPECTRUM, LAYER},
                                 {KEY_POWER, LAYER},      {KEY_OUTLIERS, LAYER},
                                 {KEY_HAAR, LAYER},       {KEY_ALPHA, PRUNING},
                                 {KEY_DAMPING, PATTERN},  {KEY_SEED, LAYER},
                                 {KEY_SAMPLE, SAMPLE},    {KEY_PRECISION, PRECISION},
                                 {KEY_SOLVER, SOLVER},    {KEY_TOKENS, TOKENS},
                                 {KEY_WINDOWS, WINDOWS},  {KEY_MODEL, MODEL},
                                 {KEY_SWEEP, SWEEP},      {KEY_TO, SWEEP},
                                 {KEY_DUMP, DUMP},        {KEY_FIXTURES, FIXTURES},
                                 {KEY_RUN, RUN},          {KEY_ONE_PER_BLOCK, RUN}};

enum { CHOICES = sizeof choices / sizeof *choices };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Shape:", 1},
    {"rows", KEY_ROWS, "N", 0, "Rows (default: 1024, or those of the file)", 0},
    {"dim", KEY_DIM, "D", 0, "Columns (default: 1024, or those of the file)", 0},
    {"sparsity", KEY_SPARSITY, "S", 0, "Pruned share, [0, 1) (default: 0.5)", 0},
    {"pattern", KEY_PATTERN, "N:M", 0, "Prune N of every M columns (default: unstructured)", 0},
    {"alpha", KEY_ALPHA, "A", 0, "Share of columns evicted in stage 2, [0, 1] (default: 0.5)", 0},
    {"damping", KEY_DAMPING, "L", 0, "Relative to the mean diagonal, [0, 1] (default: 0.01)", 0},
    {"tokens", KEY_TOKENS, "S", 0, "Tokens per window (default: 2048)", 0},
    {"windows", KEY_WINDOWS, "N", 0, "Windows over all ranks (default: 8)", 0},
    {NULL, 0, NULL, 0, "Data:", 2},
    {"hessian", KEY_HESSIAN, "FILE", 0,
     "A kept Hessian, FILE.h5:GROUP (qkv, o, gate_up, down), or tensors H and optionally W in "
     "FILE.safetensors (default: synthetic)",
     0},
    {"spectrum", KEY_SPECTRUM, "KIND", 0,
     "power: random eigenvectors; channels: channels of different scale, six of them 30 times "
     "larger, then a Hadamard rotation (default: power)",
     0},
    {"power", KEY_POWER, "P", 0, "Eigenvalue i is i^-P (default: 1)", 0},
    {"outliers", KEY_OUTLIERS, "LIST", 0,
     "Replace the first eigenvalues, for example 1000,300,100 (at most 8)", 0},
    {"haar", KEY_HAAR, NULL, 0, "Eigenvectors uniformly random (slow) instead of signed Hadamards",
     0},
    {"seed", KEY_SEED, "N", 0, "Seed of synthetic data (default: 0)", 0},
    {"run", KEY_RUN, "DIR", 0, "State directory of a run that kept its Hessians (layers)", 0},
    {"one-per-block", KEY_ONE_PER_BLOCK, NULL, 0,
     "layers: one linear of each block, of the next kind in each block, instead of all", 0},
    {"model", KEY_MODEL, "PATH", 0,
     "Model whose block 0 runs (forward, all); the model of --run (layers)", 0},
    {"fixtures", KEY_FIXTURES, "DIR", 0,
     "quality: directory of the layers, FILE.safetensors with W and H, there or one level below "
     "(default: $PONS_GOLDEN, else tests/golden)",
     0},
    {NULL, 0, NULL, 0, "Measuring:", 3},
    {"precision", KEY_PRECISION, "TYPE", 0,
     "Inputs of matrix products, fp32 or bf16 (default: gemm both; else bf16 where the processor "
     "has "
     "it)",
     0},
    {"solver", KEY_SOLVER, "NAME", 0, "dual, primal or direct (default: dual)", 0},
    {"sample", KEY_SAMPLE, "N", 0, "Rows of the baseline per rank (default: 32)", 0},
    {"threads", KEY_THREADS, "N", 0,
     "Threads per rank (default: OMP_NUM_THREADS, else the node's cores divided by its ranks; "
     "gemm: 1, 2, 4 ... up to that)",
     0},
    {"repeat", KEY_REPEAT, "N", 0, "Runs, of which the best counts (default: 3)", 0},
    {"clock", KEY_CLOCK, "NAME", 0,
     "wall, or cpu: processor time divided by threads, for machines with other load (default: "
     "wall)",
     0},
    {"sweep", KEY_SWEEP, "WHAT", 0,
     "solver: dim (512, 1024, ...) or rows (256, 512, ...) and the exponents fitted to the cost",
     0},
    {"to", KEY_TO, "N", 0, "Last value of the sweep (default: 2048)", 0},
    {"dump", KEY_DUMP, "FILE", 0, "Also write the layer as FILE.safetensors (one rank)", 0},
    {0}};

static int parse_real(const struct argp_state *state, const char *option, const char *arg,
                      double low, double high, double *out)
{
    char *end;
    double value = strtod(arg, &end);
    if (end == arg || *end || !(value >= low && value <= high))
        return pons_cli_reject(state, "%s: found '%s', a number from %g to %g is needed", option,
                               arg, low, high);
    *out = value;
    return 0;
}

static int parse_sparsity(const struct argp_state *state, const char *arg, double *out)
{
    int error = parse_real(state, "--sparsity", arg, 0, 1, out);
    return error || *out < 1
               ? error
               : pons_cli_reject(state, "--sparsity: found '%s'; it must be below 1", arg);
}

static int parse_pattern(const struct argp_state *state, const char *arg, pons_bench_layer *layer)
{
    char *end;
    long n = strtol(arg, &end, 10), m = 0;
    layer->n = layer->m = 0;
    if (!strcmp(arg, "unstructured")) return 0;
    if (end != arg && *end == ':') m = strtol(end + 1, &end, 10);
    if (*end || n < 1 || m <= n || m > 1024)
        return pons_cli_reject(
            state, "--pattern: found '%s'; allowed are unstructured and N:M with 0 < N < M <= 1024",
            arg);
    layer->n = (int)n;
    layer->m = (int)m;
    return 0;
}

static int parse_outliers(const struct argp_state *state, const char *arg, pons_bench_layer *layer)
{
    enum { MOST = sizeof layer->outliers / sizeof *layer->outliers };
    layer->outlier_count = 0;
    for (const char *at = arg;; at++) {
        char *end;
        double value = strtod(at, &end);
        if (end == at || !(value > 0) || !isfinite(value) || (*end && *end != ',') ||
            layer->outlier_count == MOST)
            return pons_cli_reject(
                state, "--outliers: found '%s'; up to %d positive numbers and commas are needed",
                arg, (int)MOST);
        layer->outliers[layer->outlier_count++] = value;
        if (!*end) return 0;
        at = end;
    }
}

/* Index of arg in names, or PONS_CLI_REPORTED. */
static int parse_name(const struct argp_state *state, const char *option, const char *arg,
                      const char *first, const char *second, int *index)
{
    *index = !strcmp(arg, second);
    return *index || !strcmp(arg, first)
               ? 0
               : pons_cli_reject(state, "%s: found '%s'; allowed are %s, %s", option, arg, first,
                                 second);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    pons_bench_options *a = state->input;
    pons_bench_layer *l = &a->layer;
    int error, index;
    for (int i = 0; i < CHOICES; i++)
        if (choices[i].key == key) a->given |= 1u << i;
    switch (key) {
    case KEY_ROWS: return pons_cli_parse_int(state, "--rows", arg, 1, INT32_MAX, &l->rows);
    case KEY_DIM: return pons_cli_parse_int(state, "--dim", arg, 1, 1 << 17, &l->d);
    case KEY_SPARSITY: return parse_sparsity(state, arg, &l->sparsity);
    case KEY_PATTERN: return parse_pattern(state, arg, l);
    case KEY_PRECISION: return parse_name(state, "--precision", arg, "fp32", "bf16", &a->precision);
    case KEY_SOLVER:
        a->solver = !strcmp(arg, "direct")   ? PONS_SOLVER_DIRECT
                    : !strcmp(arg, "primal") ? PONS_SOLVER_PRIMAL
                                             : PONS_SOLVER_DUAL;
        return a->solver == PONS_SOLVER_DUAL && strcmp(arg, "dual") != 0
                   ? pons_cli_reject(state,
                                     "--solver: found '%s'; allowed are dual, primal, direct", arg)
                   : 0;
    case KEY_HESSIAN: l->hessian = arg; return 0;
    case KEY_SPECTRUM:
        error = parse_name(state, "--spectrum", arg, "power", "channels", &index);
        l->channels = index;
        return error;
    case KEY_POWER: return parse_real(state, "--power", arg, 0, 10, &l->power);
    case KEY_OUTLIERS: return parse_outliers(state, arg, l);
    case KEY_HAAR: l->haar = true; return 0;
    case KEY_ALPHA: return parse_real(state, "--alpha", arg, 0, 1, &l->alpha);
    case KEY_DAMPING: return parse_real(state, "--damping", arg, 0, 1, &l->damping);
    case KEY_SEED: {
        int64_t seed = 0;
        error = pons_cli_parse_int(state, "--seed", arg, 0, UINT32_MAX, &seed);
        l->seed = (uint32_t)seed;
        return error;
    }
    case KEY_SAMPLE: return pons_cli_parse_int(state, "--sample", arg, 1, INT32_MAX, &a->sample);
    case KEY_WINDOWS: return pons_cli_parse_int(state, "--windows", arg, 1, 1 << 20, &a->windows);
    case KEY_TOKENS: return pons_cli_parse_int(state, "--tokens", arg, 1, 1 << 20, &a->tokens);
    case KEY_MODEL: a->model = arg; return 0;
    case KEY_SWEEP:
        error = parse_name(state, "--sweep", arg, "dim", "rows", &index);
        a->sweep = index ? 'r' : 'd';
        return error;
    case KEY_TO: return pons_cli_parse_int(state, "--to", arg, 1, 1 << 17, &a->to);
    case KEY_DUMP: a->dump = arg; return 0;
    case KEY_FIXTURES: a->fixtures = arg; return 0;
    case KEY_RUN: a->run = arg; return 0;
    case KEY_ONE_PER_BLOCK: a->one_per_block = true; return 0;
    case KEY_THREADS: return pons_cli_parse_int(state, "--threads", arg, 1, 1024, &a->threads);
    case KEY_REPEAT: return pons_cli_parse_int(state, "--repeat", arg, 1, 1000, &a->repeat);
    case KEY_CLOCK:
        error = parse_name(state, "--clock", arg, "wall", "cpu", &index);
        a->cpu_time = index;
        return error;
    case ARGP_KEY_ARG:
        if (a->what) return ARGP_ERR_UNKNOWN;
        a->what = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse,
    .args_doc = "gemm|solver|hessian|factor|memory|forward|clip|gptq|layers|quality|all",
    .doc = "Measure one phase of the job, or all, beside a baseline that runs in the same process "
           "on the same data.\n\n"
           "gemm: a prepared matrix product; bf16 tiles streamed from beyond the caches and tiles "
           "that stay in cache.  "
           "solver: both stages of the compensation; baseline: one spotrf per row.  hessian: sum "
           "over windows; baseline: the full fp32 product.  factor: the inverse Cholesky factor "
           "over all ranks, by Pons and by ScaLAPACK; baseline: LAPACK on the same cores (square, "
           "--dim).  memory: bytes per rank of one linear from windows to packed rows.  forward: "
           "block 0 of a model; baseline: fp32.  clip: scales with the clip search; baseline: "
           "powf.  gptq: the sweep over the last columns; baseline: column by column.  layers (not "
           "in all): every linear of a model on the Hessians of a run; baseline: the direct solver "
           "on sampled rows.  all: each of them, forward "
           "with "
           "--model.  quality (not in all): layer errors of every mask and rounding, on real "
           "layers.\n\n"
           "GF/s counts the flop that the method needs. 'of peak' is their share of what a matrix "
           "product of that shape, type and number of threads reaches here. Workspace is measured: "
           "the peak of resident memory above the level before. 'error' is the error of the result "
           "over that of the exact method on the sampled rows. Baselines run on sampled rows; "
           "their time for all rows is extrapolated and marked as such. Under mpirun the rows are "
           "distributed over the ranks and the slowest rank counts."};

/* ---- What a call asks for */

typedef struct measurement {
    const char *name;
    int takes; /* bits of options */
} measurement;

static const measurement measurements[] = {
    {"gemm", ROWS | DIM | PRECISION},
    {"solver", ROWS | DIM | LAYER | PATTERN | PRUNING | PRECISION | SOLVER | SAMPLE | SWEEP | DUMP},
    {"hessian", DIM | TOKENS | PRECISION},
    {"factor", DIM},
    {"memory", ROWS | DIM | TOKENS | WINDOWS | PRECISION},
    {"forward", MODEL | TOKENS | PRECISION},
    {"clip", ROWS | DIM | LAYER | SAMPLE},
    {"gptq", ROWS | DIM | LAYER | PATTERN | PRUNING | SAMPLE},
    {"layers", RUN | MODEL | SOLVER | PRECISION | SAMPLE},
    {"quality", PATTERN | FIXTURES},
    {"all",
     ROWS | DIM | DUMP | LAYER | PATTERN | PRUNING | PRECISION | SOLVER | SAMPLE | TOKENS | MODEL}};
enum { MEASUREMENTS = sizeof measurements / sizeof *measurements };

static const char *option_name(int key)
{
    for (const struct argp_option *o = options; o->name || o->doc; o++)
        if (o->key == key) return o->name;
    return "?";
}

static bool was_given(const pons_bench_options *a, int key)
{
    for (int i = 0; i < CHOICES; i++)
        if (choices[i].key == key) return a->given >> i & 1;
    return false;
}

/* Options that mean nothing to the measurement, or nothing beside each other. */
static pons_status check_options(const pons_bench_options *a, const measurement *m)
{
    static const int excluded[][2] = {{KEY_HESSIAN, KEY_SPECTRUM}, {KEY_HESSIAN, KEY_POWER},
                                      {KEY_HESSIAN, KEY_OUTLIERS}, {KEY_HESSIAN, KEY_HAAR},
                                      {KEY_PATTERN, KEY_SPARSITY}, {KEY_SWEEP, KEY_HESSIAN},
                                      {KEY_SWEEP, KEY_DUMP}};
    for (int i = 0; i < CHOICES; i++)
        if (a->given >> i & 1 && !(choices[i].bit & m->takes))
            return pons_fail(PONS_ERR_USAGE, "--%s has no effect on bench %s",
                             option_name(choices[i].key), m->name);
    for (size_t i = 0; i < sizeof excluded / sizeof *excluded; i++)
        if (was_given(a, excluded[i][0]) && was_given(a, excluded[i][1]))
            return pons_fail(PONS_ERR_USAGE, "--%s excludes --%s", option_name(excluded[i][0]),
                             option_name(excluded[i][1]));
    return PONS_OK;
}

static pons_status check(const pons_bench_options *a, const char *command, int ranks)
{
    const measurement *m = NULL;
    if (!a->what)
        return pons_fail(PONS_ERR_USAGE,
                         "name what to measure: gemm, solver, hessian, factor, memory, forward, "
                         "clip, gptq, layers, quality or "
                         "all (see %s --help)",
                         command);
    for (int i = 0; i < MEASUREMENTS; i++)
        if (!strcmp(a->what, measurements[i].name)) m = &measurements[i];
    if (!m)
        return pons_fail(
            PONS_ERR_USAGE,
            "bench '%s' is unknown; known are gemm, solver, hessian, factor, memory, forward, "
            "clip, gptq, layers, quality, all (see %s --help)",
            a->what, command);
    pons_status st = check_options(a, m);
    if (st != PONS_OK) return st;
    if (!strcmp(a->what, "forward") && !a->model)
        return pons_fail(PONS_ERR_USAGE, "--model is missing (see %s --help)", command);
    if (!strcmp(a->what, "layers") && (!a->model || !a->run))
        return pons_fail(PONS_ERR_USAGE, "--%s is missing (see %s --help)",
                         a->model ? "run" : "model", command);
    if (!strcmp(a->what, "layers") && ranks > 1)
        return pons_fail(PONS_ERR_USAGE, "bench layers runs on one rank, there are %d", ranks);
    int first = a->sweep == 'd' ? PONS_SWEEP_DIM : PONS_SWEEP_ROWS;
    const char *over = a->sweep == 'd' ? "dim" : "rows";
    if (a->to && !a->sweep) return pons_fail(PONS_ERR_USAGE, "--to needs --sweep");
    if (a->to && a->to < first)
        return pons_fail(PONS_ERR_USAGE, "--to: found %lld; a sweep over %s starts at %d",
                         (long long)a->to, over, first);
    if (a->sweep && was_given(a, a->sweep == 'd' ? KEY_DIM : KEY_ROWS))
        return pons_fail(PONS_ERR_USAGE, "--%s is varied by --sweep: leave it out", over);
    if (a->dump && ranks > 1)
        return pons_fail(PONS_ERR_USAGE, "--dump needs all rows on one rank, there are %d", ranks);
    if (a->precision == 1 && !pons_kern_has_bf16())
        return pons_fail(
            PONS_ERR_UNSUPPORTED,
            "--precision bf16: this build or processor has no bf16 products; use fp32");
    return PONS_OK;
}

pons_status pons_cli_parse_bench(pons_comm *comm, int argc, char **argv, pons_cli_common *common,
                                 pons_bench_options *out)
{
    *out = (pons_bench_options){
        .layer = {.sparsity = 0.5, .alpha = 0.5, .damping = 0.01, .power = 1.0},
        .precision = -1,
        .solver = PONS_SOLVER_DUAL,
        .sample = 32,
        .tokens = 2048,
        .windows = 8,
        .repeat = 3};
    pons_status st = pons_cli_parse(comm, &argp, argc, argv, common, out);
    if (st != PONS_OK || common->help) return st;
    st = pons_comm_agree(comm, check(out, argv[0], pons_comm_size(comm)));
    if (!out->layer.hessian && !out->layer.rows) out->layer.rows = 1024;
    if (!out->layer.hessian && !out->layer.d) out->layer.d = 1024;
    return st;
}
