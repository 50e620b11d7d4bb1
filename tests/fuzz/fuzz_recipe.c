/* Recipes: YAML, keys and values, and the printed recipe read back. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/recipe.h"

void fuzz_seeds(const char *folder)
{
    pons_recipe recipe;
    pons_recipe_default(&recipe);
    FILE *file = fopen(fuzz_path(folder, "default"), "w");
    fuzz_must(file && pons_recipe_print(&recipe, file) == PONS_OK && !fclose(file), folder);
    fuzz_seed_text(
        folder, "short",
        "method: obr_gptq # comment\ncalibration: {windows: 4, length: 64}\nwave: 2\nlayout:\n  "
        "teams: 2\n"
        "prune: {pattern: '2:4'}\nweights: {bits: 3, allocate_bits: \"3,4,8\", group_size: 16}\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pons_recipe recipe, again;
    pons_recipe_difference d;
    char *text = NULL;
    size_t bytes = 0;
    if (pons_recipe_load(fuzz_file("recipe.yaml", data, size), NULL, 0, &recipe) != PONS_OK)
        return 0;
    FILE *file = open_memstream(&text, &bytes);
    fuzz_must(file && pons_recipe_print(&recipe, file) == PONS_OK && !fclose(file), "print");
    pons_status st = pons_recipe_load(fuzz_file("again.yaml", text, bytes), NULL, 0, &again);
    free(text);
    if (st != PONS_OK || pons_recipe_differ(&recipe, &again, &d))
        abort(); /* a printed recipe is the recipe */
    return 0;
}
