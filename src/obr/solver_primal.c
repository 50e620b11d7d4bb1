/* Conjugate gradients in the Hessian of the kept columns. Owns what is iterated and how it is
 * checked. Passes over vectors and products are in kern, stages and threads in dual.c.
 *
 * From x = y at kept columns R on: gradient g = (x - y) H, correction l with l H_RR = -g_R.
 * Check: with K = H^-1, the multipliers -g_E of the constraints x_E = 0 have a dual objective that
 * is exactly g_R K_RR g_R^T below that of x, so the minimum is, too, at most. Rows that miss the
 * tolerance go on from the gradient they have. */
#include <math.h>
#include <string.h>

#include "obr/chunk.h"

/* What bf16 may take off a gap. */
#define SLACK (1.0 + 0x1p-6)

static int64_t start_rows(pons_chunk *c, const pons_hessian_inverse *s, int64_t rows,
                          const uint8_t *mask, int64_t ldm, int64_t *list)
{
    int64_t listed = 0;
    c->cg.of = s->of;
    c->cg.weight = s->reciprocal;
    for (int64_t i = 0; i < rows; i++) {
        pons_cg_mark(&c->cg, i, s->n, mask + i * ldm, true);
        c->cg.sum[i] = 0.0;
        if (!pons_chunk_project(c, s, i, mask + i * ldm) && !c->failed[i]) list[listed++] = i;
    }
    return listed;
}

/* Gradients of the listed rows: negated to U; at kept columns to G. Objectives, less their rounding
 * error, to `value`. */
static void find_gradients(pons_chunk *c, const pons_stage *w, int64_t listed, const int64_t *list)
{
    const pons_hessian_inverse *s = w->inverse;
    int64_t padded = s->of.padded;
    bool known = w == &c->B; /* y H, more exactly than from y */
    float *D = c->line;
    for (int64_t k = 0; k < listed; k++) {
        const float *x = c->X + list[k] * padded, *y = c->Y + list[k] * padded;
        if (!known) pons_vector_subtract(padded, x, y, D);
        pons_cg_put(&c->cg, false, k, known ? x : D);
    }
    pons_chunk_multiply(c, w->hessian, s->kind, listed);
    for (int64_t k = 0; k < listed; k++) {
        int64_t i = list[k];
        const float *x = c->X + i * padded, *y = c->Y + i * padded;
        float *u = c->cg.U + i * padded, *G = c->G + i * padded;
        pons_cg_get(&c->cg, k, u);
        for (int64_t j = 0; j < padded; j++) {
            D[j] = x[j] - y[j];
            u[j] = (known ? c->b[i * padded + j] : 0.0f) - u[j];
        }
        pons_cg_part(&c->cg, i, true, u, NULL, G);
        for (int64_t j = 0; j < padded; j++)
            G[j] = -G[j];
        c->value[i] = -pons_vector_dot(padded, D, u) -
                      pons_chunk_rounding_error(s, s->kind, known ? x : D, D);
    }
}

/* Rows whose gap is above the tolerance, listed anew; how many. */
static int64_t check_rows(pons_chunk *c, const pons_stage *w, double tolerance, int64_t listed,
                          int64_t *list)
{
    const pons_hessian_inverse *s = w->inverse;
    int64_t padded = s->of.padded, missed = 0;
    bool bf16 = s->kind == PONS_PRODUCT_SPLIT;
    float *g = c->line, *gK = c->line + padded;
    for (int64_t k = 0; k < listed; k++) {
        pons_vector_multiply(padded, c->G + list[k] * padded, s->unit, g);
        pons_cg_put(&c->cg, bf16, k, g);
    }
    pons_chunk_multiply(c, w->product, bf16 ? PONS_PRODUCT_BF16 : s->kind, listed);
    for (int64_t k = 0; k < listed; k++) {
        int64_t i = list[k];
        pons_cg_fetch(&c->cg, bf16, k, g);
        pons_cg_get(&c->cg, k, gK);
        double gap = SLACK * pons_vector_dot(padded, g, gK);
        /* stage B: rounding of the known part of the gradient, which the gradient does not show */
        if (w == &c->B) gap += 0x1p-48 * s->noise_gain * c->change[i];
        double lower_bound = c->value[i] - gap;
        if (gap <= tolerance * fmax(lower_bound, c->cg.lower_bound[i]))
            c->cg.sum[i] = fmax(lower_bound, 0.0);
        else
            list[missed++] = i;
    }
    return missed;
}

/* x <- x + what conjugate gradients find for the listed rows. */
static void refine_rows(pons_chunk *c, const pons_stage *w, pons_product_kind kind,
                        pons_cg_stop stop, int64_t listed, const int64_t *list)
{
    int64_t padded = w->inverse->of.padded;
    for (int64_t k = 0; k < listed; k++) {
        memset(c->cg.L + list[k] * padded, 0, (size_t)padded * sizeof *c->cg.L);
        c->cg.sum[list[k]] = c->value[list[k]];
    }
    memcpy(c->cg.row, list, (size_t)listed * sizeof *list);
    if (!pons_cg_run(&c->cg, w->hessian, kind, stop, false, listed)) c->refused = true;
    for (int64_t k = 0; k < listed; k++)
        pons_vector_add(padded, c->cg.L + list[k] * padded, c->X + list[k] * padded);
}

void pons_primal_minimise(pons_chunk *c, const pons_stage *w, double tolerance, int64_t rows,
                          const uint8_t *mask, int64_t ldm)
{
    pons_product_kind exact = w->inverse->kind;
    int64_t list[PONS_CHUNK_ROWS] = {0};
    int64_t listed = start_rows(c, w->inverse, rows, mask, ldm, list);
    int rounds = exact == PONS_PRODUCT_SPLIT ? 3 : 2;
    pons_cg_stop stop = {PONS_CHUNK_STOP * tolerance, PONS_CHUNK_ITERATIONS, false};
    find_gradients(c, w, listed, list);
    for (int round = 0; round < rounds && listed > 0 && !c->refused; round++) {
        bool last = round + 1 == rounds;
        for (int64_t k = 0; round > 0 && k < listed; k++)
            c->refined[list[k]] = true;
        refine_rows(c, w, exact == PONS_PRODUCT_SPLIT && !last ? PONS_PRODUCT_BF16 : exact, stop,
                    listed, list);
        find_gradients(c, w, listed, list);
        listed = check_rows(c, w, tolerance, listed, list);
        stop.share *= PONS_CHUNK_TIGHTEN;
    }
    for (int64_t k = 0; k < listed; k++)
        c->failed[list[k]] = true;
}
