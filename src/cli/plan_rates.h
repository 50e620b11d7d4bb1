/**
 * The rates that `pons plan` counts with.
 */
#ifndef PONS_CLI_PLAN_RATES_H
#define PONS_CLI_PLAN_RATES_H

#include "cli/cli.h"
#include "plan/plan.h"

/** Rates from a JSON object, or from its member "rates"; keys that are absent stay as they are. Local.
 * @return PONS_OK, PONS_ERR_INPUT naming file and key. */
pons_status pons_cli_read_rates(const char *path, pons_plan_rates *rates);

/** Measure the rates of one thread of this machine on shapes of a small model; network, latency and
 * disk stay as they are. Local. @return as the benchmarks */
pons_status pons_cli_measure_rates(bool bf16, bool solver_bf16, pons_plan_rates *rates);

/** All rates as a JSON object, see pons_cli_set. New reference. Local. */
json_t *pons_cli_rates_json(const pons_plan_rates *rates, bool *ok);

#endif
