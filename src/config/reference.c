/* Owns the meaning of the published programs' options: words of a command line, which program it
 * is for, and the recipe keys that its options come to. Their names and defaults are in
 * reference_options.c. */
#include "config/reference.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "config/recipe.h"
#include "config/reference_options.h"

enum { MOST_KEYS = 40, KEY_BYTES = 1200 };

typedef struct reference {
    char **word;   /* of the command, NULL after the last */
    char **option; /* the words after the script, if there is one */
    pons_reference_program program;
    const char *given[PONS_REFERENCE_OPTIONS]; /* values as given; NULL: not given */
    char key[MOST_KEYS][KEY_BYTES];            /* "section.key=value" */
    int keys;
    bool beyond; /* the options ask for what their programs mean to do, but fail at */
} reference;

/* ---- Words and options. */

/* One word of a shell command into `out`, quotes and backslashes resolved. @return what follows. */
static const char *take_word(const char *at, char *out)
{
    char quote = 0;
    for (; *at && (quote || !isspace((unsigned char)*at)); at++) {
        if (quote ? *at == quote : *at == '"' || *at == '\'')
            quote = quote ? 0 : *at;
        else if (*at == '\\' && quote != '\'' && at[1])
            *out++ = *++at;
        else
            *out++ = *at;
    }
    *out = 0;
    return at;
}

static pons_status split(const char *command, char ***out)
{
    pons_status st = PONS_OK;
    size_t bytes = strlen(command) + 1, count = 0;
    char **word = NULL, *text = NULL;
    PONS_CALLOC(st, word, (int64_t)bytes / 2 + 2); /* words[0] holds the text of all */
    PONS_ALLOC(st, text, (int64_t)bytes);
    word[0] = text;
    for (const char *at = command;;) {
        while (isspace((unsigned char)*at) || (*at == '\\' && at[1] == '\n'))
            at++;
        if (!*at) break;
        at = take_word(at, text);
        word[count++] = text;
        text += strlen(text) + 1;
    }
    if (!count) word[0][0] = 0; /* no words: one empty one, which is no option */
    *out = word;
    return PONS_OK;
done:
    pons_mem_free(word);
    return st;
}

static int find_option(const char *name, size_t bytes)
{
    for (int i = 0; i < PONS_REFERENCE_OPTIONS; i++)
        if (!strncmp(pons_reference_options[i].name, name, bytes) &&
            !pons_reference_options[i].name[bytes])
            return i;
    return -1;
}

static bool is_option(const char *word) { return !strncmp(word, "--", 2) && word[2]; }

/* A launcher in front of the script has options of its own. */
static char **skip_script(char **word)
{
    for (char **w = word; *w; w++) {
        size_t n = strlen(*w);
        if (n >= 3 && !strcmp(*w + n - 3, ".py")) return w + 1;
    }
    while (*word && !is_option(*word))
        word++;
    return word;
}

/* The program, from its folder in the script's path, else from an option that only one has. */
static pons_status find_program(reference *r, const char *name)
{
    int found = 0;
    bool could[PONS_REFERENCES] = {true, true, true};
    for (int p = 0; p < PONS_REFERENCES; p++)
        if (name && !strcasecmp(name, pons_reference_title(p))) {
            r->program = p;
            return PONS_OK;
        }
    if (name)
        return pons_fail(PONS_ERR_USAGE,
                         "--reference: found '%s', allowed: quarot, spinquant, flatquant", name);
    for (char **w = r->word; w < r->option; w++)
        for (int p = 0; p < PONS_REFERENCES; p++)
            if (strcasestr(*w, pons_reference_title(p))) {
                r->program = p;
                return PONS_OK;
            }
    for (char **w = r->option; *w; w++) {
        if (!is_option(*w)) continue;
        int i = find_option(*w + 2, strcspn(*w + 2, "="));
        if (i < 0) return pons_fail(PONS_ERR_USAGE, "none of the programs has an option '%s'", *w);
        for (int p = 0; p < PONS_REFERENCES; p++)
            could[p] &= pons_reference_options[i].standard[p] != NULL;
    }
    for (int p = 0; p < PONS_REFERENCES; p++)
        if (could[p]) {
            r->program = p;
            found++;
        }
    if (found == 1) return PONS_OK;
    return pons_fail(PONS_ERR_USAGE,
                     "these options fit %s of the programs; choose one with --reference "
                     "quarot|spinquant|flatquant",
                     found ? "several" : "none");
}

static pons_status read_options(reference *r)
{
    for (char **w = r->option; *w;) {
        const char *word = *w++, *equals = strchr(word, '=');
        size_t bytes = strcspn(word, "=");
        int i = is_option(word) ? find_option(word + 2, bytes - 2) : -1;
        const pons_reference_option *o = i < 0 ? NULL : &pons_reference_options[i];
        if (!o || !o->standard[r->program])
            return pons_fail(PONS_ERR_USAGE, "%s has no option '%s'",
                             pons_reference_title(r->program), word);
        if (o->is_flag && equals) return pons_fail(PONS_ERR_USAGE, "'%s' takes no value", word);
        if (!o->is_flag && !equals && (!*w || is_option(*w)))
            return pons_fail(PONS_ERR_USAGE, "'%s' needs a value", word);
        r->given[i] = o->is_flag ? "on" : equals ? equals + 1 : *w++;
    }
    return PONS_OK;
}

/* ---- Values: as given, else the program's default. */

static const char *value_of(const reference *r, const char *name)
{
    int i = find_option(name, strlen(name));
    PONS_ASSERT(i >= 0);
    const char *standard = pons_reference_options[i].standard[r->program];
    return r->given[i] ? r->given[i] : standard ? standard : "";
}

static bool is_on(const reference *r, const char *name) { return *value_of(r, name) != 0; }

static pons_status number_of(const reference *r, const char *name, double *out)
{
    const char *text = value_of(r, name);
    char *end;
    *out = strtod(text, &end);
    if (end != text && !*end && isfinite(*out)) return PONS_OK;
    return pons_fail(PONS_ERR_USAGE, "--%s: found '%s', allowed: a number", name, text);
}

static void set(reference *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void set(reference *r, const char *format, ...)
{
    va_list args;
    PONS_ASSERT(r->keys < MOST_KEYS);
    va_start(args, format);
    vsnprintf(r->key[r->keys++], KEY_BYTES, format, args);
    va_end(args);
}

static void set_bool(reference *r, const char *section, const char *key, bool value)
{
    set(r, "%s.%s=%s", section, key, value ? "true" : "false");
}

static pons_status refuse(const char *name, const char *reason)
{
    return pons_fail(PONS_ERR_USAGE, "--%s: %s", name, reason);
}

/* ---- From values to keys, section by section. */

static pons_status translate_method(reference *r)
{
    pons_status st = PONS_OK;
    double n, m, alpha;
    bool rounds = is_on(r, "obr_rtn");
    PONS_TRY(st, number_of(r, "prune_n", &n));
    PONS_TRY(st, number_of(r, "prune_m", &m));
    PONS_TRY(st, number_of(r, "obr_alpha", &alpha));
    set(r, "seed=%s", value_of(r, "seed"));
    if (is_on(r, "w_asym"))
        return refuse("w_asym", "their OBR has no asymmetric weights; Pons has: weights.symmetric: "
                                "false under compat: corrected");
    if (!strcmp(value_of(r, "w_bits"), "16")) { /* then theirs neither prunes nor rounds */
        set(r, "method=none");
        set(r, "compat=faithful");
        return PONS_OK;
    }
    set(r, "method=%s", rounds ? "obr_rtn" : "obr_gptq");
    r->beyond = !rounds && alpha != 0.5;
    set(r, "compat=%s", r->beyond ? "corrected" : "faithful");
    set(r, "weights.bits=%s", value_of(r, "w_bits"));
    set(r, "weights.clip=%s", is_on(r, "w_clip") || is_on(r, "gptq_mse") ? "mse" : "none");
    if (n > 0)
        set(r, "prune.pattern=%g:%g", n, m);
    else
        set(r, "prune.sparsity=%s", value_of(r, "sparsity_ratio"));
    set(r, "obr.alpha=%s", value_of(r, "obr_alpha"));
    set(r, "obr.damping=%s", value_of(r, "percdamp"));
done:
    return st;
}

static pons_status translate_calibration(reference *r)
{
    bool flat = r->program == PONS_REFERENCE_FLATQUANT;
    const char *name = flat ? "cali_dataset" : "cal_dataset";
    if (strcmp(value_of(r, name), "wikitext2"))
        return refuse(name, "only wikitext2 has a fixed form; for another data set give its text "
                            "to pons compress --calib");
    set(r, "calibration.windows=%s", value_of(r, "nsamples"));
    set(r, "calibration.length=2048");
    set(r, "calibration.join=%s", flat ? "stripped" : "lines");
    set(r, "evaluate.windows=0");
    set(r, "evaluate.join=lines");
    set_bool(r, "evaluate", "special", r->program != PONS_REFERENCE_SPINQUANT);
    if (r->program == PONS_REFERENCE_SPINQUANT)
        set(r, "evaluate.length=%s", value_of(r, "model_max_length"));
    return PONS_OK;
}

static pons_status translate_rotation(reference *r)
{
    bool flat =
        is_on(r, "cali_trans") || is_on(r, "add_diag") || is_on(r, "lwc") || is_on(r, "lac");
    if (is_on(r, "k_pre_rope")) return refuse("k_pre_rope", "their programs refuse it");
    if (is_on(r, "separate_vtrans"))
        return refuse("separate_vtrans",
                      "the transform of the values is always folded into v_proj");
    if (r->program == PONS_REFERENCE_FLATQUANT && flat && !is_on(r, "reload_matrix"))
        return refuse(
            "reload_matrix",
            "it is missing, and Pons does not train transforms: they come from flat_matrices.pth");
    if (r->program == PONS_REFERENCE_FLATQUANT ? !flat : !is_on(r, "rotate")) {
        set(r, "rotation.kind=none");
        return PONS_OK;
    }
    if (r->program != PONS_REFERENCE_FLATQUANT) set(r, "rotation.center_embedding=true");
    if (r->program == PONS_REFERENCE_FLATQUANT) {
        set(r, "rotation.kind=flatquant");
        set(r, "rotation.file=%.1000s/flat_matrices.pth", value_of(r, "matrix_path"));
    } else if (r->program == PONS_REFERENCE_SPINQUANT) {
        set(r, "rotation.kind=spinquant");
        if (is_on(r, "optimized_rotation_path"))
            set(r, "rotation.file=%.1000s", value_of(r, "optimized_rotation_path"));
    } else {
        set(r, "rotation.kind=quarot");
        set(r, "rotation.mode=%s", value_of(r, "rotate_mode"));
    }
    return PONS_OK;
}

static pons_status translate_activations(reference *r)
{
    pons_status st = PONS_OK;
    double group;
    bool flat = r->program == PONS_REFERENCE_FLATQUANT;
    PONS_TRY(st, number_of(r, "a_groupsize", &group));
    if (flat && group > 0) return refuse("a_groupsize", "FlatQuant refuses groups of activations");
    set(r, "activations.bits=%s", value_of(r, "a_bits"));
    set_bool(r, "activations", "symmetric", !is_on(r, "a_asym"));
    set(r, "activations.group_size=%g", group > 0 ? group : 0);
    set_bool(r, "activations", "o_proj_head_groups", r->program == PONS_REFERENCE_SPINQUANT);
    if (!flat) set(r, "activations.clip_ratio=%s", value_of(r, "a_clip_ratio"));
    if (is_on(r, "int8_down_proj")) set(r, "int8_down_proj=true");
done:
    return st;
}

/* Keys under kv, values under values. @param per_head whatever their group size says */
static pons_status translate_quantizer(reference *r, const char *section, const char *which,
                                       bool per_head)
{
    pons_status st = PONS_OK;
    double group;
    char name[32];
    snprintf(name, sizeof name, "%s_groupsize", which);
    PONS_TRY(st, number_of(r, name, &group));
    set_bool(r, section, "per_head", per_head || group > 0);
    snprintf(name, sizeof name, "%s_bits", which);
    set(r, "%s.bits=%s", section, value_of(r, name));
    snprintf(name, sizeof name, "%s_asym", which);
    set_bool(r, section, "symmetric", !is_on(r, name));
    snprintf(name, sizeof name, "%s_clip_ratio", which);
    if (r->program != PONS_REFERENCE_FLATQUANT)
        set(r, "%s.clip_ratio=%s", section, value_of(r, name));
done:
    return st;
}

static pons_status translate_kv(reference *r)
{
    pons_status st = PONS_OK;
    bool flat = r->program == PONS_REFERENCE_FLATQUANT;
    if (flat && strcmp(value_of(r, "q_bits"), "16"))
        return refuse("q_bits", "queries stay at 16 bits");
    PONS_TRY(st, translate_quantizer(r, "kv", "k", flat));
    PONS_TRY(st,
             translate_quantizer(r, "values", "v", flat || r->program == PONS_REFERENCE_SPINQUANT));
done:
    return st;
}

/* The dtype of the checkpoint, which only its name tells here: f16 for Llama-2, bf16 for later ones. */
static void translate_dtype(reference *r)
{
    const char *model = value_of(r, "model"), *flag = value_of(r, "bf16");
    bool half = r->program == PONS_REFERENCE_SPINQUANT
                    ? strcasecmp(flag, "true") != 0
                    : strcasestr(model, "llama-2") || strcasestr(model, "llama2");
    set(r, "output.dtype=%s", half ? "f16" : "bf16");
    if (r->program != PONS_REFERENCE_FLATQUANT && is_on(r, "rotate"))
        set(r, "rotation.hadamard_dtype=%s", is_on(r, "fp32_had") ? "f32" : half ? "f16" : "bf16");
}

static void print_notes(const reference *r, FILE *out)
{
    fprintf(out, "# What %s does with these options.\n", pons_reference_title(r->program));
    for (int i = 0; i < PONS_REFERENCE_OPTIONS; i++) {
        const pons_reference_option *o = &pons_reference_options[i];
        if (r->given[i] && o->note) fprintf(out, "# --%s: %s\n", o->name, o->note);
    }
    int groups = find_option("w_groupsize", strlen("w_groupsize"));
    if (r->beyond)
        fputs(
            "# --obr_alpha: other values than 0.5 stop their programs unless --obr_rtn is given\n",
            out);
    if (r->given[groups]) fputs("# --w_groupsize: their OBR has one scale per row\n", out);
}

pons_status pons_reference_print(const char *command, const char *program, FILE *out)
{
    pons_status st = PONS_OK;
    reference *r = NULL;
    const char *key[MOST_KEYS];
    pons_recipe recipe;
    PONS_CALLOC(st, r, 1);
    PONS_TRY(st, split(command, &r->word));
    r->option = skip_script(r->word);
    PONS_TRY(st, find_program(r, program));
    PONS_TRY(st, read_options(r));
    PONS_TRY(st, translate_method(r));
    PONS_TRY(st, translate_calibration(r));
    PONS_TRY(st, translate_rotation(r));
    PONS_TRY(st, translate_activations(r));
    PONS_TRY(st, translate_kv(r));
    translate_dtype(r);
    for (int i = 0; i < r->keys; i++)
        key[i] = r->key[i];
    PONS_TRY(st, pons_recipe_load(NULL, key, r->keys, &recipe));
    print_notes(r, out);
    PONS_TRY(st, pons_recipe_print(&recipe, out));
done:
    if (r && r->word) pons_mem_free(r->word[0]);
    if (r) pons_mem_free(r->word);
    pons_mem_free(r);
    return st;
}
