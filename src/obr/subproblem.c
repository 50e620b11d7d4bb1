/* The masked problem of trailing columns. Owns its targets; solver_dual.c, solver_primal.c or
 * solver_direct.c solve it. */
#include "obr/subproblem.h"

#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kern/panel.h"
#include "kern/vector.h"
#include "obr/rows.h"

enum { CHUNK = 4 * PONS_PRODUCT_ROWS };

/* pons_quantize_left that rounds nothing. */
static void leave(void *user, int64_t row, float *value)
{
    (void)user;
    (void)row;
    (void)value;
}

pons_status pons_subproblem_create(const pons_hessian_factor *factor, int64_t from,
                                   pons_solver solver, bool bf16, double tolerance,
                                   pons_subproblem **out)
{
    pons_status st = PONS_OK;
    pons_subproblem *s = pons_mem_calloc(1, sizeof *s);
    PONS_TRY_ALL(st, factor->comm, s ? PONS_OK : PONS_ERR_NOMEM);
    *s = (pons_subproblem){.factor = factor, .from = from, .solver = solver};
    if (solver != PONS_SOLVER_DIRECT) {
        if (from > 0) PONS_TRY(st, pons_hessian_factor_trailing(factor, from, &s->trailing));
        PONS_TRY(st, pons_dual_create(s->trailing ? s->trailing : factor, 0, bf16, true, tolerance,
                                      &s->dual));
        if (!s->dual->A) pons_dual_destroy(&s->dual); /* every row would be solved directly */
    }
    *out = s;
    s = NULL;
done:
    pons_subproblem_destroy(&s);
    return st;
}

void pons_subproblem_destroy(pons_subproblem **sub)
{
    pons_subproblem *s = *sub;
    if (!s) return;
    pons_dual_destroy(&s->dual);
    pons_hessian_factor_destroy(&s->trailing);
    pons_mem_free(s);
    *sub = NULL;
}

/* The direct solver takes the fixed columns as the rounded values of its left columns. */
typedef struct fixed {
    const float *V;
    int64_t d, from;
} fixed;

static void put_fixed(void *user, int64_t row, float *value)
{
    const fixed *f = user;
    memcpy(value, f->V + row * f->d, (size_t)f->from * sizeof *value);
}

static pons_status solve_directly(const pons_subproblem *sub, const pons_solve_panel *panel,
                                  float *V, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    pons_solve_panel all = *panel;
    float *X = NULL;
    int64_t d = panel->d, from = sub->from;
    fixed f = {V, d, from};
    all.split = from;
    all.keep_full_rows = false;
    PONS_ALLOC(st, X, panel->rows * d);
    PONS_TRY(st, pons_solve_direct(&all, put_fixed, &f, X, metrics));
    for (int64_t i = 0; i < panel->rows; i++)
        memcpy(V + i * d + from, X + i * d + from, (size_t)(d - from) * sizeof *V);
done:
    pons_mem_free(X);
    return st;
}

/* B <- B K, B [rows, n], with the inverse of the trailing columns. */
static pons_status apply_inverse(const pons_hessian_inverse *K, int64_t rows, float *B)
{
    pons_status st = PONS_OK;
    int64_t n = K->n, threads = omp_get_max_threads(), made = 0;
    pons_rows **work = NULL;
    bool refused = false;
    PONS_CALLOC(st, work, threads);
    for (; made < threads; made++)
        PONS_TRY(st, pons_rows_create(K->inverse, K->kind, n, n, CHUNK, &work[made]));
#pragma omp parallel for schedule(dynamic)
    for (int64_t first = 0; first < rows; first += CHUNK) {
        pons_rows *r = work[omp_get_thread_num()];
        int64_t count = rows - first < CHUNK ? rows - first : CHUNK;
        for (int64_t i = 0; i < count; i++) {
            float *b = B + (first + i) * n;
            pons_vector_multiply(n, b, K->unit, b);
            pons_rows_put(r, i, b);
        }
        if (!pons_rows_run(r, count)) {
#pragma omp atomic write
            refused = true;
        }
        for (int64_t i = 0; i < count; i++) {
            float *b = B + (first + i) * n;
            pons_rows_get(r, i, b);
            pons_vector_multiply(n, b, K->unit, b);
        }
    }
    if (refused) st = pons_fail(PONS_ERR_BUG, "a product with an inverse Hessian failed to run");
done:
    for (int64_t k = 0; k < made; k++)
        pons_rows_destroy(&work[k]);
    pons_mem_free(work);
    return st;
}

/* Y [rows, n] <- the unconstrained optimum of the trailing columns. */
static pons_status make_targets(const pons_subproblem *sub, const pons_solve_panel *panel,
                                const float *V, float *Y)
{
    pons_status st = PONS_OK;
    int64_t rows = panel->rows, d = panel->d, from = sub->from, n = d - from;
    float *E = NULL, *B = NULL;
    PONS_CALLOC(st, E, rows * d);
    PONS_ALLOC(st, B, rows * d);
    for (int64_t i = 0; i < rows; i++)
        pons_vector_subtract(from, panel->W + i * d, V + i * d, E + i * d);
    PONS_TRY(st, pons_panel_multiply(panel->row, rows, d, E, sub->factor->H, B));
    for (int64_t i = 0; i < rows; i++)
        memcpy(Y + i * n, B + i * d + from, (size_t)n * sizeof *Y);
    PONS_TRY(st, apply_inverse(sub->dual->A, rows, Y));
    for (int64_t i = 0; i < rows; i++)
        pons_vector_add(n, panel->W + i * d + from, Y + i * n);
done:
    pons_mem_free(B);
    pons_mem_free(E);
    return st;
}

static pons_status iterate(const pons_subproblem *sub, const pons_solve_panel *panel, float *V,
                           pons_row_metrics *metrics)
{
    return sub->solver == PONS_SOLVER_PRIMAL
               ? pons_primal_solve(sub->dual, panel, leave, NULL, V, metrics)
               : pons_dual_solve(sub->dual, panel, leave, NULL, V, metrics);
}

static pons_status solve_trailing(const pons_subproblem *sub, const pons_solve_panel *panel,
                                  float *V, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    int64_t rows = panel->rows, d = panel->d, from = sub->from, n = d - from;
    double before = metrics->products, share = (double)n / (double)d;
    float *Y = NULL, *X = NULL;
    uint8_t *mask = NULL;
    double start = pons_clock();
    PONS_ALLOC(st, Y, rows * n);
    PONS_ALLOC(st, X, rows * n);
    PONS_ALLOC(st, mask, rows * n);
    PONS_TRY(st, make_targets(sub, panel, V, Y));
    metrics->solve_seconds += pons_clock() - start;
    for (int64_t i = 0; i < rows; i++)
        memcpy(mask + i * n, panel->mask + i * d + from, (size_t)n);
    pons_solve_panel own = {panel->name, panel->row, rows, n, 0, Y, mask, sub->trailing, false};
    PONS_TRY(st, iterate(sub, &own, X, metrics));
    for (int64_t i = 0; i < rows; i++)
        memcpy(V + i * d + from, X + i * n, (size_t)n * sizeof *V);
    /* products of the solver have n columns; the targets take one of d and one of n */
    metrics->products = before + (metrics->products - before) * share * share +
                        (double)rows * (1.0 + share * share);
done:
    pons_mem_free(mask);
    pons_mem_free(X);
    pons_mem_free(Y);
    return st;
}

pons_status pons_subproblem_solve(const pons_subproblem *sub, const pons_solve_panel *panel,
                                  float *V, pons_row_metrics *metrics)
{
    if (!sub->dual) return solve_directly(sub, panel, V, metrics);
    if (sub->from > 0) return solve_trailing(sub, panel, V, metrics);
    pons_solve_panel all = *panel;
    all.split = 0;
    all.keep_full_rows = false;
    return iterate(sub, &all, V, metrics);
}
