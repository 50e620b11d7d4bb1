/**
 * The one walk over a block: every own window of one or more streams through its stages, with hooks where
 * a caller sets linears, sums inputs or keeps vectors.
 */
#ifndef PONS_CALIB_WALK_H
#define PONS_CALIB_WALK_H

#include "calib/block.h"
#include "calib/stream.h"
#include "par/comm.h"

/** A stream and the block it goes through. Lanes of one walk have the same own windows; they may share a
 * block. */
typedef struct pons_lane {
    const pons_block *block;
    pons_stream *stream;
} pons_lane;

/** What happens on the way; each may be NULL. A status that is not PONS_OK ends the walk. */
typedef struct pons_visitor {
    pons_status (*enter)(void *user, int stage); /* before the windows run a stage */
    pons_status (*window)(void *user, int stage, int64_t local); /* one did, in every lane */
    pons_status (*leave)(void *user, int stage);                 /* all did */
    void *user;
} pons_visitor;

/**
 * Run every own window of the lanes through the stages of their blocks, in place.
 *
 * Streams that keep the inputs of all windows go stage by stage: all windows run a stage before the next
 * one, and enter and leave are called once for each stage, also without windows. Streams that keep one
 * window's inputs go window by window: enter and leave are called for each window, without windows never.
 *
 * Collective on comm where it is not NULL: all ranks call it, a failure of the windows of a stage is
 * agreed on before leave, and enter and leave return the same status on every rank. Then streams go
 * stage by stage. Local with comm NULL. Stops at a request to stop (base/stop.h), before a window.
 * @param arch family of the blocks; @param count lanes; 0: the hooks alone, stage by stage; @param visitor NULL: none
 * @return PONS_OK, what pons_block_stage and the hooks return, PONS_ERR_STOPPED.
 */
pons_status pons_walk_block(const pons_arch *arch, pons_comm *comm, int count,
                            const pons_lane *lanes, const pons_visitor *visitor);

#endif
