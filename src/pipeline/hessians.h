/**
 * RUN/hessians: Hessians that are kept for later runs (`hessians: keep`), and those of an earlier run in
 * place of a forward pass (--hessians). Internal to pipeline.
 */
#ifndef PONS_PIPELINE_HESSIANS_H
#define PONS_PIPELINE_HESSIANS_H

#include "hessian/accumulate.h"
#include "hessian/factor.h"
#include "io/hessian_file.h"
#include "pipeline/account.h"
#include "pipeline/context.h"
#include "pipeline/input.h"
#include "pipeline/team.h"

/** What --hessians asks of the recipe. Local, the same on every rank. */
pons_status pons_hessians_check_recipe(const pons_context *context);

/** Set context->hessian_fingerprint. Rank 0. Local. */
pons_status pons_hessians_fingerprint(pons_context *context);

/** Whether the Hessians of --hessians are there for every block, dense and with this fingerprint.
 * Rank 0. Local. */
pons_status pons_hessians_check_files(const pons_context *context);

/** Open the Hessian of an input: rank 0 its file, every rank the norm. Collective. @param[out] reader on rank 0 @param[out] norm
 * [d] in counted memory @return PONS_ERR_IO, PONS_ERR_INPUT, PONS_ERR_NOMEM. */
pons_status pons_hessians_open(const pons_context *context, const pons_team *team, int64_t layer,
                               const pons_input *input, pons_hessian_reader **reader,
                               double **norm);

/** Give the factor the Hessian panel by panel, as calibration does. Collective. @param reader rank 0's @return as
 * pons_hessians_open. Memory: a panel on every rank. */
pons_status pons_hessians_take(const pons_team *team, pons_hessian_reader *reader,
                               pons_hessian_factor *factor);

/** Create RUN/hessians/block-NNN.h5. Collective. @param run path of RUN */
pons_status pons_hessians_create(const pons_context *context, const pons_team *team,
                                 pons_account *account, const char *run, int64_t layer,
                                 pons_hessian_file **file);

/** Write the summed Hessian of an input. Collective. */
pons_status pons_hessians_write(const pons_context *context, pons_account *account,
                                pons_hessian_file *file, const pons_input *input, pons_hessian *h);

/** The file appears under its name; NULL: nothing. Collective. */
pons_status pons_hessians_commit(pons_account *account, pons_hessian_file **file);

#endif
