/* The mask by alternating directions. Owns the iteration over the rows of a thread; the matrices
 * come from hessian/shrink.h, the largest entries are chosen in prune. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "obr/masks.h"
#include "obr/rows.h"

enum { CHUNK = 4 * PONS_PRODUCT_ROWS };

/* What one thread works in. */
typedef struct chunk {
    pons_rows *rows[PONS_ADMM_STAGES];
    float *S;    /* [CHUNK, d] Z where kept, U where pruned */
    float *line; /* [d] */
} chunk;

static void chunk_destroy(chunk *c)
{
    for (int k = 0; k < PONS_ADMM_STAGES; k++)
        pons_rows_destroy(&c->rows[k]);
    pons_mem_free(c->line);
    pons_mem_free(c->S);
}

static pons_status chunk_create(const pons_row_shared *shared, int64_t d, chunk *c)
{
    pons_status st = PONS_OK;
    PONS_ALLOC(st, c->S, CHUNK * d);
    PONS_ALLOC(st, c->line, d);
    for (int k = 0; k < PONS_ADMM_STAGES; k++)
        PONS_TRY(st, pons_rows_create(shared->shrink[k]->product,
                                      shared->shrink[k]->P ? PONS_PRODUCT_FP32 : PONS_PRODUCT_BF16,
                                      d, d, CHUNK, &c->rows[k]));
done:
    return st;
}

/* Z - U - W of a row. */
static void distance(int64_t d, const float *S, const uint8_t *mask, const float *w, float *out)
{
    for (int64_t j = 0; j < d; j++)
        out[j] = (mask[j] ? S[j] : -S[j]) - w[j];
}

/* S and its mask from the product. @param product [d] is overwritten */
static void turn(pons_mask_rule rule, int64_t d, const float *w, float *S, uint8_t *mask,
                 float *product)
{
    for (int64_t j = 0; j < d; j++) {
        S[j] = w[j] + product[j] + (mask[j] ? 0.0f : S[j]);
        product[j] = fabsf(S[j]);
    }
    pons_mask_row(rule, d, product, mask);
}

/* @return false when a product could not be run */
static bool iterate(const pons_row_shared *shared, pons_mask_rule rule, int64_t n, int64_t d,
                    const float *W, uint8_t *mask, chunk *c)
{
    for (int64_t i = 0; i < n * d; i++)
        c->S[i] = mask[i] ? W[i] : 0.0f;
    for (int k = 0; k < PONS_ADMM_STAGES; k++) {
        pons_rows *rows = c->rows[k];
        float shrink = k ? (float)(shared->shrink[k - 1]->rho / shared->shrink[k]->rho) : 1.0f;
        for (int64_t i = 0; i < n * d; i++) /* U is a price over rho */
            c->S[i] *= mask[i] ? 1.0f : shrink;
        for (int step = 0; step < PONS_ADMM_STEPS; step++) {
            for (int64_t i = 0; i < n; i++) {
                distance(d, c->S + i * d, mask + i * d, W + i * d, c->line);
                pons_rows_put(rows, i, c->line);
            }
            if (!pons_rows_run(rows, n)) return false;
            for (int64_t i = 0; i < n; i++) {
                pons_rows_get(rows, i, c->line);
                turn(rule, d, W + i * d, c->S + i * d, mask + i * d, c->line);
            }
        }
    }
    return true;
}

pons_status pons_mask_admm(const pons_row_shared *shared, pons_mask_rule rule,
                           const pons_solve_panel *panel, uint8_t *mask, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    int64_t rows = panel->rows, d = panel->d, threads = omp_get_max_threads();
    chunk *work = NULL;
    bool refused = false;
    PONS_CALLOC(st, work, threads);
    for (int64_t k = 0; k < threads; k++)
        PONS_TRY(st, chunk_create(shared, d, &work[k]));
#pragma omp parallel for schedule(dynamic)
    for (int64_t first = 0; first < rows; first += CHUNK) {
        int64_t n = rows - first < CHUNK ? rows - first : CHUNK;
        if (!iterate(shared, rule, n, d, panel->W + first * d, mask + first * d,
                     &work[omp_get_thread_num()])) {
#pragma omp atomic write
            refused = true;
        }
    }
    if (refused)
        st = pons_fail(PONS_ERR_BUG, "%s: a product of its mask failed to run", panel->name);
    metrics->products += (double)rows * PONS_ADMM_STAGES * PONS_ADMM_STEPS;
done:
    for (int64_t k = 0; work && k < threads; k++)
        chunk_destroy(&work[k]);
    pons_mem_free(work);
    return st;
}
