/**
 * Where the values of a recipe came from, so that every refusal can point at it. Private to the
 * room.
 */
#ifndef PONS_CONFIG_RECIPE_SOURCE_H
#define PONS_CONFIG_RECIPE_SOURCE_H

#include "config/recipe_keys.h"

typedef struct pons_recipe_origin {
    int line; /* > 0: line of the file */
    int set;  /* > 0: the set'th override, which wins over the file */
} pons_recipe_origin;

typedef struct pons_recipe_source {
    const char *file;       /* NULL: none */
    const char *const *set; /* overrides as given */
    pons_recipe_origin key[PONS_RECIPE_KEYS];
    int section_line[PONS_RECIPE_KEYS]; /* of the section that starts with this key */
} pons_recipe_source;

/** Whether the file or an override gave this key. Local. */
bool pons_recipe_given(const pons_recipe_source *source, const char *name);

/** PONS_ERR_CONFIG with the place of the key (or, unless it was given, of `other`; NULL: none), the
 * key, what was found and what is allowed. Local. */
pons_status pons_recipe_refuse(const pons_recipe_source *source, const char *name,
                               const char *other, const char *found, const char *allowed);

/** Refuse an unknown key, naming the nearest, or a section used as a key. `where` is
 * "FILE:LINE". Local. */
pons_status pons_recipe_refuse_unknown(const char *where, const char *name);

/** Read the YAML text of source->file into the recipe, noting lines in the source. Local. */
pons_status pons_recipe_read_yaml(pons_recipe_source *source, const char *text, size_t bytes,
                                  pons_recipe *recipe);

/** Whether the value of this key asks for something that the method does not do. Local. */
bool pons_recipe_is_unused(const pons_recipe *recipe, const char *name);

/** Refuse values that do not go together. Local. */
pons_status pons_recipe_check_source(const pons_recipe *recipe, const pons_recipe_source *source);

#endif
