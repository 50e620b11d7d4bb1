/* Sweeps by decreasing activation. Owns the order and the way there and back; the sweeps are gptq.c's and
 * sparsegpt.c's. */
#include "obr/order.h"

#include <stdlib.h>

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

pons_status pons_order_create(const pons_hessian_factor *factor, int64_t from, int64_t unit_size,
                              pons_order **out)
{
    pons_status st = PONS_OK;
    int64_t n = factor->d - from, info = 0;
    pons_order *s = pons_mem_calloc(1, sizeof *s);
    unit *list = pons_mem_alloc(n, sizeof *list);
    if (s) *s = (pons_order){.n = n, .d = factor->d};
    if (s) s->column = pons_mem_alloc(n, sizeof *s->column);
    PONS_TRY_ALL(st, factor->comm, s && s->column && list ? PONS_OK : PONS_ERR_NOMEM);
    sort_columns(factor, unit_size, list, s);
    PONS_TRY(st, pons_hessian_factor_ordered(factor, n, s->column, &info, &s->factor));
    if (info) {
        st = pons_fail(PONS_ERR_NUMERIC,
                       "the Hessian in the order of obr.act_order is not positive definite (minor "
                       "%lld); more obr.damping helps",
                       (long long)info);
        goto done;
    }
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

/* The columns in order, of values or bytes: to [rows, n] <- from [rows, d]. */
static void gather_values(const pons_order *s, int64_t rows, const float *from, float *to)
{
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < s->n; j++)
            to[i * s->n + j] = from[i * s->d + s->column[j]];
}

static void gather_bytes(const pons_order *s, int64_t rows, const uint8_t *from, uint8_t *to)
{
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < s->n; j++)
            to[i * s->n + j] = from[i * s->d + s->column[j]];
}

/* And back: to [rows, d] <- from [rows, n]. */
static void scatter_bytes(const pons_order *s, int64_t rows, const void *from, void *to)
{
    const uint8_t *source = from;
    uint8_t *target = to;
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < s->n; j++)
            target[i * s->d + s->column[j]] = source[i * s->n + j];
}

static pons_sweep ordered(const pons_order *s, const pons_sweep *sweep)
{
    pons_sweep own = *sweep;
    own.d = s->n;
    own.U = s->factor->U;
    own.column = s->column;
    return own;
}

pons_status pons_order_gptq(const pons_order *s, const pons_sweep *sweep, const float *V,
                            const uint8_t *mask, int8_t *codes)
{
    pons_status st = PONS_OK;
    pons_sweep own = ordered(s, sweep);
    int64_t cells = sweep->rows * s->n;
    float *values = NULL;
    uint8_t *kept = NULL;
    int8_t *rounded = NULL;
    PONS_ALLOC(st, values, cells);
    PONS_ALLOC(st, rounded, cells);
    if (mask) PONS_ALLOC(st, kept, cells);
    gather_values(s, sweep->rows, V, values);
    if (mask) gather_bytes(s, sweep->rows, mask, kept);
    PONS_TRY(st, pons_gptq_sweep(&own, 0, s->n, values, kept, rounded));
    scatter_bytes(s, sweep->rows, rounded, codes);
done:
    pons_mem_free(kept);
    pons_mem_free(rounded);
    pons_mem_free(values);
    return st;
}

pons_status pons_order_sparsegpt(const pons_order *s, const pons_sweep *sweep, int64_t block,
                                 const float *W, double sparsity, int n, int m, uint8_t *mask,
                                 int8_t *codes)
{
    pons_status st = PONS_OK;
    pons_sweep own = ordered(s, sweep);
    int64_t cells = sweep->rows * s->n;
    float *values = NULL;
    uint8_t *kept = NULL;
    int8_t *rounded = NULL;
    PONS_ASSERT(s->n == s->d);
    PONS_ALLOC(st, values, cells);
    PONS_ALLOC(st, rounded, cells);
    PONS_ALLOC(st, kept, cells);
    gather_values(s, sweep->rows, W, values);
    PONS_TRY(st, pons_sparsegpt_sweep(&own, block, values, sparsity, n, m, kept, rounded));
    scatter_bytes(s, sweep->rows, kept, mask);
    scatter_bytes(s, sweep->rows, rounded, codes);
done:
    pons_mem_free(kept);
    pons_mem_free(rounded);
    pons_mem_free(values);
    return st;
}
