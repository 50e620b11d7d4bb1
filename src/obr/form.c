/* Owns the sums; the products are in rows.c, in fp32: layer errors are small differences of large
 * terms, which bf16 cannot resolve. */
#include "obr/form.h"

#include <omp.h>

#include "base/mem.h"
#include "obr/rows.h"

/* Rows of a thread that share a packed tile of the Hessian; bytes of their vectors. */
enum { MOST_ROWS = 256, MOST_BYTES = 32 << 20 };

int64_t pons_row_form_rows(int64_t d, int64_t rows, int64_t threads)
{
    int64_t fit = MOST_BYTES / (2 * d * (int64_t)sizeof(float)) / PONS_PRODUCT_ROWS,
            share = (rows + threads * PONS_PRODUCT_ROWS - 1) / (threads * PONS_PRODUCT_ROWS);
    if (fit > MOST_ROWS / PONS_PRODUCT_ROWS) fit = MOST_ROWS / PONS_PRODUCT_ROWS;
    if (fit > share) fit = share;
    return (fit < 1 ? 1 : fit) * PONS_PRODUCT_ROWS;
}

/* @param y [d] x H */
static double form_of(int64_t d, const float *x, const float *y, double damping)
{
    double sum = 0.0, square = 0.0;
    for (int64_t j = 0; j < d; j++) {
        sum += (double)x[j] * (double)y[j];
        square += (double)x[j] * (double)x[j];
    }
    return sum - damping * square;
}

pons_status pons_row_form(const pons_hessian_factor *factor, int64_t rows, const float *X,
                          double *form)
{
    pons_status st = PONS_OK;
    int64_t d = factor->d, threads = omp_get_max_threads(), made = 0;
    int64_t step = pons_row_form_rows(d, rows, threads);
    pons_product *H = NULL;
    pons_rows **work = NULL;
    float *lines = NULL; /* [threads, d] */
    if (rows == 0) return PONS_OK;
    if (threads > (rows + step - 1) / step) threads = (rows + step - 1) / step;
    PONS_TRY(st, pons_product_create(PONS_PRODUCT_FP32, d, d, factor->H, d, 0, 0, &H));
    PONS_ALLOC(st, lines, threads * d);
    PONS_CALLOC(st, work, threads);
    for (; made < threads; made++)
        PONS_TRY(st, pons_rows_create(H, PONS_PRODUCT_FP32, d, d, step, &work[made]));
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (int64_t first = 0; first < rows; first += step) {
        pons_rows *r = work[omp_get_thread_num()];
        float *y = lines + omp_get_thread_num() * d;
        int64_t count = rows - first < step ? rows - first : step;
        for (int64_t i = 0; i < count; i++)
            pons_rows_put(r, i, X + (first + i) * d);
        pons_rows_run(r, count); /* fp32 needs no library that could refuse */
        for (int64_t i = 0; i < count; i++) {
            pons_rows_get(r, i, y);
            form[first + i] = form_of(d, X + (first + i) * d, y, factor->damping);
        }
    }
done:
    for (int64_t k = 0; k < made; k++)
        pons_rows_destroy(&work[k]);
    pons_mem_free(work);
    pons_mem_free(lines);
    pons_product_destroy(&H);
    return st;
}
