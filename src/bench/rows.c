/* The solvers on the rows of a problem. Does not time or compare. */
#include "bench/rows.h"

#include "base/mem.h"
#include "obr/dual.h"
#include "obr/form.h"

pons_status pons_bench_solve_rows(pons_bench_problem *p, pons_solver solver, bool bf16,
                                  int64_t split, float *V, pons_row_metrics *metrics)
{
    pons_solve_panel panel = {"bench", p->row,  p->rows,   p->d, split,
                              p->W,    p->mask, p->factor, false};
    *metrics = (pons_row_metrics){0};
    if (solver == PONS_SOLVER_DIRECT)
        return pons_solve_direct(&panel, pons_bench_quantize_left, p, V, metrics);
    pons_status st = PONS_OK;
    pons_dual *dual = NULL;
    PONS_TRY(st, pons_dual_create(p->factor, split, bf16, false, PONS_DUAL_TOLERANCE, &dual));
    PONS_TRY(st, (solver == PONS_SOLVER_PRIMAL ? pons_primal_solve : pons_dual_solve)(
                     dual, &panel, pons_bench_quantize_left, p, V, metrics));
done:
    pons_dual_destroy(&dual);
    return st;
}

pons_status pons_bench_row_errors(const pons_bench_problem *p, const float *V, double *error)
{
    pons_status st = PONS_OK;
    float *D = NULL;
    PONS_ALLOC(st, D, p->rows * p->d);
    for (int64_t i = 0; i < p->rows * p->d; i++)
        D[i] = V[i] - p->W[i];
    PONS_TRY(st, pons_row_form(p->factor, p->rows, D, error));
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t j = 0; j < p->d; j++)
            error[i] += p->factor->damping * (double)D[i * p->d + j] * (double)D[i * p->d + j];
done:
    pons_mem_free(D);
    return st;
}
