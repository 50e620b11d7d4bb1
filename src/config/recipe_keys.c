/* Owns the table of keys and the conversion of one value between text and struct. Knows nothing of
 * files, lines or of which keys go together. */
#include "config/recipe_keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const pons_recipe_name booleans[] = {{"false", 0}, {"true", 1}, {0}};
static const pons_recipe_name clips[] = {{"none", 0}, {"mse", 1}, {0}};
static const pons_recipe_name keeps[] = {{"discard", 0}, {"keep", 1}, {0}};
static const pons_recipe_name methods[] = {{"none", PONS_METHOD_NONE},
                                           {"rtn", PONS_METHOD_RTN},
                                           {"gptq", PONS_METHOD_GPTQ},
                                           {"wanda", PONS_METHOD_WANDA},
                                           {"wanda_rtn", PONS_METHOD_WANDA_RTN},
                                           {"sparsegpt_gptq", PONS_METHOD_SPARSEGPT_GPTQ},
                                           {"obr_rtn", PONS_METHOD_OBR_RTN},
                                           {"obr_gptq", PONS_METHOD_OBR_GPTQ},
                                           {0}};
static const pons_recipe_name compats[] = {
    {"corrected", PONS_COMPAT_CORRECTED}, {"faithful", PONS_COMPAT_FAITHFUL}, {0}};
static const pons_recipe_name computes[] = {
    {"auto", PONS_COMPUTE_AUTO}, {"fp32", PONS_COMPUTE_FP32}, {"bf16", PONS_COMPUTE_BF16}, {0}};
static const pons_recipe_name kinds[] = {{"none", PONS_ROTATION_NONE},
                                         {"quarot", PONS_ROTATION_QUAROT},
                                         {"spinquant", PONS_ROTATION_SPINQUANT},
                                         {0}};
static const pons_recipe_name modes[] = {
    {"hadamard", PONS_ROTATE_HADAMARD}, {"random", PONS_ROTATE_RANDOM}, {0}};
static const pons_recipe_name solvers[] = {
    {"auto", PONS_SOLVER_AUTO}, {"direct", PONS_SOLVER_DIRECT}, {"dual", PONS_SOLVER_DUAL}, {0}};
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
    {"seed", PONS_KEY_U32, AT(seed), RANGE(0, 4294967295.0),
     .help = "draws the calibration windows and, without rotation.seed, the rotation signs"},
    {"method", PONS_KEY_CHOICE, AT(method), .names = methods,
     .help = "what is done to each linear"},
    {"compat", PONS_KEY_CHOICE, AT(compat), .names = compats,
     .help = "faithful keeps the quirks of the published code"},
    {"compute", PONS_KEY_CHOICE, AT(compute), .names = computes,
     .help = "matrix products of the forward pass; auto takes bf16 where the processor has it"},
    {"int8_down_proj", PONS_KEY_INT8, AT(weights.down_proj_bits), .names = booleans,
     .help = "8 bits for the weights and inputs of down_proj"},
    {"hessians", PONS_KEY_BOOL, AT(keep_hessians), .names = keeps,
     .help = "write the Hessians of every block to the run directory"},
    {"calibration.windows", PONS_KEY_I64, AT(calibration.windows), RANGE(1, MANY),
     .help = "calibration sequences"},
    {"calibration.length", PONS_KEY_I64, AT(calibration.length), RANGE(1, MANY),
     .help = "tokens of each"},
    {"rotation.kind", PONS_KEY_CHOICE, AT(rotation.kind), .names = kinds,
     .help = "where rotations are placed"},
    {"rotation.mode", PONS_KEY_CHOICE, AT(rotation.mode), .names = modes,
     .help = "random Hadamard or random orthogonal matrix (quarot only)"},
    {"rotation.online", PONS_KEY_BOOL, AT(rotation.online), .names = booleans,
     .help = "transforms inside the forward pass too; false: the output is a standard model"},
    {"rotation.center_embedding", PONS_KEY_BOOL, AT(rotation.center_embedding), .names = booleans,
     .help = "subtract the mean of each embedding row; true unless given under compat: faithful"},
    {"rotation.seed", PONS_KEY_U32, AT(rotation.seed), RANGE(0, 4294967295.0),
     .help = "draws the rotation; as seed unless given"},
    {"weights.bits", PONS_KEY_INT, AT(weights.bits), RANGE(2, 8), .help = "bits of a weight"},
    {"weights.symmetric", PONS_KEY_BOOL, AT(weights.symmetric), .names = booleans,
     .help = "false: with zero points"},
    {"weights.group_size", PONS_KEY_I64, AT(weights.group_size), RANGE(0, MANY),
     .help = "columns that share a scale; 0: a whole row"},
    {"weights.clip", PONS_KEY_BOOL, AT(weights.mse_clip), .names = clips,
     .help = "mse: shrink each scale to the smallest error"},
    {"prune.sparsity", PONS_KEY_F64, AT(prune.sparsity), RANGE(0, 1), .high_open = true,
     .help = "share of each row set to zero; n/m under a pattern"},
    {"prune.pattern", PONS_KEY_PATTERN, AT(prune.n),
     .help = "\"N:M\": N of every M consecutive columns are set to zero (not kept)"},
    {"obr.alpha", PONS_KEY_F64, AT(obr.alpha), RANGE(0, 1), .low_open = true,
     .help = "share of columns whose rounding error moves to the others"},
    {"obr.damping", PONS_KEY_F64, AT(obr.damping), RANGE(0, 1),
     .help = "added to the Hessian's diagonal, as a share of its mean"},
    {"obr.block", PONS_KEY_I64, AT(obr.block), RANGE(1, MANY), .help = "columns of a GPTQ block"},
    {"obr.solver", PONS_KEY_CHOICE, AT(obr.solver), .names = solvers,
     .help = "of the masked least-squares problems"},
    {"activations.bits", PONS_KEY_BITS, AT(activations.bits), RANGE(2, 8),
     .help = "bits of a linear's input; 16: not quantized"},
    {"activations.symmetric", PONS_KEY_BOOL, AT(activations.symmetric), .names = booleans,
     .help = "false: with zero points"},
    {"activations.group_size", PONS_KEY_I64, AT(activations.group_size), RANGE(0, MANY),
     .help = "channels that share a scale; 0: a whole token"},
    {"activations.o_proj_head_groups", PONS_KEY_BOOL, AT(activations.o_proj_head_groups),
     .names = booleans, .help = "o_proj input in groups of head_dim whatever group_size says"},
    {"activations.clip_ratio", PONS_KEY_F32, AT(activations.clip_ratio), RANGE(0, 1),
     .low_open = true, .help = "of the range of a token"},
    {"kv.bits", PONS_KEY_BITS, AT(kv.bits), RANGE(2, 8),
     .help = "bits of keys and values; 16: not quantized"},
    {"kv.symmetric", PONS_KEY_BOOL, AT(kv.symmetric), .names = booleans,
     .help = "false: with zero points"},
    {"kv.per_head", PONS_KEY_BOOL, AT(kv.per_head), .names = booleans,
     .help = "a scale per head; false: one per token over all heads"},
    {"kv.clip_ratio", PONS_KEY_F32, AT(kv.clip_ratio), RANGE(0, 1), .low_open = true,
     .help = "of the range of a head or token"},
    {"output.format", PONS_KEY_CHOICE, AT(output.format), .names = formats,
     .help = "packed codes, or every tensor dense; dense unless given where there are no codes"},
    {"output.dtype", PONS_KEY_CHOICE, AT(output.dtype), .names = dtypes,
     .help = "of everything that is not quantized"},
    {"evaluate.text", PONS_KEY_TEXT, AT(evaluate.text),
     .high = sizeof((pons_recipe *)0)->evaluate.text - 1,
     .help = "perplexity on this text while compressing; \"\": none"},
    {"evaluate.windows", PONS_KEY_I64, AT(evaluate.windows), RANGE(0, MANY),
     .help = "windows from the start of the text; 0: as many as fit"},
    {"evaluate.length", PONS_KEY_I64, AT(evaluate.length), RANGE(2, MANY),
     .help = "tokens of each"},
};
_Static_assert(sizeof pons_recipe_keys / sizeof *pons_recipe_keys == PONS_RECIPE_KEYS,
               "recipe_keys.h tells the number of keys");

static const char *name_of(const pons_recipe_name *names, int value)
{
    for (; names->text; names++)
        if (names->value == value) return names->text;
    return NULL;
}

const char *pons_method_name(pons_method method)
{
    const char *name = name_of(methods, (int)method);
    return name ? name : "unknown";
}

const char *pons_rotation_kind_name(pons_rotation_kind kind)
{
    const char *name = name_of(kinds, (int)kind);
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

/* Decimal digits with an optional minus, nothing else. */
static bool parse_integer(const char *text, double low, double high, int64_t *out)
{
    const char *digits = text + (*text == '-');
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 15 || digits[n]) return false;
    if (*digits == '0' && n > 1) return false; /* octal to some, decimal to others */
    int64_t value = strtoll(text, NULL, 10);
    if ((double)value < low || (double)value > high) return false;
    *out = value;
    return true;
}

/* A decimal number; no hexadecimal, nan, inf or blanks, which strtod would take. */
static bool parse_real(const pons_recipe_key *key, const char *text, double *out)
{
    if (!*text || text[strspn(text, "+-.0123456789eE")]) return false;
    char *end;
    double value = strtod(text, &end);
    if (*end || !isfinite(value)) return false;
    if (value < key->low || (key->low_open && value == key->low)) return false;
    if (value > key->high || (key->high_open && value == key->high)) return false;
    *out = value;
    return true;
}

static bool parse_name(const pons_recipe_name *names, const char *text, int *out)
{
    for (; names->text; names++)
        if (strcmp(names->text, text) == 0) {
            *out = names->value;
            return true;
        }
    return false;
}

static bool parse_pattern(const char *text, pons_recipe *recipe)
{
    if (strcmp(text, "unstructured") == 0) {
        recipe->prune.n = recipe->prune.m = 0;
        return true;
    }
    const char *colon = strchr(text, ':');
    char left[8];
    int64_t n, m;
    if (!colon || (size_t)(colon - text) >= sizeof left) return false;
    memcpy(left, text, (size_t)(colon - text));
    left[colon - text] = 0;
    if (!parse_integer(left, 1, 1023, &n) || !parse_integer(colon + 1, 2, 1024, &m) || n >= m)
        return false;
    recipe->prune.n = (int)n;
    recipe->prune.m = (int)m;
    return true;
}

/* Whether text is UTF-8 without control characters and line breaks, so that it fits on one line of
 * YAML and of a message. */
static bool is_one_line(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    while (*c) {
        int more = *c < 0x80 ? 0 : *c >> 5 == 6 ? 1 : *c >> 4 == 14 ? 2 : *c >> 3 == 30 ? 3 : -1;
        if (more < 0) return false;
        static const uint32_t least[] = {0x20, 0x80, 0x800, 0x10000};
        uint32_t code = more == 0 ? *c : *c & (0x3fu >> more);
        c++;
        for (int i = 0; i < more; i++, c++) {
            if (*c >> 6 != 2) return false;
            code = code << 6 | (*c & 0x3f);
        }
        if (code < least[more] || code > 0x10ffff) return false;
        if ((code >= 0x7f && code < 0xa0) || (code >= 0xd800 && code < 0xe000)) return false;
        if (code == 0x2028 || code == 0x2029 || code == 0xfeff || (code & 0xfffe) == 0xfffe)
            return false;
    }
    return true;
}

bool pons_recipe_key_parse(const pons_recipe_key *key, const char *text, bool quoted,
                           pons_recipe *recipe)
{
    void *field = (char *)recipe + key->offset;
    bool is_word = key->kind == PONS_KEY_CHOICE || key->kind == PONS_KEY_PATTERN ||
                   key->kind == PONS_KEY_TEXT ||
                   (key->kind == PONS_KEY_BOOL && key->names != booleans);
    if (quoted && !is_word) return false;
    int64_t integer;
    double real;
    int value;
    switch (key->kind) {
    case PONS_KEY_BITS:
        if (strcmp(text, "16") == 0) {
            *(int *)field = 16;
            return true;
        } /* fall through */
    case PONS_KEY_INT:
        if (!parse_integer(text, key->low, key->high, &integer)) return false;
        *(int *)field = (int)integer;
        return true;
    case PONS_KEY_I64:
        if (!parse_integer(text, key->low, key->high, &integer)) return false;
        *(int64_t *)field = integer;
        return true;
    case PONS_KEY_U32:
        if (!parse_integer(text, key->low, key->high, &integer)) return false;
        *(uint32_t *)field = (uint32_t)integer;
        return true;
    case PONS_KEY_F32:
        if (!parse_real(key, text, &real) || (key->low_open && (float)real <= (float)key->low))
            return false;
        *(float *)field = (float)real;
        return true;
    case PONS_KEY_F64: return parse_real(key, text, field);
    case PONS_KEY_BOOL:
        if (!parse_name(key->names, text, &value)) return false;
        *(bool *)field = value;
        return true;
    case PONS_KEY_CHOICE: return parse_name(key->names, text, field);
    case PONS_KEY_PATTERN: return parse_pattern(text, recipe);
    case PONS_KEY_INT8:
        if (!parse_name(key->names, text, &value)) return false;
        recipe->weights.down_proj_bits = recipe->activations.down_proj_bits = value ? 8 : 0;
        return true;
    case PONS_KEY_TEXT:
        if (strlen(text) > (size_t)key->high || !is_one_line(text)) return false;
        memset(field, 0, (size_t)key->high + 1); /* equal recipes are equal bytes */
        memcpy(field, text, strlen(text));
        return true;
    }
    return false;
}

/* Fewest digits that read back to the same number. */
static void format_real(double value, bool single, char *out)
{
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(out, PONS_RECIPE_VALUE_BYTES, "%.*g", digits, value);
        double back = strtod(out, NULL);
        if (single ? (float)back == (float)value : back == value) return;
    }
}

static void format_name(const pons_recipe_name *names, int value, char *out)
{
    const char *name = name_of(names, value);
    if (name)
        snprintf(out, PONS_RECIPE_VALUE_BYTES, "%s", name);
    else
        snprintf(out, PONS_RECIPE_VALUE_BYTES, "number %d", value);
}

void pons_recipe_key_format(const pons_recipe_key *key, const pons_recipe *recipe,
                            char out[PONS_RECIPE_VALUE_BYTES])
{
    const void *field = (const char *)recipe + key->offset;
    size_t size = PONS_RECIPE_VALUE_BYTES;
    switch (key->kind) {
    case PONS_KEY_BITS: /* fall through */
    case PONS_KEY_INT: snprintf(out, size, "%d", *(const int *)field); break;
    case PONS_KEY_I64: snprintf(out, size, "%lld", (long long)*(const int64_t *)field); break;
    case PONS_KEY_U32: snprintf(out, size, "%lu", (unsigned long)*(const uint32_t *)field); break;
    case PONS_KEY_F32: format_real(*(const float *)field, true, out); break;
    case PONS_KEY_F64: format_real(*(const double *)field, false, out); break;
    case PONS_KEY_BOOL: format_name(key->names, *(const bool *)field, out); break;
    case PONS_KEY_CHOICE: format_name(key->names, *(const int *)field, out); break;
    case PONS_KEY_PATTERN:
        if (recipe->prune.n == 0 && recipe->prune.m == 0)
            snprintf(out, size, "unstructured");
        else
            snprintf(out, size, "%d:%d", recipe->prune.n, recipe->prune.m);
        break;
    case PONS_KEY_INT8: {
        int w = recipe->weights.down_proj_bits, a = recipe->activations.down_proj_bits;
        if (w == a && (w == 0 || w == 8))
            snprintf(out, size, "%s", w ? "true" : "false");
        else
            snprintf(out, size, "%d bits for weights and %d for activations", w, a);
        break;
    }
    case PONS_KEY_TEXT: snprintf(out, size, "%.*s", (int)key->high + 1, (const char *)field); break;
    }
}

void pons_recipe_key_allowed(const pons_recipe_key *key, char out[PONS_RECIPE_ALLOWED_BYTES])
{
    size_t size = PONS_RECIPE_ALLOWED_BYTES, used = 0;
    switch (key->kind) {
    case PONS_KEY_INT: /* fall through */
    case PONS_KEY_I64: /* fall through */
    case PONS_KEY_U32: snprintf(out, size, "an integer %.0f..%.0f", key->low, key->high); break;
    case PONS_KEY_BITS:
        snprintf(out, size, "an integer %.0f..%.0f, or 16", key->low, key->high);
        break;
    case PONS_KEY_F32: /* fall through */
    case PONS_KEY_F64:
        snprintf(out, size, "a number %g %s x %s %g", key->low,
                 key->low_open ? "<" : "<=", key->high_open ? "<" : "<=", key->high);
        break;
    case PONS_KEY_BOOL:   /* fall through */
    case PONS_KEY_CHOICE: /* fall through */
    case PONS_KEY_INT8:
        out[0] = 0;
        for (const pons_recipe_name *name = key->names; name->text; name++)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", name->text);
        break;
    case PONS_KEY_PATTERN:
        snprintf(out, size,
                 "unstructured, or N:M with 1 <= N < M <= 1024 (N of every M are pruned)");
        break;
    case PONS_KEY_TEXT:
        snprintf(out, size, "at most %.0f bytes of UTF-8 on one line", key->high);
        break;
    }
}
