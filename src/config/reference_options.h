/**
 * The options of the published programs. Private to the room.
 */
#ifndef PONS_CONFIG_REFERENCE_OPTIONS_H
#define PONS_CONFIG_REFERENCE_OPTIONS_H

#include <stdbool.h>

typedef enum pons_reference_program {
    PONS_REFERENCE_QUAROT,
    PONS_REFERENCE_SPINQUANT,
    PONS_REFERENCE_FLATQUANT,
    PONS_REFERENCES
} pons_reference_program;

typedef struct pons_reference_option {
    const char *name; /* without dashes */
    /* Default in each program as text ("" where none matters); NULL: it has no such option. */
    const char *standard[PONS_REFERENCES];
    bool is_flag;     /* takes no value; given, its value is "on" */
    const char *note; /* what takes its place; NULL: it becomes recipe keys */
} pons_reference_option;

enum { PONS_REFERENCE_OPTIONS = 86 };
extern const pons_reference_option pons_reference_options[PONS_REFERENCE_OPTIONS];

/** "QuaRot". Local. */
const char *pons_reference_title(pons_reference_program program);

#endif
