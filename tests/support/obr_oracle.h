/**
 * Random compression problems and a naive fp64 compressor: Gaussian elimination per row, one column
 * at a time, no blocks, no Cholesky. Shares no arithmetic with src/obr; only the scales are given.
 */
#ifndef PONS_TEST_OBR_ORACLE_H
#define PONS_TEST_OBR_ORACLE_H

#include "obr/compress.h"

typedef struct obr_problem {
    int64_t m, d;
    float *W;  /* [m, d] */
    double *H; /* [d, d] undamped */
    pons_hessian_factor *factor;
} obr_problem;

/** Correlated inputs with a spread spectrum, damping 1 %. @param dead number of dead columns
 * (every 5th from column 2) */
void obr_problem_create(uint32_t seed, int64_t m, int64_t d, int64_t dead, obr_problem *out);
void obr_problem_destroy(obr_problem *problem);

/** (x H x^T) with the undamped H. @param x [d] */
double obr_problem_form(const obr_problem *problem, const double *x);

/** The default recipe of these tests: W4 symmetric, clip search, 50 %, alpha .5, block 16. */
pons_recipe obr_recipe(pons_method method);

/** Buffers for a whole problem. */
void obr_result_create(const obr_problem *problem, const pons_recipe *recipe, pons_row_result *out);
void obr_result_destroy(pons_row_result *result);

/**
 * Codes by the definition (corrected compat), given scales and zeros.
 * @param mask [m, d] out, 1 = kept; @param codes [m, d] out (unused by wanda)
 */
void obr_oracle(const obr_problem *problem, const pons_recipe *recipe, int bits, const float *scale,
                const int8_t *zero, uint8_t *mask, int8_t *codes);

/** x <- A^-1 x, A [n, n] destroyed; Gaussian elimination with pivoting. */
void obr_oracle_solve(int64_t n, double *A, double *x);

#endif
