/* Owns the rules about keys that do not go together, and the wording of refusals. */
#include "config/recipe_source.h"

#include <math.h>
#include <string.h>

static const pons_recipe_origin *origin_of(const pons_recipe_source *source, const char *name)
{
    int key = pons_recipe_key_find(name);
    PONS_ASSERT(key >= 0);
    return &source->key[key];
}

bool pons_recipe_given(const pons_recipe_source *source, const char *name)
{
    const pons_recipe_origin *o = origin_of(source, name);
    return o->line > 0 || o->set > 0;
}

pons_status pons_recipe_refuse(const pons_recipe_source *source, const char *name,
                               const char *other, const char *found, const char *allowed)
{
    const char *place = pons_recipe_given(source, name) || !other ? name : other;
    const pons_recipe_origin *o = origin_of(source, place);
    const char *file = source->file ? source->file : "recipe";
    if (o->set)
        return pons_fail(PONS_ERR_CONFIG, "--set %.200s: %s: found %.80s, allowed: %s",
                         source->set[o->set - 1], name, found, allowed);
    if (o->line)
        return pons_fail(PONS_ERR_CONFIG, "%s:%d: %s: found %.80s, allowed: %s", file, o->line,
                         name, found, allowed);
    return pons_fail(PONS_ERR_CONFIG, "%s: %s: found %.80s, allowed: %s", file, name, found,
                     allowed);
}

pons_status pons_recipe_refuse_unknown(const char *where, const char *name)
{
    if (pons_recipe_section_find(name) >= 0)
        return pons_fail(PONS_ERR_CONFIG, "%s: found the section %s without a key, allowed: %s.KEY",
                         where, name, name);
    char nearest[PONS_RECIPE_NAME_BYTES];
    pons_recipe_key_nearest(name, nearest);
    return pons_fail(PONS_ERR_CONFIG,
                     "%s: found the unknown key %.80s; the nearest known one is %s", where, name,
                     nearest);
}

bool pons_recipe_is_unused(const pons_recipe *r, const char *name)
{
    bool quantizes = pons_method_quantizes(r->method);
    if (strcmp(name, "prune.sparsity") == 0)
        return !pons_method_prunes(r->method) && r->prune.sparsity > 0;
    if (strcmp(name, "prune.pattern") == 0) return !pons_method_prunes(r->method) && r->prune.n > 0;
    if (strcmp(name, "prune.mask") == 0)
        return !pons_method_takes_mask(r->method) && r->prune.mask != PONS_MASK_WANDA;
    if (strcmp(name, "weights.scale_from") == 0)
        return !pons_method_compensates(r->method) && r->scale_from != PONS_SCALE_DENSE;
    if (strcmp(name, "weights.refit") == 0)
        return !pons_method_polishes(r->method) && r->refit != PONS_REFIT_NONE;
    if (strcmp(name, "obr.blocks") == 0)
        return r->method != PONS_METHOD_OBR_GPTQ && r->obr.blocks > 2;
    if (strcmp(name, "obr.act_order") == 0)
        return !pons_method_sweeps(r->method) && r->obr.act_order;
    if (strcmp(name, "polish.sweeps") == 0)
        return !pons_method_polishes(r->method) && r->polish.sweeps > 0;
    if (strcmp(name, "prune.allocate") == 0)
        return !pons_method_prunes(r->method) && r->prune.allocate != PONS_ALLOCATE_UNIFORM;
    if (strcmp(name, "prune.spread") == 0) return r->prune.allocate == PONS_ALLOCATE_UNIFORM;
    if (strcmp(name, "weights.allocate_bits") == 0)
        return !quantizes || r->prune.allocate == PONS_ALLOCATE_UNIFORM;
    if (strncmp(name, "weights.", 8) == 0) return !quantizes;
    if (strcmp(name, "obr.target") == 0)
        return !pons_method_needs_hessian(r->method) && r->obr.target != PONS_TARGET_DENSE;
    if (strcmp(name, "obr.residual") == 0)
        return !pons_method_needs_hessian(r->method) && r->obr.residual;
    if (strcmp(name, "calibration.holdout") == 0)
        return !pons_method_needs_hessian(r->method) && r->calibration.holdout > 0;
    if (strcmp(name, "output.format") == 0)
        return !quantizes && r->output.format == PONS_OUTPUT_PACK_QUANTIZED;
    if (strcmp(name, "rotation.seed") == 0) return r->rotation.file[0] != 0;
    if (strcmp(name, "rotation.tolerance") == 0) return r->rotation.file[0] == 0;
    if (strncmp(name, "rotation.learn_", 15) == 0) return !r->rotation.learn;
    return false;
}

/* Every field within its own bounds: read back what would be printed. */
static pons_status check_ranges(const pons_recipe *recipe, const pons_recipe_source *source)
{
    pons_recipe scratch = *recipe;
    char value[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    for (int i = 0; i < PONS_RECIPE_KEYS; i++) {
        const pons_recipe_key *key = &pons_recipe_keys[i];
        pons_recipe_key_format(key, recipe, value);
        if (pons_recipe_key_parse(key, value, false, &scratch)) continue;
        pons_recipe_key_allowed(key, allowed);
        return pons_recipe_refuse(source, key->name, NULL, value, allowed);
    }
    return PONS_OK;
}

/* Keys of stages that only some methods have: what a method without the stage does not do. */
static const char *missing_stage(const char *name)
{
    if (!strcmp(name, "prune.mask")) return "take a mask";
    if (!strcmp(name, "weights.scale_from")) return "compensate";
    if (!strcmp(name, "weights.refit") || !strcmp(name, "polish.sweeps")) return "polish codes";
    if (!strcmp(name, "obr.blocks")) return "round block by block";
    if (!strcmp(name, "obr.act_order")) return "sweep over columns";
    return NULL;
}

/* Why a setting without effect is refused, and the key that is the reason. @param usual the default of the key */
static const char *unused_because(const pons_recipe *recipe, const char *name, const char *usual,
                                  char allowed[PONS_RECIPE_ALLOWED_BYTES])
{
    const char *method = pons_method_name(recipe->method), *stage = missing_stage(name);
    if (strncmp(name, "rotation.learn_", 15) == 0) {
        snprintf(allowed, PONS_RECIPE_ALLOWED_BYTES, "no value without rotation.learn");
        return "rotation.learn";
    }
    if (strncmp(name, "rotation.", 9) == 0) {
        snprintf(allowed, PONS_RECIPE_ALLOWED_BYTES, "no value %s rotation.file",
                 recipe->rotation.file[0] ? "with" : "without");
        return "rotation.file";
    }
    if (strcmp(name, "prune.spread") == 0 ||
        (strcmp(name, "weights.allocate_bits") == 0 && pons_method_quantizes(recipe->method))) {
        snprintf(allowed, PONS_RECIPE_ALLOWED_BYTES, "no value with prune.allocate uniform");
        return "prune.allocate";
    }
    if (strcmp(name, "output.format") == 0)
        snprintf(allowed, PONS_RECIPE_ALLOWED_BYTES, "dense (method %s makes no codes to pack)",
                 method);
    else if (stage)
        snprintf(allowed, PONS_RECIPE_ALLOWED_BYTES, "%.60s (method %s does not %s)", usual, method,
                 stage);
    else
        snprintf(allowed, PONS_RECIPE_ALLOWED_BYTES, "no value (method %s does not %s)", method,
                 strncmp(name, "prune.", 6) == 0     ? "prune"
                 : strncmp(name, "weights.", 8) == 0 ? "quantize weights"
                                                     : "calibrate");
    return "method";
}

/* Settings of a stage that the recipe does not have. */
static pons_status check_unused(const pons_recipe *recipe, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES], usual[PONS_RECIPE_VALUE_BYTES];
    char allowed[PONS_RECIPE_ALLOWED_BYTES];
    pons_recipe standard;
    pons_recipe_default(&standard);
    for (int i = 0; i < PONS_RECIPE_KEYS; i++) {
        const pons_recipe_key *key = &pons_recipe_keys[i];
        if (!pons_recipe_is_unused(recipe, key->name)) continue;
        pons_recipe_key_format(key, recipe, value);
        pons_recipe_key_format(key, &standard, usual);
        bool is_format = strcmp(key->name, "output.format") == 0;
        if (!is_format && !pons_recipe_given(source, key->name) && strcmp(value, usual) == 0)
            continue;
        const char *other = unused_because(recipe, key->name, usual, allowed);
        return pons_recipe_refuse(source, key->name, other, value, allowed);
    }
    return PONS_OK;
}

static pons_status check_faithful(const pons_recipe *r, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    if (r->compat != PONS_COMPAT_FAITHFUL) return PONS_OK;
    if (r->obr.target != PONS_TARGET_DENSE)
        return pons_recipe_refuse(source, "obr.target", "compat",
                                  r->obr.target == PONS_TARGET_COMPENSATED_INPUTS
                                      ? "compensated_inputs"
                                      : "quantized_inputs",
                                  "dense under compat: faithful");
    if (r->prune.allocate != PONS_ALLOCATE_UNIFORM)
        return pons_recipe_refuse(source, "prune.allocate", "compat", "budget",
                                  "uniform under compat: faithful");
    if (!r->weights.symmetric)
        return pons_recipe_refuse(source, "weights.symmetric", "compat", "false",
                                  "true under compat: faithful");
    if (r->weights.group_size != 0) {
        snprintf(value, sizeof value, "%lld", (long long)r->weights.group_size);
        return pons_recipe_refuse(source, "weights.group_size", "compat", value,
                                  "0 under compat: faithful");
    }
    static const char *const extensions[] = {"prune.mask", "weights.scale_from", "weights.refit",
                                             "obr.blocks", "polish.sweeps"};
    pons_recipe standard;
    pons_recipe_default(&standard);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        const pons_recipe_key *key = &pons_recipe_keys[pons_recipe_key_find(extensions[i])];
        char usual[PONS_RECIPE_VALUE_BYTES];
        pons_recipe_key_format(key, r, value);
        pons_recipe_key_format(key, &standard, usual);
        if (strcmp(value, usual) != 0) {
            snprintf(allowed, sizeof allowed, "%.100s under compat: faithful", usual);
            return pons_recipe_refuse(source, extensions[i], "compat", value, allowed);
        }
    }
    if (r->obr.act_order && r->method != PONS_METHOD_GPTQ) {
        snprintf(allowed, sizeof allowed, "false under compat: faithful with method %s",
                 pons_method_name(r->method));
        return pons_recipe_refuse(source, "obr.act_order", "compat", "true", allowed);
    }
    if (r->method == PONS_METHOD_OBR_GPTQ && r->obr.alpha != 0.5) {
        snprintf(value, sizeof value, "%g", r->obr.alpha);
        return pons_recipe_refuse(source, "obr.alpha", "compat", value,
                                  "0.5 under compat: faithful with method obr_gptq");
    }
    return PONS_OK;
}

static pons_status check_learn(const pons_recipe *r, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    if (!r->rotation.learn) return PONS_OK;
    if (r->rotation.kind != PONS_ROTATION_SPINQUANT) {
        snprintf(allowed, sizeof allowed, "false with rotation.kind %s",
                 pons_rotation_kind_name(r->rotation.kind));
        return pons_recipe_refuse(source, "rotation.learn", "rotation.kind", "true", allowed);
    }
    if (r->rotation.file[0])
        return pons_recipe_refuse(source, "rotation.learn", "rotation.file", "true",
                                  "false with rotation.file");
    if (r->rotation.learn_windows > r->calibration.windows) {
        snprintf(value, sizeof value, "%lld", (long long)r->rotation.learn_windows);
        snprintf(allowed, sizeof allowed, "at most calibration.windows, %lld",
                 (long long)r->calibration.windows);
        return pons_recipe_refuse(source, "rotation.learn_windows", "calibration.windows", value,
                                  allowed);
    }
    return PONS_OK;
}

/* Widths around the mean that they are to have, so that every sparsity of the whole can be met. */
static pons_status check_widths(const pons_recipe *r, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    if (r->allocate_bits == 0) return PONS_OK;
    if (r->weights.down_proj_bits)
        return pons_recipe_refuse(source, "weights.allocate_bits", "int8_down_proj", "a list",
                                  "none with int8_down_proj");
    if (r->allocate_bits >> r->weights.bits && r->allocate_bits & ((2 << r->weights.bits) - 1))
        return PONS_OK;
    pons_recipe_key_format(&pons_recipe_keys[pons_recipe_key_find("weights.allocate_bits")], r,
                           value);
    snprintf(allowed, sizeof allowed, "none, or some up to and some from weights.bits, %d",
             r->weights.bits);
    return pons_recipe_refuse(source, "weights.allocate_bits", "weights.bits", value, allowed);
}

/* Room for the budget to move in. */
static pons_status check_allocate(const pons_recipe *r, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    if (r->prune.allocate == PONS_ALLOCATE_UNIFORM) return PONS_OK;
    if (r->prune.n > 0)
        return pons_recipe_refuse(source, "prune.allocate", "prune.pattern", "budget",
                                  "uniform with an n:m prune.pattern");
    if (r->rotation.kind == PONS_ROTATION_FLATQUANT)
        return pons_recipe_refuse(source, "prune.allocate", "rotation.kind", "budget",
                                  "uniform with rotation.kind flatquant");
    double room = fmin(r->prune.sparsity, 0.99 - r->prune.sparsity);
    if (r->prune.spread <= room) return check_widths(r, source);
    snprintf(value, sizeof value, "%g", r->prune.spread);
    snprintf(allowed, sizeof allowed, "at most %g with prune.sparsity %g", fmax(room, 0),
             r->prune.sparsity);
    return pons_recipe_refuse(source, "prune.spread", "prune.sparsity", value, allowed);
}

/* Keys of targets without targets, and inputs that nothing quantizes. */
static pons_status check_target(const pons_recipe *r, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES];
    if (r->obr.target == PONS_TARGET_DENSE && r->obr.residual)
        return pons_recipe_refuse(source, "obr.residual", "obr.target", "true",
                                  "false with obr.target dense");
    if (r->obr.target == PONS_TARGET_DENSE && r->calibration.holdout > 0) {
        snprintf(value, sizeof value, "%lld", (long long)r->calibration.holdout);
        return pons_recipe_refuse(source, "calibration.holdout", "obr.target", value,
                                  "0 with obr.target dense");
    }
    if (r->obr.target == PONS_TARGET_QUANTIZED_INPUTS && r->activations.bits == 16 &&
        r->activations.down_proj_bits == 0 && r->kv.bits == 16 && r->values.bits == 16)
        return pons_recipe_refuse(source, "obr.target", "activations.bits", "quantized_inputs",
                                  "dense or compensated_inputs where activations and kv have 16 "
                                  "bits");
    return PONS_OK;
}

/* FlatQuant's transforms come from its file and act online; activations are clipped by what it
 * learned, per token; keys and values per head. */
static pons_status check_flatquant(const pons_recipe *r, const pons_recipe_source *source)
{
    const struct {
        const char *key, *found, *allowed;
        bool bad;
    } rules[] = {
        {"rotation.file", "nothing", "flat_matrices.pth with rotation.kind flatquant",
         !r->rotation.file[0]},
        {"rotation.online", "false", "true with rotation.kind flatquant", !r->rotation.online},
        {"rotation.learn", "true", "false with rotation.kind flatquant", r->rotation.learn},
        {"activations.group_size", "groups", "0 with rotation.kind flatquant",
         r->activations.group_size != 0},
        {"activations.o_proj_head_groups", "true", "false with rotation.kind flatquant",
         r->activations.o_proj_head_groups},
        {"activations.clip_ratio", "a ratio",
         "1 with rotation.kind flatquant, which has learned it", r->activations.clip_ratio != 1},
        {"obr.target", "a target", "dense with rotation.kind flatquant",
         r->obr.target != PONS_TARGET_DENSE},
        {"kv.per_head", "false", "true with rotation.kind flatquant", !r->kv.per_head},
        {"kv.clip_ratio", "a ratio", "1 with rotation.kind flatquant, which has learned it",
         r->kv.clip_ratio != 1},
        {"values.per_head", "false", "true with rotation.kind flatquant", !r->values.per_head},
        {"values.clip_ratio", "a ratio", "1 with rotation.kind flatquant, which has learned it",
         r->values.clip_ratio != 1}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].bad)
            return pons_recipe_refuse(source, rules[i].key, "rotation.kind", rules[i].found,
                                      rules[i].allowed);
    return PONS_OK;
}

static pons_status check_rotation(const pons_recipe *r, const pons_recipe_source *source)
{
    char allowed[PONS_RECIPE_ALLOWED_BYTES];
    if (r->rotation.mode == PONS_ROTATE_RANDOM && r->rotation.kind != PONS_ROTATION_QUAROT) {
        snprintf(allowed, sizeof allowed, "hadamard with rotation.kind %s",
                 pons_rotation_kind_name(r->rotation.kind));
        return pons_recipe_refuse(source, "rotation.mode", "rotation.kind", "random", allowed);
    }
    if (r->rotation.center_embedding && !pons_rotation_kind_folds(r->rotation.kind)) {
        snprintf(allowed, sizeof allowed, "false with rotation.kind %s",
                 pons_rotation_kind_name(r->rotation.kind));
        return pons_recipe_refuse(source, "rotation.center_embedding", "rotation.kind", "true",
                                  allowed);
    }
    bool hadamards = r->rotation.online && pons_rotation_kind_folds(r->rotation.kind);
    if (r->rotation.hadamard_dtype != PONS_DTYPE_F32 && !hadamards)
        return pons_recipe_refuse(source, "rotation.hadamard_dtype",
                                  r->rotation.online ? "rotation.kind" : "rotation.online",
                                  "a half type", "f32 without online Hadamards");
    if (r->rotation.kind == PONS_ROTATION_FLATQUANT) return check_flatquant(r, source);
    if (r->rotation.file[0] && r->rotation.kind != PONS_ROTATION_SPINQUANT) {
        snprintf(allowed, sizeof allowed, "no value with rotation.kind %s",
                 pons_rotation_kind_name(r->rotation.kind));
        return pons_recipe_refuse(source, "rotation.file", "rotation.kind", r->rotation.file,
                                  allowed);
    }
    return check_learn(r, source);
}

static pons_status check_wave(const pons_recipe *r, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES];
    const char *layout = r->layout.teams ? "layout.teams" : "layout.ranks_per_team";
    if (r->wave == 1 && (r->layout.teams > 1 || r->layout.ranks_per_team > 0)) {
        snprintf(value, sizeof value, "%lld",
                 (long long)(r->layout.teams ? r->layout.teams : r->layout.ranks_per_team));
        return pons_recipe_refuse(source, layout, "wave", value,
                                  "no value with wave 1: all ranks are one team");
    }
    if (r->wave == 1) return PONS_OK;
    if (!pons_method_needs_hessian(r->method)) {
        snprintf(value, sizeof value, "%lld", (long long)r->wave);
        return pons_recipe_refuse(source, "wave", "method", value,
                                  "1 with a method that needs no Hessian: none of its results "
                                  "depends on activations");
    }
    if (!r->coordinator_works)
        return pons_recipe_refuse(source, "coordinator_works", "wave", "false",
                                  "true with a wave of more than one block");
    return PONS_OK;
}

/* Blocks are rounded from left to right; the later columns are solved again in between. */
static pons_status check_order(const pons_recipe *r, const pons_recipe_source *source)
{
    if (!r->obr.act_order || r->obr.blocks <= 2) return PONS_OK;
    return pons_recipe_refuse(source, "obr.act_order", "obr.blocks", "true",
                              "false with more than 2 obr.blocks");
}

pons_status pons_recipe_check_source(const pons_recipe *r, const pons_recipe_source *source)
{
    char value[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    pons_status st;
    PONS_TRY(st, check_ranges(r, source));
    PONS_TRY(st, check_unused(r, source));
    PONS_TRY(st, check_faithful(r, source));
    PONS_TRY(st, check_target(r, source));
    PONS_TRY(st, check_allocate(r, source));
    PONS_TRY(st, check_rotation(r, source));
    PONS_TRY(st, check_wave(r, source));
    PONS_TRY(st, check_order(r, source));
    if (pons_method_prunes(r->method) && r->prune.n > 0 &&
        fabs(r->prune.sparsity - (double)r->prune.n / r->prune.m) > 1e-9) {
        snprintf(value, sizeof value, "%g", r->prune.sparsity);
        snprintf(allowed, sizeof allowed, "no value, or %g, with prune.pattern %d:%d",
                 (double)r->prune.n / r->prune.m, r->prune.n, r->prune.m);
        return pons_recipe_refuse(source, "prune.sparsity", "prune.pattern", value, allowed);
    }
done:
    return st;
}

pons_status pons_recipe_check(const pons_recipe *recipe, const char *where)
{
    pons_recipe_source source = {.file = where};
    return pons_recipe_check_source(recipe, &source);
}
