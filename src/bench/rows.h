/**
 * Solve the rows of a problem and measure their errors. Internal to the room.
 */
#ifndef PONS_BENCH_ROWS_H
#define PONS_BENCH_ROWS_H

#include "bench/problem.h"
#include "obr/compress.h"

/** Both stages of every row, columns below `split` rounded; split 0: stage 1 alone. Collective on the comm
 * of the factor. @param solver dual, primal or direct; @param V [rows, d] out; @param metrics set */
pons_status pons_bench_solve_rows(pons_bench_problem *problem, pons_solver solver, bool bf16,
                                  int64_t split, float *V, pons_row_metrics *metrics);

/** (V_i - W_i) H (V_i - W_i)^T of every row, with the damped H that is minimised. Local.
 * @param error [rows] out */
pons_status pons_bench_row_errors(const pons_bench_problem *problem, const float *V, double *error);

#endif
