/**
 * The directories of a run: RUN with its lock, journal and blocks, OUT.part that OUT is made in, and how
 * far they have got. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_RUNDIR_H
#define PONS_PIPELINE_RUNDIR_H

#include "io/lock.h"
#include "pipeline/context.h"
#include "pipeline/journal.h"

typedef struct pons_rundir {
    char *path;            /* of RUN */
    pons_lock *lock;       /* of RUN; rank 0 */
    pons_journal *journal; /* rank 0 */
    char *staged;          /* OUT.part, made by this process; rank 0 */
    bool made;     /* RUN is this process's, to be removed unless something was committed; rank 0 */
    bool resumed;  /* RUN is an earlier process's */
    bool complete; /* RUN/blocks and RUN/model are complete: OUT can be made */
    bool written;  /* OUT is complete; only its report may be missing */
    int64_t done;  /* blocks [0, done) are committed */
    int64_t next;  /* blocks [0, next) are compressed: done, or one more, on its way to disk */
    int64_t saved; /* hidden states after so many blocks are in RUN/hidden; 0: none */
    struct pons_commit *commit; /* the block on its way to disk (commit.c); rank 0 */
} pons_rundir;

/** Number of the layout of RUN; a run that was begun with another one is refused. */
enum { PONS_RUN_LAYOUT = 1 };

/**
 * Stage OUT and make RUN, or take over those of an earlier process, before any work starts: a refusal
 * costs nothing. Collective. Close it also after a failure.
 * @return as of the options; PONS_ERR_EXISTS, PONS_ERR_USAGE, PONS_ERR_IO, PONS_ERR_CONFIG (a recipe that
 * is not the one RUN was begun with)
 */
pons_status pons_rundir_open(pons_comm *comm, const pons_context *context, pons_rundir *run);

/** When nothing was committed neither OUT nor a state directory is left; else both are, for --resume.
 * Local. */
void pons_rundir_close(pons_rundir *run);

#endif
