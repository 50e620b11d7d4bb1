/**
 * Command lines of the published OBR programs (main programs of their QuaRot, SpinQuant and
 * FlatQuant folders) as recipes. Source: specification 9.
 */
#ifndef PONS_CONFIG_REFERENCE_H
#define PONS_CONFIG_REFERENCE_H

#include <stdio.h>

#include "base/error.h"

/**
 * Print the recipe that does what a command line of theirs does, as YAML; options that concern
 * something else (paths, evaluation, logging) become comments that say what takes their place.
 *
 * Local. The result has `compat: faithful`, except that obr_alpha other than 0.5 without obr_rtn,
 * with which their programs fail, gives `compat: corrected`.
 * @param command the words of a shell command; what comes before the first option (python, the
 * script) is only used to tell the program
 * @param program "quarot", "spinquant", "flatquant"; NULL: told by the script's path or by an option
 * that only one of them has
 * @return PONS_OK; PONS_ERR_USAGE naming an option that the program does not have, that lacks its
 * value, or that has no counterpart; PONS_ERR_CONFIG where the recipe refuses a value.
 */
pons_status pons_reference_print(const char *command, const char *program, FILE *out);

#endif
