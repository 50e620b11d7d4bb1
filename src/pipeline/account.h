/**
 * What a job has done so far: seconds of each phase, the trace, counts of the solvers, sums over the
 * committed linears. Internal to pipeline.
 */
#ifndef PONS_PIPELINE_ACCOUNT_H
#define PONS_PIPELINE_ACCOUNT_H

#include "obr/compress.h"
#include "pipeline/trace.h"

/** Wall seconds of this rank by phase. */
typedef struct pons_phase_seconds {
    double learn, read, forward, hessian, keep, factor, solve, gather, pack, evaluate, checkpoint;
} pons_phase_seconds;

typedef struct pons_account {
    double start; /* of the job, pons_clock */
    pons_trace *trace;
    pons_phase_seconds seconds;
    pons_row_metrics metrics;

    /* Committed linears. Rank 0. */
    json_t *linears;      /* one object each, for pons.json */
    double error, energy; /* sums */
    int64_t weights, zeros, rows, linear_count;
} pons_account;

/** Begin at a moment all ranks share. Collective. Close it also after a failure. */
pons_status pons_account_open(pons_comm *comm, pons_account *account);

/** Free. Local. */
void pons_account_close(pons_account *account);

/** Manifest entry and sums of one linear, as its block's journal line has it. Rank 0. Local. */
pons_status pons_account_add_linear(pons_account *account, const json_t *line);

#endif
