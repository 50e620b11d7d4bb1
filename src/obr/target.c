/* Least-squares targets of rows. Owns the algebra; the pipeline provides x, x~ and the residual
 * streams. */
#include "obr/target.h"

#include "base/mem.h"
#include "kern/panel.h"

struct pons_target {
    const pons_hessian_factor *factor; /* not owned */
    float *delta;                      /* [d, d] or NULL */
    float *transposed;                 /* [d, d] U^T, lower triangular */
};

pons_status pons_target_create(const pons_hessian_factor *factor, const double *delta,
                               pons_target **out)
{
    enum { TILE = 64 };
    pons_status st = PONS_OK;
    pons_target *t = NULL;
    int64_t d = factor->d, tiles = (d + TILE - 1) / TILE;
    PONS_CALLOC(st, t, 1);
    t->factor = factor;
    if (delta) PONS_ALLOC(st, t->delta, d * d);
    PONS_ALLOC(st, t->transposed, d * d);
#pragma omp parallel for schedule(static)
    for (int64_t item = 0; item < tiles * tiles; item++) {
        int64_t i0 = item / tiles * TILE, j0 = item % tiles * TILE;
        for (int64_t i = i0; i < i0 + TILE && i < d; i++)
            for (int64_t j = j0; j < j0 + TILE && j < d; j++) {
                if (delta) t->delta[i * d + j] = (float)delta[i * d + j];
                t->transposed[i * d + j] = factor->U[j * d + i];
            }
    }
    *out = t;
    t = NULL;
done:
    pons_target_destroy(&t);
    return st;
}

void pons_target_destroy(pons_target **target)
{
    if (!*target) return;
    pons_mem_free((*target)->transposed);
    pons_mem_free((*target)->delta);
    pons_mem_free(*target);
    *target = NULL;
}

pons_status pons_target_step(const pons_target *t, int64_t row, int64_t rows, const float *W,
                             const double *cross, float *D)
{
    pons_status st = PONS_OK;
    int64_t d = t->factor->d;
    float *y = NULL;
    PONS_ALLOC(st, y, rows * d);
    if (t->delta)
        PONS_TRY(st, pons_panel_multiply(row, rows, d, W, t->delta, D));
    else
        for (int64_t i = 0; i < rows * d; i++)
            D[i] = (float)cross[i];
    /* times H^-1 = U^T U */
    PONS_TRY(st, pons_panel_multiply(row, rows, d, D, t->transposed, y));
    PONS_TRY(st, pons_panel_multiply(row, rows, d, y, t->factor->U, D));
done:
    pons_mem_free(y);
    return st;
}
