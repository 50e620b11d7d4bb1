/**
 * Compress rows of one linear: mask, scales, compensation, codes. The central operation of Pons.
 *
 * Rows are independent for every method except sparsegpt_gptq (pons_method_needs_all_rows), so a
 * rank passes the rows it owns. Same bits whatever the split of rows and the number of threads.
 * Local: never communicates. Source: specification 3; paper Algorithm 1.
 */
#ifndef PONS_OBR_COMPRESS_H
#define PONS_OBR_COMPRESS_H

#include "config/recipe.h"
#include "hessian/factor.h"
#include "kern/panel.h"

/** Rows are dealt to ranks in multiples of this (all but the last of a linear): the block of rows
 * of the solver's products, and small enough to balance ranks on narrow linears. */
#define PONS_ROW_SHARE 32

/** Number of values of rho of the admm mask, each with its own matrix, and iterations with each. */
enum { PONS_ADMM_STAGES = 6, PONS_ADMM_STEPS = 8 };

/** Data that the rows of all linears of a projection group share besides the factor. Opaque. */
typedef struct pons_row_shared pons_row_shared;

/** Solver of rows of width d, never auto: the direct one shares nothing, the others products with
 * the inverse. @param bf16 as in pons_row_shared_create. Local. */
pons_solver pons_row_solver(const pons_recipe *recipe, int64_t d, bool bf16);

/**
 * Prepare the data that the recipe's method shares between linears of a projection group; methods
 * without a Hessian share none.
 *
 * Collective on the comm of the factor, parallel over tiles; Local without one. Both arguments are
 * borrowed until it is destroyed.
 * @param factor may be NULL where the method needs none
 * @param bf16 iterate in bf16: the same on all ranks, what obr.precision says or allows
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_UNSUPPORTED (bf16 where there is
 * none), PONS_ERR_NUMERIC where another factor that the recipe needs (obr.act_order, prune.mask:
 * admm) cannot be made; the same on every rank. Per node, cost (dual): about d^3 / 2 flop; memory 4
 * to 12 d^2 bytes.
 */
pons_status pons_row_shared_create(const pons_hessian_factor *factor, const pons_recipe *recipe,
                                   bool bf16, pons_row_shared **out);

/** The damping of the factor in the order of obr.act_order, if obr.damping_retries had to increase
 * it; 0: not increased. Local. */
double pons_row_shared_damping(const pons_row_shared *shared);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of the factor. */
void pons_row_shared_destroy(pons_row_shared **shared);

/** What to compress. Everything is borrowed. */
typedef struct pons_row_task {
    const char *name;                  /* for messages: "block 3 q_proj" */
    int64_t row, rows, d;              /* W holds rows [row, row + rows) of the linear */
    const float *W;                    /* [rows, d] dense, rotated */
    const pons_hessian_factor *factor; /* may be NULL for rtn */
    const pons_recipe *recipe;
    int bits;                      /* of this linear: weights.bits, or down_proj_bits */
    const pons_row_shared *shared; /* of the same factor and recipe; NULL: made for this call,
                                      which is then Collective on the comm of the factor */
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

/** Rows are counted by their iterations up to this many, less one. */
#define PONS_ITERATION_BINS 64

/** Counts of what was done; pons_compress_rows adds to them. */
typedef struct pons_row_metrics {
    double mask_seconds, solve_seconds, clip_seconds, gptq_seconds, polish_seconds, measure_seconds;
    /* Products of a row with a matrix of its linear's width; those with halves and triangles count
     * in part, factors of the direct solver not at all. The same as flop, and the flop of one
     * product of every row. */
    double products, flop, product_flop;
    double product_seconds; /* of all threads: in products of iterated rows */
    int64_t moved;          /* codes that polishing changed */
    /* Iterative solvers; an iteration of a row is one product with the shared matrix, in any stage. */
    int64_t iterations; /* of all rows */
    int64_t refined;    /* rows that missed the tolerance and were refined from their gradient */
    int64_t fallbacks;  /* rows finished by the direct solver */
    int64_t rows_by_iterations[PONS_ITERATION_BINS]; /* the last: that many or more */
} pons_row_metrics;

/**
 * Compress the rows of `task` by the recipe's method, grid, mask and compat setting.
 *
 * Local; parallel over rows and panels. Scales come from the weights as given; after that dead
 * columns of the factor count as 0.
 * @param metrics added to; may be NULL
 * @return PONS_OK; PONS_ERR_NOMEM; PONS_ERR_NUMERIC naming linear and row (non-SPD submatrix, NaN
 * or Inf in W); PONS_ERR_SHAPE when m of n:m does not divide d; PONS_ERR_CONFIG for method none,
 * for sparsegpt_gptq with m that does not divide obr.block, and for what compat: faithful refuses
 * (obr_gptq with int(alpha d) != int(d/2), asymmetric or grouped weights).
 * Cost (obr, direct): about rows d^3 / 24 flop at 50 %. Memory: 5 to 9 rows d bytes, one k x k
 * factor per thread.
 */
pons_status pons_compress_rows(const pons_row_task *task, pons_row_result *result,
                               pons_row_metrics *metrics);

#endif
