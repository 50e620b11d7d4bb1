/* Owns the order in which file, overrides and implied values apply. Defaults and what each method is are in
 * recipe_method.c, the table of keys in recipe_keys.c, YAML in recipe_yaml.c, contradictions in
 * recipe_check.c. */
#include "config/recipe.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "config/recipe_source.h"

static pons_status read_text(const char *path, char **text, size_t *bytes)
{
    enum { LARGEST = 1 << 20 };
    pons_status st = PONS_OK;
    char *block = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) return pons_fail_errno(PONS_ERR_IO, errno, "%s: cannot open the recipe", path);
    PONS_ALLOC(st, block, LARGEST + 1);
    errno = 0;
    size_t n = fread(block, 1, LARGEST + 1, file);
    if (ferror(file))
        st = pons_fail_errno(PONS_ERR_IO, errno, "%s: cannot read the recipe", path);
    else if (n > LARGEST)
        st = pons_fail(PONS_ERR_CONFIG, "%s: found more than %d bytes, allowed: a recipe", path,
                       LARGEST);
done:
    fclose(file);
    if (st != PONS_OK) {
        pons_mem_free(block);
        return st;
    }
    *text = block;
    *bytes = n;
    return PONS_OK;
}

static pons_status apply_file(pons_recipe_source *source, pons_recipe *recipe)
{
    char *text = NULL;
    size_t bytes = 0;
    pons_status st;
    PONS_TRY(st, read_text(source->file, &text, &bytes));
    PONS_TRY(st, pons_recipe_read_yaml(source, text, bytes, recipe));
done:
    pons_mem_free(text);
    return st;
}

/* The i-th override, "section.key=value"; a later one of the same key wins. */
static pons_status apply_override(pons_recipe_source *source, int i, pons_recipe *recipe)
{
    const char *option = source->set[i], *equals = strchr(option, '=');
    if (!equals || equals == option)
        return pons_fail(PONS_ERR_CONFIG, "--set %.200s: allowed: section.key=value", option);
    char where[256], name[PONS_RECIPE_NAME_BYTES];
    snprintf(where, sizeof where, "--set %.200s", option);
    snprintf(name, sizeof name, "%.*s", (int)(equals - option > 200 ? 200 : equals - option),
             option);
    int key = pons_recipe_key_find(name);
    if (key < 0) return pons_recipe_refuse_unknown(where, name);
    source->key[key].set = i + 1;
    if (pons_recipe_key_parse(&pons_recipe_keys[key], equals + 1, false, recipe)) return PONS_OK;
    char allowed[PONS_RECIPE_ALLOWED_BYTES];
    pons_recipe_key_allowed(&pons_recipe_keys[key], allowed);
    return pons_recipe_refuse(source, name, NULL, equals[1] ? equals + 1 : "nothing", allowed);
}

static bool is_set(const pons_recipe_source *source, const char *name)
{
    return source->key[pons_recipe_key_find(name)].set;
}

/* Whether an override may have left a key of the file without meaning. */
static bool is_overruled(const pons_recipe_source *source, const char *name)
{
    bool budget = !strcmp(name, "prune.spread") || !strcmp(name, "weights.allocate_bits");
    if (budget && is_set(source, "prune.allocate")) return true;
    return is_set(source, "method") && strncmp(name, "rotation.", 9) != 0;
}

/* An override of the method or of the allocation uses the rest of the file with another one: keys of the file that then
 * have no effect are dropped, not refused. */
static void drop_unused(pons_recipe_source *source, pons_recipe *recipe)
{
    pons_recipe standard;
    pons_recipe_default(&standard);
    char value[PONS_RECIPE_VALUE_BYTES];
    for (int i = 0; i < PONS_RECIPE_KEYS; i++) {
        pons_recipe_origin *origin = &source->key[i];
        const char *name = pons_recipe_keys[i].name;
        if (!origin->line || origin->set || !is_overruled(source, name) ||
            !pons_recipe_is_unused(recipe, name))
            continue;
        *origin = (pons_recipe_origin){0};
        pons_recipe_key_format(&pons_recipe_keys[i], &standard, value);
        pons_recipe_key_parse(&pons_recipe_keys[i], value, false, recipe);
    }
}

/* Values that follow from others unless they were given. */
static void imply(const pons_recipe_source *source, pons_recipe *recipe)
{
    if (!pons_recipe_given(source, "rotation.seed") && !recipe->rotation.file[0])
        recipe->rotation.seed = recipe->seed;
    if (!pons_recipe_given(source, "values.bits")) recipe->values.bits = recipe->kv.bits;
    if (!pons_recipe_given(source, "values.symmetric"))
        recipe->values.symmetric = recipe->kv.symmetric;
    if (!pons_recipe_given(source, "values.per_head"))
        recipe->values.per_head = recipe->kv.per_head;
    if (!pons_recipe_given(source, "values.clip_ratio"))
        recipe->values.clip_ratio = recipe->kv.clip_ratio;
    if (!pons_recipe_given(source, "rotation.center_embedding"))
        recipe->rotation.center_embedding = recipe->compat == PONS_COMPAT_FAITHFUL &&
                                            pons_rotation_kind_folds(recipe->rotation.kind);
    if (!pons_recipe_given(source, "activations.o_proj_head_groups") &&
        recipe->rotation.kind == PONS_ROTATION_FLATQUANT)
        recipe->activations.o_proj_head_groups = false;
    if (!pons_recipe_given(source, "calibration.holdout") &&
        recipe->obr.target != PONS_TARGET_DENSE && pons_method_needs_hessian(recipe->method))
        recipe->calibration.holdout = (recipe->calibration.windows + 7) / 8;
    if (!pons_recipe_given(source, "output.format") && !pons_method_quantizes(recipe->method))
        recipe->output.format = PONS_OUTPUT_DENSE;
    if (!pons_recipe_given(source, "prune.sparsity") && recipe->prune.n > 0)
        recipe->prune.sparsity = (double)recipe->prune.n / recipe->prune.m;
}

/* A file, a text, or neither: the defaults. Then overrides. */
static pons_status load(const char *path, const char *text, const char *const *set, int count,
                        pons_recipe *recipe)
{
    pons_status st = PONS_OK;
    pons_recipe_source source = {.file = text ? "recipe text" : path, .set = set};
    pons_recipe loaded;
    pons_recipe_default(&loaded);
    if (text)
        PONS_TRY(st, pons_recipe_read_yaml(&source, text, strlen(text), &loaded));
    else if (path)
        PONS_TRY(st, apply_file(&source, &loaded));
    for (int i = 0; i < count; i++)
        PONS_TRY(st, apply_override(&source, i, &loaded));
    drop_unused(&source, &loaded);
    imply(&source, &loaded);
    PONS_TRY(st, pons_recipe_check_source(&loaded, &source));
    memcpy(recipe, &loaded, sizeof loaded);
done:
    return st;
}

pons_status pons_recipe_load(const char *path, const char *const *set, int count,
                             pons_recipe *recipe)
{
    return load(path, NULL, set, count, recipe);
}

pons_status pons_recipe_load_text(const char *text, const char *const *set, int count,
                                  pons_recipe *recipe)
{
    return load(NULL, text, set, count, recipe);
}

bool pons_recipe_differ(const pons_recipe *a, const pons_recipe *b, pons_recipe_difference *out)
{
    for (int i = 0; i < PONS_RECIPE_KEYS; i++) {
        const pons_recipe_key *key = &pons_recipe_keys[i];
        char in_a[PONS_RECIPE_VALUE_BYTES], in_b[PONS_RECIPE_VALUE_BYTES];
        if (key->neutral) continue;
        pons_recipe_key_format(key, a, in_a);
        pons_recipe_key_format(key, b, in_b);
        if (!strcmp(in_a, in_b)) continue;
        out->key = key->name;
        snprintf(out->a, sizeof out->a, "%.200s", in_a);
        snprintf(out->b, sizeof out->b, "%.200s", in_b);
        return true;
    }
    return false;
}
