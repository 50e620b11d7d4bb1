/**
 * When each rank did what, and when it waited for others: RUN/trace.json for Perfetto or
 * chrome://tracing, the idle share of each team, efficiency and memory of each phase. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_TRACE_H
#define PONS_PIPELINE_TRACE_H

#include <jansson.h>

#include "base/task.h"
#include "par/comm.h"

/** X(PHASE, name). The last is time inside communication: transfers, and waiting for other ranks. */
#define PONS_PHASE_LIST(X)                                                                         \
    X(LEARN, "learn")                                                                              \
    X(READ, "read")                                                                                \
    X(FORWARD, "forward")                                                                          \
    X(HESSIAN, "hessian")                                                                          \
    X(KEEP, "keep")                                                                                \
    X(FACTOR, "factor")                                                                            \
    X(SOLVE, "solve")                                                                              \
    X(PACK, "pack")                                                                                \
    X(EVALUATE, "evaluate")                                                                        \
    X(CHECKPOINT, "checkpoint")                                                                    \
    X(WAIT, "wait")

typedef enum pons_phase {
#define PONS_PHASE_ENUM(phase, name) PONS_PHASE_##phase,
    PONS_PHASE_LIST(PONS_PHASE_ENUM)
#undef PONS_PHASE_ENUM
        PONS_PHASES
} pons_phase;

typedef struct pons_trace pons_trace;

/** Begin at a moment all ranks share, and watch the communication of this process from now on. Collective
 * on comm. @return PONS_OK, PONS_ERR_NOMEM, the same on every rank. */
pons_status pons_trace_begin(pons_comm *comm, pons_trace **out);

/** Stop watching and free; takes the address, nulls it, accepts NULL. Local. */
void pons_trace_end(pons_trace **trace);

/** Block that phases are of from now on; -1: none. Local. */
void pons_trace_set_block(pons_trace *trace, int64_t block);

/** A phase that began at `start` (pons_clock) and ends now. Local. @return its seconds */
double pons_trace_phase(pons_trace *trace, pons_phase phase, double start);

/** A stretch of a phase that a thread of this rank did behind the others; it counts for no phase's seconds
 * and shows as a line of its own. Local. */
void pons_trace_behind(pons_trace *trace, pons_phase phase, int64_t block, pons_task_span span);

/** Largest resident set of this process so far, in bytes; getrusage forgets it at the end of a phase.
 * Local. */
double pons_trace_peak(pons_trace *trace);

/** Write the trace of all ranks. Collective on comm, the one of pons_trace_begin; same team_size on every
 * rank. @param path on rank 0 */
pons_status pons_trace_write(pons_trace *trace, pons_comm *comm, int team_size, const char *path);

/**
 * What the trace says in short: {"idle": [share of each team's time inside communication], "efficiency":
 * {phase: mean over ranks of the seconds outside communication, over the seconds of the slowest rank},
 * "memory": {phase: bytes of the largest resident set of a rank}}. Collective on comm. @param[out] out on rank 0 a new reference, NULL elsewhere
 */
pons_status pons_trace_summarize(pons_trace *trace, pons_comm *comm, int team_size, json_t **out);

#endif
