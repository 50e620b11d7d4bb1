/**
 * The streams of a job: calibration windows through the compressed and through the dense model, evaluation
 * windows. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_STREAMS_H
#define PONS_PIPELINE_STREAMS_H

#include "calib/walk.h"
#include "eval/perplexity.h"
#include "pipeline/account.h"
#include "pipeline/context.h"
#include "pipeline/team.h"

/** One that the job does without has no windows: h is NULL, or the pointer. */
typedef struct pons_streams {
    pons_stream compressed; /* what Hessians are made of */
    pons_stream dense;      /* the model's own weights, for targets */
    pons_eval_stream *weights_only, *full;
} pons_streams;

enum { PONS_STREAMS = 4 };

/**
 * Room for the calibration streams of a job. Collective on the team.
 * @param keep_inputs of all own windows: stage by stage, where blocks are compressed one after the other
 * Memory: pons_stream_create, twice with a target.
 */
pons_status pons_streams_open(const pons_context *context, const pons_team *team, bool keep_inputs,
                              pons_streams *streams);

/** Free. Local. */
void pons_streams_close(pons_streams *streams);

/** Those there are. Local. @param list [PONS_STREAMS] out @return their number */
int pons_streams_list(pons_streams *streams, pons_stream **list);

/** The evaluation streams through a finished block. Local: the status is to be agreed on. */
pons_status pons_streams_evaluate(pons_streams *streams, pons_account *account,
                                  const pons_block *block);

#endif
