/**
 * The one table of recipe keys. Private to the room: parsing, overrides, checking, printing and the
 * list of keys all go through it, so a key cannot be readable and not printable.
 */
#ifndef PONS_CONFIG_RECIPE_KEYS_H
#define PONS_CONFIG_RECIPE_KEYS_H

#include "config/recipe.h"

/** How the text of a value maps to the field of the struct. */
typedef enum pons_recipe_kind {
    PONS_KEY_INT,     /* int in [low, high] */
    PONS_KEY_BITS,    /* int in [low, high] or 16 */
    PONS_KEY_I64,     /* int64_t in [low, high] */
    PONS_KEY_U32,     /* uint32_t */
    PONS_KEY_F32,     /* float between low and high */
    PONS_KEY_F64,     /* double between low and high */
    PONS_KEY_BOOL,    /* bool, one of names */
    PONS_KEY_CHOICE,  /* an enum, one of names */
    PONS_KEY_PATTERN, /* prune.n and prune.m */
    PONS_KEY_INT8,    /* both down_proj_bits fields */
    PONS_KEY_SET,     /* int with bit k set for each k in [low, high] that is listed; 0: none */
    PONS_KEY_TEXT     /* char [high + 1] */
} pons_recipe_kind;

typedef struct pons_recipe_name {
    const char *text; /* NULL ends the list */
    int value;
} pons_recipe_name;

typedef struct pons_recipe_key {
    const char *name; /* "section.key", or "key" at the top level */
    pons_recipe_kind kind;
    size_t offset; /* of the field in pons_recipe */
    double low, high;
    bool low_open, high_open; /* the bound itself is not allowed (F32, F64) */
    const pons_recipe_name *names;
    const char *help;    /* Markdown, no '|' */
    const char *follows; /* the key whose value is the default; NULL: the default is a constant */
    bool neutral;        /* changes no bit of the output: may differ when a run is resumed */
} pons_recipe_key;

/** Room for the text of a value, for the sentence that says what is allowed, for a key's name. */
#define PONS_RECIPE_VALUE_BYTES 2100
#define PONS_RECIPE_ALLOWED_BYTES 256
#define PONS_RECIPE_NAME_BYTES 64

#define PONS_RECIPE_KEYS 74
extern const pons_recipe_key pons_recipe_keys[PONS_RECIPE_KEYS];

/** The text of a value in a list of names; NULL when it is not there. Local. */
const char *pons_recipe_name_of(const pons_recipe_name *names, int value);

/** Index of a key; -1 when unknown. Local. */
int pons_recipe_key_find(const char *name);

/** Index of the first key of a section; -1 when there is no such section. Local. */
int pons_recipe_section_find(const char *section);

/** The key or section whose name needs the fewest edits, comparing full names and last parts.
 * Local. */
void pons_recipe_key_nearest(const char *name, char out[PONS_RECIPE_NAME_BYTES]);

/**
 * Store a value given as text.
 *
 * Local. @param quoted whether the file had it in quotes: then it is no number and no boolean
 * @return false, recipe untouched, when the text is not one of the allowed values.
 */
bool pons_recipe_key_parse(const pons_recipe_key *key, const char *text, bool quoted,
                           pons_recipe *recipe);

/** The value as pons_recipe_key_parse reads it back (text without quotes). Local. */
void pons_recipe_key_format(const pons_recipe_key *key, const pons_recipe *recipe,
                            char out[PONS_RECIPE_VALUE_BYTES]);

/** What is allowed, for messages and the list of keys. Local. */
void pons_recipe_key_allowed(const pons_recipe_key *key, char out[PONS_RECIPE_ALLOWED_BYTES]);

#endif
