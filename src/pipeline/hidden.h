/**
 * Hidden states in RUN, from which a later process goes on. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_HIDDEN_H
#define PONS_PIPELINE_HIDDEN_H

#include "pipeline/rundir.h"
#include "pipeline/streams.h"

/** Save the hidden states after run->next blocks, if it is time to, in place of older ones. Collective.
 * @param before blocks that were finished before this step */
pons_status pons_hidden_save(const pons_recipe *recipe, int64_t layers, int64_t before,
                             const pons_team *team, pons_rundir *run, pons_account *account,
                             pons_streams *streams);

/** Set the hidden states saved after run->saved blocks. Collective. @param files how many were
 * written, one for each rank of then */
pons_status pons_hidden_restore(const pons_team *team, const pons_rundir *run,
                                pons_streams *streams, int64_t files);

#endif
