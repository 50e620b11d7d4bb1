/* Conversion of rows to the layout of products and back. The arithmetic is in kern. */
#include "obr/rows.h"

#include <string.h>

#include "base/mem.h"
#include "kern/round_bf16.h"

pons_status pons_rows_create(const pons_product *product, pons_product_kind kind, int64_t K,
                             int64_t N, int64_t rows, pons_rows **out)
{
    pons_status st = PONS_OK;
    pons_rows *r = NULL;
    PONS_CALLOC(st, r, 1);
    *r = (pons_rows){.from = pons_product_tiles_of(K),
                     .to = pons_product_tiles_of(N),
                     .capacity = rows,
                     .K = K,
                     .N = N,
                     .bf16 = kind == PONS_PRODUCT_BF16 || kind == PONS_PRODUCT_MIXED,
                     .kind = kind};
    r->space = pons_mem_alloc((int64_t)pons_product_space(product), 1);
    if (!r->space) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_product_worker_create(product, rows, r->space, &r->worker));
    PONS_CALLOC(st, r->X, rows * r->from.padded);
    PONS_CALLOC(st, r->Y, rows * r->to.padded);
    *out = r;
    r = NULL;
done:
    pons_rows_destroy(&r);
    return st;
}

void pons_rows_destroy(pons_rows **rows)
{
    pons_rows *r = *rows;
    if (!r) return;
    pons_mem_free(r->Y);
    pons_mem_free(r->X);
    pons_product_worker_destroy(&r->worker);
    pons_mem_free(r->space);
    pons_mem_free(r);
    *rows = NULL;
}

void pons_rows_put(pons_rows *r, int64_t i, const float *x)
{
    for (int64_t t = 0, j = 0; j < r->K; t++, j += r->from.width) {
        int64_t n = r->K - j < r->from.width ? r->K - j : r->from.width;
        int64_t at = (t * r->capacity + i) * r->from.width;
        if (r->bf16)
            pons_bf16_convert(n, x + j, (uint16_t *)(void *)r->X + at);
        else
            memcpy(r->X + at, x + j, (size_t)n * sizeof *x);
    }
}

bool pons_rows_run(pons_rows *r, int64_t n)
{
    return pons_product_run(r->worker, r->kind, n, r->X, r->Y);
}

void pons_rows_get(const pons_rows *r, int64_t i, float *y)
{
    for (int64_t t = 0, j = 0; j < r->N; t++, j += r->to.width) {
        int64_t n = r->N - j < r->to.width ? r->N - j : r->to.width;
        memcpy(y + j, r->Y + (t * r->capacity + i) * r->to.width, (size_t)n * sizeof *y);
    }
}
