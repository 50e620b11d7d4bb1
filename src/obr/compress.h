/**
 * Compress rows of one linear: mask, scales, compensation, codes. The heart of Pons; everything
 * above only feeds it.
 *
 * Rows are independent for every method except sparsegpt_gptq (pons_method_needs_all_rows), so a
 * rank passes the rows it owns. Same bits whatever the split of rows and the number of threads.
 * Local: never communicates. Source: specification 3; paper Algorithm 1.
 */
#ifndef PONS_OBR_COMPRESS_H
#define PONS_OBR_COMPRESS_H

#include "config/recipe.h"
#include "hessian/factor.h"

/** What to compress. Everything is borrowed. */
typedef struct pons_row_task {
    const char *name;                  /* for messages: "block 3 q_proj" */
    int64_t row, rows, d;              /* W holds rows [row, row + rows) of the linear */
    const float *W;                    /* [rows, d] dense, rotated */
    const pons_hessian_factor *factor; /* NULL for rtn */
    const pons_recipe *recipe;
    int bits; /* of this linear: weights.bits, or down_proj_bits */
} pons_row_task;

/** Result, in buffers of the caller. */
typedef struct pons_row_result {
    int8_t *codes;  /* [rows, d]; unused by wanda */
    float *scale;   /* [rows, groups]; unused by wanda */
    int8_t *zero;   /* [rows, groups]; unused by wanda */
    float *value;   /* [rows, d] dequantized weights (wanda: pruned dense weights); exactly 0 where
                       pruned */
    double *error;  /* [rows] D H D^T, D = value - W, undamped H; 0 without a factor */
    double *energy; /* [rows] W H W^T, undamped H; 0 without a factor */
    int64_t *zeros; /* [rows] entries of value that are exactly 0 */
} pons_row_result;

/** Counts of what the solver did, added up by the caller. */
typedef struct pons_row_metrics {
    double solve_seconds, clip_seconds, gptq_seconds;
    int64_t iterations, fallbacks; /* dual solver: GEMM iterations over panels; rows finished by the
                                      direct solver */
} pons_row_metrics;

/**
 * @return PONS_OK; PONS_ERR_NOMEM; PONS_ERR_NUMERIC naming linear and row (non-SPD submatrix, NaN);
 * PONS_ERR_CONFIG for what compat: faithful refuses (alpha with p != int(d/2) in obr_gptq,
 * asymmetric weights). Cost (obr, direct): about rows d^3 / 24 flop at 50 %; memory: one k x k
 * factor per thread.
 */
pons_status pons_compress_rows(const pons_row_task *task, pons_row_result *result,
                               pons_row_metrics *metrics);

#endif
