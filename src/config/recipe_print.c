/* Owns the printed forms: the effective recipe as YAML, and the list of keys. */
#include "config/recipe_source.h"

#include <errno.h>
#include <string.h>

static pons_status finish(FILE *out)
{
    if (fflush(out) != 0 || ferror(out))
        return pons_fail_errno(PONS_ERR_IO, errno, "cannot write the recipe");
    return PONS_OK;
}

static void print_text(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

pons_status pons_recipe_print(const pons_recipe *recipe, FILE *out)
{
    char value[PONS_RECIPE_VALUE_BYTES], section[PONS_RECIPE_NAME_BYTES] = "";
    for (int i = 0; i < PONS_RECIPE_KEYS; i++) {
        const pons_recipe_key *key = &pons_recipe_keys[i];
        /* pons_recipe_load would refuse it, and its value is the default */
        if (pons_recipe_is_unused(recipe, key->name)) continue;
        const char *dot = strchr(key->name, '.'), *leaf = dot ? dot + 1 : key->name;
        if (dot && strncmp(section, key->name, (size_t)(leaf - key->name)) != 0) {
            snprintf(section, sizeof section, "%.*s", (int)(leaf - key->name), key->name);
            fprintf(out, "%.*s:\n", (int)(dot - key->name), key->name);
        }
        pons_recipe_key_format(key, recipe, value);
        fprintf(out, "%s%s: ", dot ? "  " : "", leaf);
        if (key->kind == PONS_KEY_TEXT)
            print_text(value, out);
        else
            fputs(value, out);
        fputc('\n', out);
    }
    return finish(out);
}

pons_status pons_recipe_print_keys(FILE *out)
{
    char value[PONS_RECIPE_VALUE_BYTES], allowed[PONS_RECIPE_ALLOWED_BYTES];
    pons_recipe standard;
    pons_recipe_default(&standard);
    fputs("| key | default | allowed | meaning |\n|---|---|---|---|\n", out);
    for (int i = 0; i < PONS_RECIPE_KEYS; i++) {
        const pons_recipe_key *key = &pons_recipe_keys[i];
        pons_recipe_key_allowed(key, allowed);
        pons_recipe_key_format(key, &standard, value);
        fprintf(out, "| `%s` | ", key->name);
        if (key->follows)
            fprintf(out, "`%s`", key->follows);
        else
            fputs(*value ? value : "empty", out);
        fprintf(out, " | %s | %s |\n", allowed, key->help);
    }
    return finish(out);
}
