/* Owns the table of keys and the search in it. Text and values are converted in recipe_value.c;
 * which keys go together is known to recipe_check.c. */
#include "config/recipe_keys.h"

#include <string.h>

static const pons_recipe_name booleans[] = {{"false", 0}, {"true", 1}, {0}};
static const pons_recipe_name clips[] = {{"none", 0}, {"mse", 1}, {0}};
static const pons_recipe_name keeps[] = {{"discard", 0}, {"keep", 1}, {0}};
static const pons_recipe_name joins[] = {
    {"none", PONS_JOIN_NONE}, {"lines", PONS_JOIN_LINES}, {"stripped", PONS_JOIN_STRIPPED}, {0}};
static const pons_recipe_name methods[] = {
    {"none", PONS_METHOD_NONE},           {"rtn", PONS_METHOD_RTN},
    {"gptq", PONS_METHOD_GPTQ},           {"wanda", PONS_METHOD_WANDA},
    {"wanda_rtn", PONS_METHOD_WANDA_RTN}, {"sparsegpt_gptq", PONS_METHOD_SPARSEGPT_GPTQ},
    {"obr_rtn", PONS_METHOD_OBR_RTN},     {"obr_gptq", PONS_METHOD_OBR_GPTQ},
    {"exact_obs", PONS_METHOD_EXACT_OBS}, {0}};
static const pons_recipe_name compats[] = {
    {"corrected", PONS_COMPAT_CORRECTED}, {"faithful", PONS_COMPAT_FAITHFUL}, {0}};
static const pons_recipe_name computes[] = {
    {"auto", PONS_COMPUTE_AUTO}, {"fp32", PONS_COMPUTE_FP32}, {"bf16", PONS_COMPUTE_BF16}, {0}};
static const pons_recipe_name kinds[] = {{"none", PONS_ROTATION_NONE},
                                         {"quarot", PONS_ROTATION_QUAROT},
                                         {"spinquant", PONS_ROTATION_SPINQUANT},
                                         {"flatquant", PONS_ROTATION_FLATQUANT},
                                         {0}};
static const pons_recipe_name modes[] = {
    {"hadamard", PONS_ROTATE_HADAMARD}, {"random", PONS_ROTATE_RANDOM}, {0}};
static const pons_recipe_name solvers[] = {{"auto", PONS_SOLVER_AUTO},
                                           {"direct", PONS_SOLVER_DIRECT},
                                           {"dual", PONS_SOLVER_DUAL},
                                           {"primal", PONS_SOLVER_PRIMAL},
                                           {0}};
static const pons_recipe_name allocates[] = {
    {"uniform", PONS_ALLOCATE_UNIFORM}, {"budget", PONS_ALLOCATE_BUDGET}, {0}};
static const pons_recipe_name targets[] = {{"dense", PONS_TARGET_DENSE},
                                           {"compensated_inputs", PONS_TARGET_COMPENSATED_INPUTS},
                                           {"quantized_inputs", PONS_TARGET_QUANTIZED_INPUTS},
                                           {0}};
static const pons_recipe_name masks[] = {{"wanda", PONS_MASK_WANDA},
                                         {"magnitude", PONS_MASK_MAGNITUDE},
                                         {"sparsegpt", PONS_MASK_SPARSEGPT},
                                         {"obs", PONS_MASK_OBS},
                                         {"dual_swap", PONS_MASK_DUAL_SWAP},
                                         {"admm", PONS_MASK_ADMM},
                                         {0}};
static const pons_recipe_name scale_sources[] = {
    {"dense", PONS_SCALE_DENSE}, {"compensated", PONS_SCALE_COMPENSATED}, {0}};
static const pons_recipe_name refits[] = {
    {"none", PONS_REFIT_NONE}, {"closed_form", PONS_REFIT_CLOSED_FORM}, {0}};
static const pons_recipe_name formats[] = {
    {"pack-quantized", PONS_OUTPUT_PACK_QUANTIZED}, {"dense", PONS_OUTPUT_DENSE}, {0}};
static const pons_recipe_name dtypes[] = {
    {"f32", PONS_DTYPE_F32}, {"f16", PONS_DTYPE_F16}, {"bf16", PONS_DTYPE_BF16}, {0}};

_Static_assert(sizeof(pons_method) == sizeof(int) && sizeof(pons_dtype) == sizeof(int),
               "choices are stored as int");

#define AT(field) .offset = offsetof(pons_recipe, field)
#define RANGE(a, b) .low = (a), .high = (b)
#define MANY 1000000000.0 /* any count a run could mean */

/* Order is that of the printed recipe; keys of a section stand together. */
const pons_recipe_key pons_recipe_keys[] = {
    {"label", PONS_KEY_TEXT, AT(label), .high = sizeof((pons_recipe *)0)->label - 1,
     .help = "name of this run; `pons report` looks up the printed numbers of the row of "
             "configs/paper/tables.csv with this label"},
    {"seed", PONS_KEY_U32, AT(seed), RANGE(0, 4294967295.0),
     .help = "seed of the calibration windows and, without `rotation.seed`, of the rotation signs"},
    {"method", PONS_KEY_CHOICE, AT(method), .names = methods,
     .help = "how each linear is compressed"},
    {"compat", PONS_KEY_CHOICE, AT(compat), .names = compats,
     .help = "`faithful` reproduces the quirks of the published code"},
    {"compute", PONS_KEY_CHOICE, AT(compute), .names = computes,
     .help = "matrix products of the forward pass; `auto`: bf16 where the processor has it"},
    {"int8_down_proj", PONS_KEY_INT8, AT(weights.down_proj_bits), .names = booleans,
     .help = "8 bits for the weights and inputs of down_proj"},
    {"coordinator_works", PONS_KEY_BOOL, AT(coordinator_works), .names = booleans,
     .help =
         "rank 0 takes a share of windows and rows; `false`: it only reads, distributes and writes",
     .neutral = true},
    {"wave", PONS_KEY_I64, AT(wave), RANGE(1, 4096),
     .help = "blocks compressed side by side, from dense activations inside the wave; 1: one block "
             "after the other"},
    {"hessians", PONS_KEY_BOOL, AT(keep_hessians), .names = keeps,
     .help = "`keep` writes the Hessians of every block to the run directory"},
    {"calibration.windows", PONS_KEY_I64, AT(calibration.windows), RANGE(1, MANY),
     .help = "number of calibration windows (sequences)"},
    {"calibration.length", PONS_KEY_I64, AT(calibration.length), RANGE(1, MANY),
     .help = "tokens per calibration window"},
    {"calibration.join", PONS_KEY_CHOICE, AT(calibration.join), .names = joins,
     .help = "how the lines of a text become one string: unchanged; joined by two newlines (QuaRot "
             "and SpinQuant on WikiText); stripped, then joined (FlatQuant)"},
    {"calibration.holdout", PONS_KEY_I64, AT(calibration.holdout), RANGE(0, MANY),
     .help = "additional windows on which targets are checked and which enter no Hessian; with a "
             "target other than `dense`, an eighth of `calibration.windows` unless given"},
    {"layout.teams", PONS_KEY_I64, AT(layout.teams), RANGE(0, 1 << 20),
     .help = "teams of ranks that share the blocks of a wave; 0: as many as there is work for",
     .neutral = true},
    {"layout.ranks_per_team", PONS_KEY_I64, AT(layout.ranks_per_team), RANGE(0, 1 << 20),
     .help = "ranks in a team; 0: ranks divided by teams", .neutral = true},
    {"layout.scratch", PONS_KEY_TEXT, AT(layout.scratch),
     .high = sizeof((pons_recipe *)0)->layout.scratch - 1,
     .help = "directory on each node's local disk for the matrices that a node shares; empty: in "
             "memory (jobs/README.md)",
     .neutral = true},
    {"checkpoint.blocks", PONS_KEY_I64, AT(checkpoint.blocks), RANGE(0, MANY),
     .help =
         "hidden states are saved every so many blocks; 0: never, a resumed run recomputes them",
     .neutral = true},
    {"checkpoint.keep", PONS_KEY_BOOL, AT(checkpoint.keep), .names = booleans,
     .help = "committed blocks stay in the run directory after success, for pons export",
     .neutral = true},
    {"checkpoint.grace", PONS_KEY_F64, AT(checkpoint.grace), RANGE(0, 86400), .low_open = true,
     .help = "seconds between SIGUSR1 or SIGTERM and the end of the process at the latest",
     .neutral = true},
    {"rotation.kind", PONS_KEY_CHOICE, AT(rotation.kind), .names = kinds,
     .help = "which rotations are applied"},
    {"rotation.mode", PONS_KEY_CHOICE, AT(rotation.mode), .names = modes,
     .help = "random Hadamard or random orthogonal matrix (`quarot` only)"},
    {"rotation.online", PONS_KEY_BOOL, AT(rotation.online), .names = booleans,
     .help = "transforms inside the forward pass as well; `false`: the output is a standard model"},
    {"rotation.hadamard_dtype", PONS_KEY_CHOICE, AT(rotation.hadamard_dtype), .names = dtypes,
     .help = "type to which the online Hadamards before o_proj and down_proj round input and "
             "result; `f32`: no rounding"},
    {"rotation.center_embedding", PONS_KEY_BOOL, AT(rotation.center_embedding), .names = booleans,
     .help =
         "subtract the mean of each embedding row; `true` unless given under `compat: faithful`"},
    {"rotation.seed", PONS_KEY_U32, AT(rotation.seed), RANGE(0, 4294967295.0),
     .help = "seed of the rotation", .follows = "seed"},
    {"rotation.file", PONS_KEY_TEXT, AT(rotation.file),
     .high = sizeof((pons_recipe *)0)->rotation.file - 1,
     .help = "trained matrices: SpinQuant's `R.bin` or FlatQuant's `flat_matrices.pth`; empty: "
             "drawn at random"},
    {"rotation.tolerance", PONS_KEY_F64, AT(rotation.tolerance), RANGE(0, 1), .low_open = true,
     .help = "largest accepted entry of abs(R^T R - I) in the file, under `flatquant` of abs(M^T "
             "M^-T - I)"},
    {"rotation.learn", PONS_KEY_BOOL, AT(rotation.learn), .names = booleans,
     .help = "learn R1 and R2 from calibration activations (`spinquant` only)"},
    {"rotation.learn_windows", PONS_KEY_I64, AT(rotation.learn_windows), RANGE(1, MANY),
     .help = "calibration windows, from the first, that the rotation is learned on; at most "
             "`calibration.windows`"},
    {"rotation.learn_steps", PONS_KEY_I64, AT(rotation.learn_steps), RANGE(1, MANY),
     .help = "optimization steps"},
    {"weights.bits", PONS_KEY_INT, AT(weights.bits), RANGE(2, 8), .help = "bits of a weight"},
    {"weights.allocate_bits", PONS_KEY_SET, AT(allocate_bits), RANGE(2, 8),
     .help = "with `prune.allocate: budget`: bits that a linear may get, for example `3,4,8`, at "
             "the same total"},
    {"weights.symmetric", PONS_KEY_BOOL, AT(weights.symmetric), .names = booleans,
     .help = "`false`: with zero points"},
    {"weights.group_size", PONS_KEY_I64, AT(weights.group_size), RANGE(0, MANY),
     .help = "columns that share a scale (quantization group); 0: a whole row"},
    {"weights.clip", PONS_KEY_BOOL, AT(weights.mse_clip), .names = clips,
     .help = "`mse`: shrink each scale to the smallest rounding error"},
    {"weights.scale_from", PONS_KEY_CHOICE, AT(scale_from), .names = scale_sources,
     .help =
         "weights from which scales are computed: the model's, or the pruned and compensated ones"},
    {"weights.refit", PONS_KEY_CHOICE, AT(refit), .names = refits,
     .help = "`closed_form`: after rounding, replace each scale by the one of least layer error"},
    {"prune.mask", PONS_KEY_CHOICE, AT(prune.mask), .names = masks,
     .help = "criterion for the pruned weights; the last four account for the adjustment of the "
             "kept weights"},
    {"prune.sparsity", PONS_KEY_F64, AT(prune.sparsity), RANGE(0, 1), .high_open = true,
     .help = "share of each row set to zero; n/m under a pattern"},
    {"prune.pattern", PONS_KEY_PATTERN, AT(prune.n),
     .help = "N of every M consecutive columns are set to zero (not kept)"},
    {"prune.allocate", PONS_KEY_CHOICE, AT(prune.allocate), .names = allocates,
     .help = "`budget`: a sparsity for each linear, at the same total and least damage"},
    {"prune.spread", PONS_KEY_F64, AT(prune.spread), RANGE(0, 0.5), .low_open = true,
     .help = "with `budget`: largest distance of a linear's sparsity from `prune.sparsity`"},
    {"obr.alpha", PONS_KEY_F64, AT(obr.alpha), RANGE(0, 1),
     .help = "share of columns, from the left, whose rounding error is compensated by the others"},
    {"obr.damping", PONS_KEY_F64, AT(obr.damping), RANGE(0, 1),
     .help = "added to the Hessian's diagonal, relative to its mean"},
    {"obr.damping_retries", PONS_KEY_INT, AT(obr.damping_retries), RANGE(0, 6),
     .help = "how often the damping may be increased tenfold, with a warning, where a Hessian is "
             "not positive definite"},
    {"obr.block", PONS_KEY_I64, AT(obr.block), RANGE(1, 65536),
     .help = "columns that `sparsegpt_gptq` masks together; `compat: faithful` starts the GPTQ "
             "half at a multiple of it"},
    {"obr.blocks", PONS_KEY_I64, AT(obr.blocks), RANGE(2, 1024),
     .help = "blocks of columns rounded in turn, the remaining columns solved again after each; 2: "
             "the published halves, split at `obr.alpha`"},
    {"obr.act_order", PONS_KEY_BOOL, AT(obr.act_order), .names = booleans,
     .help = "GPTQ processes its columns by decreasing diagonal of the Hessian"},
    {"obr.solver", PONS_KEY_CHOICE, AT(obr.solver), .names = solvers,
     .help = "solver of the masked least-squares problems; `auto`: `direct` for rows that keep few "
             "columns (k^3 <= 6 d^2) and below width 300, else `dual`, `primal` above 93 % zeros"},
    {"obr.precision", PONS_KEY_CHOICE, AT(obr.precision), .names = computes,
     .help =
         "products of the `dual` and `primal` iterations; `auto`: bf16 where the processor has it"},
    {"obr.tolerance", PONS_KEY_F64, AT(obr.tolerance), RANGE(0, 1), .low_open = true,
     .help = "`dual` and `primal`: accepted excess of a row's layer error over the minimum, "
             "relative to it"},
    {"obr.target", PONS_KEY_CHOICE, AT(obr.target), .names = targets,
     .help = "what compressed weights reproduce: the dense weights, or the dense model's outputs "
             "on the inputs that the compressed model produces, unquantized or quantized"},
    {"obr.residual", PONS_KEY_BOOL, AT(obr.residual), .names = booleans,
     .help = "targets of o_proj and down_proj also correct the residual stream"},
    {"polish.sweeps", PONS_KEY_INT, AT(polish.sweeps), RANGE(0, 1000),
     .help = "passes of coordinate descent over the finished codes; stops when no code changes"},
    {"activations.bits", PONS_KEY_BITS, AT(activations.bits), RANGE(2, 8),
     .help = "bits of a linear's input; 16: not quantized"},
    {"activations.symmetric", PONS_KEY_BOOL, AT(activations.symmetric), .names = booleans,
     .help = "`false`: with zero points"},
    {"activations.group_size", PONS_KEY_I64, AT(activations.group_size), RANGE(0, MANY),
     .help = "channels that share a scale; 0: a whole token"},
    {"activations.o_proj_head_groups", PONS_KEY_BOOL, AT(activations.o_proj_head_groups),
     .names = booleans,
     .help = "o_proj input in groups of head_dim, whatever `activations.group_size` says; `false` "
             "under `flatquant`"},
    {"activations.clip_ratio", PONS_KEY_F32, AT(activations.clip_ratio), RANGE(0, 1),
     .low_open = true, .help = "factor on the range of a token"},
    {"kv.bits", PONS_KEY_BITS, AT(kv.bits), RANGE(2, 8),
     .help = "bits of keys and, unless `values.bits` is given, of values; 16: not quantized"},
    {"kv.symmetric", PONS_KEY_BOOL, AT(kv.symmetric), .names = booleans,
     .help = "`false`: with zero points"},
    {"kv.per_head", PONS_KEY_BOOL, AT(kv.per_head), .names = booleans,
     .help = "one scale per head; `false`: one per token over all heads"},
    {"kv.clip_ratio", PONS_KEY_F32, AT(kv.clip_ratio), RANGE(0, 1), .low_open = true,
     .help = "factor on the range of a head or token"},
    {"values.bits", PONS_KEY_BITS, AT(values.bits), RANGE(2, 8),
     .help = "bits of values; 16: not quantized", .follows = "kv.bits"},
    {"values.symmetric", PONS_KEY_BOOL, AT(values.symmetric), .names = booleans,
     .help = "`false`: with zero points", .follows = "kv.symmetric"},
    {"values.per_head", PONS_KEY_BOOL, AT(values.per_head), .names = booleans,
     .help = "one scale per head; `false`: one per token over all heads", .follows = "kv.per_head"},
    {"values.clip_ratio", PONS_KEY_F32, AT(values.clip_ratio), RANGE(0, 1), .low_open = true,
     .help = "factor on the range of a head or token", .follows = "kv.clip_ratio"},
    {"output.format", PONS_KEY_CHOICE, AT(output.format), .names = formats,
     .help =
         "packed codes, or every tensor dense; `dense` unless given for a method without codes"},
    {"output.dtype", PONS_KEY_CHOICE, AT(output.dtype), .names = dtypes,
     .help = "type of everything that is not quantized"},
    {"evaluate.text", PONS_KEY_TEXT, AT(evaluate.text),
     .high = sizeof((pons_recipe *)0)->evaluate.text - 1,
     .help = "text on which perplexity is measured during compression; empty: none"},
    {"evaluate.windows", PONS_KEY_I64, AT(evaluate.windows), RANGE(0, MANY),
     .help = "windows, from the start of the text; 0: as many as fit"},
    {"evaluate.length", PONS_KEY_I64, AT(evaluate.length), RANGE(2, MANY),
     .help = "tokens per window"},
    {"evaluate.join", PONS_KEY_CHOICE, AT(evaluate.join), .names = joins,
     .help = "as `calibration.join`; the published programs evaluate with `lines`"},
    {"evaluate.special", PONS_KEY_BOOL, AT(evaluate.special), .names = booleans,
     .help = "encode with the special tokens of the post-processor, such as BOS (QuaRot and "
             "FlatQuant do)"},
};
_Static_assert(sizeof pons_recipe_keys / sizeof *pons_recipe_keys == PONS_RECIPE_KEYS,
               "recipe_keys.h tells the number of keys");

const char *pons_recipe_name_of(const pons_recipe_name *names, int value)
{
    for (; names->text; names++)
        if (names->value == value) return names->text;
    return NULL;
}

const char *pons_method_name(pons_method method)
{
    const char *name = pons_recipe_name_of(methods, (int)method);
    return name ? name : "unknown";
}

const char *pons_rotation_kind_name(pons_rotation_kind kind)
{
    const char *name = pons_recipe_name_of(kinds, (int)kind);
    return name ? name : "unknown";
}

int pons_recipe_key_find(const char *name)
{
    for (int i = 0; i < PONS_RECIPE_KEYS; i++)
        if (strcmp(pons_recipe_keys[i].name, name) == 0) return i;
    return -1;
}

int pons_recipe_section_find(const char *section)
{
    size_t n = strlen(section);
    for (int i = 0; i < PONS_RECIPE_KEYS; i++)
        if (strncmp(pons_recipe_keys[i].name, section, n) == 0 &&
            pons_recipe_keys[i].name[n] == '.')
            return i;
    return -1;
}

/* Levenshtein distance of a[0..na) and b[0..nb); names are short, longer ones count as cut. */
static int edits(const char *a, size_t na, const char *b, size_t nb)
{
    enum { LONGEST = 63 };
    int row[LONGEST + 1];
    if (na > LONGEST) na = LONGEST;
    if (nb > LONGEST) nb = LONGEST;
    for (size_t j = 0; j <= nb; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

void pons_recipe_key_nearest(const char *name, char out[PONS_RECIPE_NAME_BYTES])
{
    const char *leaf = last_part(name);
    int least = INT32_MAX;
    for (int i = 0; i < PONS_RECIPE_KEYS; i++) {
        const char *known = pons_recipe_keys[i].name, *known_leaf = last_part(known);
        int section_bytes = known_leaf == known ? 0 : (int)(known_leaf - known) - 1;
        int section =
            section_bytes ? edits(name, strlen(name), known, (size_t)section_bytes) : least;
        int whole = edits(name, strlen(name), known, strlen(known));
        /* a key put into the wrong section, or into none */
        int part = 1 + edits(leaf, strlen(leaf), known_leaf, strlen(known_leaf));
        int distance = whole < part ? whole : part;
        if (distance < least) {
            least = distance;
            snprintf(out, PONS_RECIPE_NAME_BYTES, "%s", known);
        }
        if (section < least) {
            least = section;
            snprintf(out, PONS_RECIPE_NAME_BYTES, "%.*s", section_bytes, known);
        }
    }
}
