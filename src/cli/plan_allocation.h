/**
 * What prune.allocate: budget chose, as `pons plan --run` shows it.
 */
#ifndef PONS_CLI_PLAN_ALLOCATION_H
#define PONS_CLI_PLAN_ALLOCATION_H

#include "cli/cli.h"

/** The allocation line of a state directory's journal, which is only read: {linears: [{name, sparsity,
 * damage}]}. New reference. Local. @return PONS_OK, PONS_ERR_INPUT when there is none, PONS_ERR_IO. */
pons_status pons_cli_read_allocation(const char *run, json_t **out);

/** One row of sparsities per block. Local. */
void pons_cli_print_allocation(const json_t *allocation);

#endif
