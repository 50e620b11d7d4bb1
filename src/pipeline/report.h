/**
 * The report on a complete OUT. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_REPORT_H
#define PONS_PIPELINE_REPORT_H

#include "pipeline/account.h"
#include "pipeline/rundir.h"
#include "pipeline/team.h"

/** The report on rank 0, from OUT and the account, also in RUN, with the trace. Collective.
 * @param team_size ranks of a team of waves, or all @return a failure says that OUT is complete */
pons_status pons_report(const pons_context *context, const pons_team *team, int team_size,
                        pons_rundir *run, pons_account *account, json_t **report);

#endif
