/* Sweeps by decreasing activation. Owns the order of columns and the permutation of arrays; the
 * sweeps are in gptq.c and sparsegpt.c. */
#include "obr/order.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Neighbouring columns and what they are sorted by. */
typedef struct unit {
    int64_t first, columns;
    double mean;
} unit;

static int by_mean(const void *a, const void *b)
{
    const unit *x = a, *y = b;
    if (x->mean != y->mean) return x->mean > y->mean ? -1 : 1;
    return x->first < y->first ? -1 : 1;
}

/* @param list [n] work */
static void sort_columns(const pons_hessian_factor *factor, int64_t size, unit *list, pons_order *s)
{
    int64_t d = s->d, count = 0, at = 0;
    for (int64_t first = d - s->n; first < d; first += size) {
        unit u = {first, d - first < size ? d - first : size, 0.0};
        for (int64_t j = first; j < first + u.columns; j++)
            u.mean += (double)factor->H[j * d + j] / (double)u.columns;
        list[count++] = u;
    }
    qsort(list, (size_t)count, sizeof *list, by_mean);
    for (int64_t k = 0; k < count; k++)
        for (int64_t j = 0; j < list[k].columns; j++)
            s->column[at++] = list[k].first + j;
}

/* Of H as it was damped: dead columns count as they do there. */
static double mean_diagonal(const pons_hessian_factor *factor)
{
    double sum = 0.0;
    for (int64_t j = 0; j < factor->d; j++)
        sum += (double)factor->H[j * factor->d + j] / (double)factor->d;
    return sum - factor->damping;
}

/* The factor, damped further where it is not positive definite, up to the allowed number of
 * retries. Collective. */
static pons_status factor_ordered(const pons_hessian_factor *factor, int retries, pons_order *s)
{
    pons_status st = PONS_OK;
    double mean = mean_diagonal(factor), damping = factor->damping / mean, rho = 0.0;
    int64_t info = 0;
    for (int raised = 0;; raised++) {
        PONS_TRY(st, pons_hessian_factor_ordered(factor, s->n, s->column, rho, &info, &s->factor));
        if (info <= 0 || raised == retries) break;
        s->damping = damping = damping > 0 ? 10 * damping : 1e-4;
        rho = damping * mean - factor->damping;
    }
    if (info < 0)
        st = pons_fail(PONS_ERR_NUMERIC,
                       "the Hessian in the order of obr.act_order holds NaN or Inf");
    else if (info > 0)
        st = pons_fail(PONS_ERR_NUMERIC,
                       "the damped Hessian in the order of obr.act_order is not positive definite "
                       "(minor %lld of %lld); raise obr.damping (now %g) or allow "
                       "obr.damping_retries",
                       (long long)info, (long long)s->n, damping);
done:
    return st;
}

pons_status pons_order_create(const pons_hessian_factor *factor, int64_t from, int64_t unit_size,
                              int retries, pons_order **out)
{
    pons_status st = PONS_OK;
    int64_t n = factor->d - from;
    pons_order *s = pons_mem_calloc(1, sizeof *s);
    unit *list = pons_mem_alloc(n, sizeof *list);
    if (s) *s = (pons_order){.n = n, .d = factor->d};
    if (s) s->column = pons_mem_alloc(n, sizeof *s->column);
    PONS_TRY_ALL(st, factor->comm, s && s->column && list ? PONS_OK : PONS_ERR_NOMEM);
    sort_columns(factor, unit_size, list, s);
    PONS_TRY(st, factor_ordered(factor, retries, s));
    *out = s;
    s = NULL;
done:
    pons_mem_free(list);
    pons_order_destroy(&s);
    return st;
}

void pons_order_destroy(pons_order **order)
{
    pons_order *s = *order;
    if (!s) return;
    pons_hessian_factor_destroy(&s->factor);
    pons_mem_free(s->column);
    pons_mem_free(s);
    *order = NULL;
}

/* Permute entries of `size` bytes into the order, [rows, n] <- [rows, d], or back. */
static void move(const pons_order *s, int64_t rows, size_t size, bool back, const void *from,
                 void *to)
{
    const char *source = from;
    char *target = to;
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < s->n; j++) {
            size_t plain = (size_t)(i * s->d + s->column[j]) * size;
            size_t ordered = (size_t)(i * s->n + j) * size;
            memcpy(target + (back ? plain : ordered), source + (back ? ordered : plain), size);
        }
}

/* How a sweep chooses its masks. */
typedef struct mask_choice {
    int64_t block;
    double sparsity;
    int n, m;
    uint8_t *mask; /* [rows, d] out */
} mask_choice;

/* Either sweep of the columns in order. @param choice NULL: the mask is given, or nothing is pruned */
static pons_status run(const pons_order *s, const pons_sweep *sweep, const mask_choice *choice,
                       const float *V, const uint8_t *mask, int8_t *codes)
{
    pons_status st = PONS_OK;
    int64_t rows = sweep->rows, cells = rows * s->n;
    pons_sweep own = *sweep;
    float *values = NULL;
    uint8_t *kept = NULL;
    int8_t *rounded = NULL;
    own.d = s->n;
    own.U = s->factor->U;
    own.column = s->column;
    PONS_ALLOC(st, values, cells);
    PONS_ALLOC(st, rounded, cells);
    if (mask || choice) PONS_ALLOC(st, kept, cells);
    move(s, rows, sizeof *values, false, V, values);
    if (mask) move(s, rows, sizeof *kept, false, mask, kept);
    if (choice)
        PONS_TRY(st, pons_sparsegpt_sweep(&own, choice->block, values, choice->sparsity, choice->n,
                                          choice->m, kept, rounded));
    else
        PONS_TRY(st, pons_gptq_sweep(&own, 0, s->n, values, kept, rounded));
    if (choice) move(s, rows, sizeof *kept, true, kept, choice->mask);
    move(s, rows, sizeof *rounded, true, rounded, codes);
done:
    pons_mem_free(kept);
    pons_mem_free(rounded);
    pons_mem_free(values);
    return st;
}

pons_status pons_order_gptq(const pons_order *s, const pons_sweep *sweep, const float *V,
                            const uint8_t *mask, int8_t *codes)
{
    return run(s, sweep, NULL, V, mask, codes);
}

pons_status pons_order_sparsegpt(const pons_order *s, const pons_sweep *sweep, int64_t block,
                                 const float *W, double sparsity, int n, int m, uint8_t *mask,
                                 int8_t *codes)
{
    const mask_choice choice = {block, sparsity, n, m, mask};
    PONS_ASSERT(s->n == s->d);
    return run(s, sweep, &choice, W, NULL, codes);
}
