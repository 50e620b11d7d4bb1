/**
 * Faults on request, for tests: PONS_FAULT=SITE:RANK[:COUNT] makes a named site fail on one rank when it
 * is passed for the COUNT-th time (1 unless given). An inactive site costs a load and a branch.
 */
#ifndef PONS_BASE_FAULT_H
#define PONS_BASE_FAULT_H

#include <stdbool.h>

#include "base/error.h"

/** X(SITE, name, ranks that pass it, what happens there). The one table of sites. */
#define PONS_FAULT_LIST(X)                                                                         \
    X(MEMORY, "memory", "all", "out of memory")                                                    \
    X(MODEL_READ, "model.read", "all", "a linear of the model cannot be read")                     \
    X(STORE_READ, "store.read", "all", "the disk reports an error for bytes of a model file")      \
    X(STORE_AHEAD, "store.ahead", "all", "a tensor cannot be prefetched: it is read when needed")  \
    X(HESSIAN_NAN, "hessian.nan", "all", "a calibration window holds NaN")                         \
    X(HESSIAN_SPD, "hessian.spd", "all", "a damped Hessian is not positive definite")              \
    X(HESSIANS_CREATE, "hessians.create", "all", "the file of a block's Hessians is refused")      \
    X(HESSIANS_WRITE, "hessians.write", "all", "no space for a block's Hessians")                  \
    X(ROW_NAN, "row.nan", "0", "the error of a compressed row is NaN")                             \
    X(SHARED, "shared", "0", "a node has no memory to share a matrix: a copy per rank")            \
    X(SCRATCH, "scratch", "0", "the disk of layout.scratch has no space for a matrix")             \
    X(SCRATCH_NAME, "scratch.name", "all", "a file of layout.scratch has a name at first")         \
    X(COMMIT_WRITE, "commit.write", "0", "the disk is full while a block is committed")            \
    X(COMMIT_DIE, "commit.die", "0", "killed after a block is written, before its journal line")   \
    X(SHARD_WRITE, "shard.write", "all", "the disk is full while a shard is written")              \
    X(SHARD_DIE, "shard.die", "all", "killed after a shard is written")                            \
    X(JOURNAL_APPEND, "journal.append", "0", "a journal line cannot be written")                   \
    X(JOURNAL_DIE, "journal.die", "0", "killed in the middle of a journal line")                   \
    X(HIDDEN_WRITE, "hidden.write", "all", "hidden states cannot be saved")                        \
    X(HIDDEN_DIE, "hidden.die", "all", "killed while hidden states are saved")                     \
    X(MODEL_DIE, "model.die", "0", "killed after RUN is complete, before OUT is begun")            \
    X(EXPORT_DIE, "export.die", "0", "killed after OUT.part is complete, before it is renamed")    \
    X(OUT_COMMIT, "out.commit", "0", "OUT.part cannot be renamed")                                 \
    X(OUT_DIE, "out.die", "0", "killed after OUT is written, before its report")                   \
    X(BLOCK_DIE, "block.die", "all", "killed in the middle of a block")                            \
    X(BLOCK_STOP, "block.stop", "all", "SIGUSR1 in the middle of a block")

typedef enum pons_fault_site {
#define PONS_FAULT_ENUM(site, name, ranks, text) PONS_FAULT_##site,
    PONS_FAULT_LIST(PONS_FAULT_ENUM)
#undef PONS_FAULT_ENUM
        PONS_FAULT_SITES
} pons_fault_site;

/** The site asked for on this rank; PONS_FAULT_SITES for none. Written by pons_fault_arm only. */
extern pons_fault_site pons_fault_armed;

/** Read PONS_FAULT. Local. @return PONS_ERR_USAGE naming what was found and the known sites. */
pons_status pons_fault_arm(int rank);

/** Count a passage of the armed site. Local. */
bool pons_fault_pass(void);

/** Whether this passage of the site is to fail. Local. */
static inline bool pons_fault(pons_fault_site site)
{
    return pons_fault_armed == site && pons_fault_pass();
}

/** End the process immediately, without cleanup, when the site is to fail. Local. */
void pons_fault_die(pons_fault_site site);

/** Send this process a SIGUSR1 when the site is to fail. Local. */
void pons_fault_signal(pons_fault_site site);

#endif
