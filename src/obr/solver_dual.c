/* Conjugate gradients in the inverse Hessian. Owns what is iterated, how it is checked and refined.
 * Passes over vectors and products are in kern, stages and threads in dual.c.
 *
 * With K = H^-1, target y and pruned set E of a row, the minimiser of (x - y) H (x - y)^T with x
 * zero on E is x = y - l K where K_EE l = y_E. K_EE is well conditioned where the Hessian of the
 * kept columns is not, and K is the same for every row.
 * Check: increments of the dual objective add up to the minimum from below, the objective of x with
 * H bounds it from above; a row passes when the two agree to the tolerance, what rounding hides
 * included. Where H is copied as bf16 terms, two of them meet x rounded first; rows that miss go on
 * where they stopped, and then are checked with all terms of both. A row that misses again is
 * refined: with g = (x - y) H at its kept columns, the correction solves the same problem for y =
 * -g K. */
#include <math.h>
#include <string.h>

#include "obr/chunk.h"

/* List the rows that need iterations; x of the others is set. The mask of row i is at mask + i *
 * ldm. */
static int64_t start_rows(pons_chunk *c, const pons_hessian_inverse *s, int64_t rows,
                          const uint8_t *mask, int64_t ldm)
{
    int64_t n = s->n, padded = s->of.padded, listed = 0;
    c->cg.of = s->of;
    for (int64_t i = 0; i < rows; i++) {
        const uint8_t *keep = mask + i * ldm;
        float *u = c->cg.U + i * padded, *x = c->X + i * padded;
        const float *y = c->Y + i * padded;
        pons_cg_mark(&c->cg, i, n, keep, false);
        memset(u + n, 0, (size_t)(padded - n) * sizeof *u);
        pons_vector_divide(n, y, s->unit, u);
        c->cg.sum[i] = 0.0;
        if (pons_chunk_project(c, s, i, keep) || c->failed[i]) continue;
        c->cg.row[listed++] = i;
        memset(x, 0, (size_t)padded * sizeof *x);
    }
    return listed;
}

/* Add the result of the iterations to x of the listed rows. */
static void collect(pons_chunk *c, const pons_hessian_inverse *s, int64_t listed,
                    const int64_t *list)
{
    int64_t padded = s->of.padded;
    for (int64_t k = 0; k < listed; k++) {
        float *x = c->X + list[k] * padded, *found = c->line;
        pons_cg_part(&c->cg, list[k], false, c->cg.U + list[k] * padded, s->unit, found);
        pons_vector_add(padded, found, x);
    }
}

/* Rounding error of the objective through stage B's y = b K: the error of y times the gradient g.
 * @param size of g in units of K's scaling: sums of squares, of all and of each times the norm of
 * K's column without the diagonal */
static double target_rounding(const pons_hessian_inverse *s, const float *b, const double *size)
{
    int64_t n = s->of.padded;
    double spread = size[0] + size[1];
    return pons_chunk_unit_rounding(s->kind, s->n) *
           sqrt(pons_vector_weighted_square(n, b, s->unit) * spread);
}

/* Error of l K l where K is made of two terms of U; l has this square. */
static double two_term_error(const pons_hessian_inverse *s, double square)
{
    return s->two_term ? 0x1p-17 * square : 0.0;
}

/* Error of the lower bound l K l from the rounding of K: three standard deviations for l spread
 * evenly over all columns. It averages out with the width; the diagonal is exact. @param size of l,
 * as above */
static double bound_rounding(const pons_hessian_inverse *s, const double *size)
{
    double spread = size[1] / (double)s->of.padded;
    return (s->kind == PONS_PRODUCT_SPLIT ? 0x1.6p-9 : 0x1.6p-22) * sqrt(size[0] * spread) +
           two_term_error(s, size[0]);
}

/* H was multiplied by the rounded z~ = z - r, z being x or x - y. With g~ = z~ H the objective is
 * (x - y + r) g~ + r H r. D = x - y becomes D + r. @return eight times the mean of the last term
 * over random signs of r, which five rows of a thousand exceed when H has rank one. @param z in: z~ */
static double correct_rounding(const pons_hessian_inverse *s, bool known, const float *x, float *D,
                               float *z)
{
    int64_t n = s->of.padded;
    const float *whole = known ? x : D;
    pons_vector_subtract(n, whole, z, z);
    pons_vector_add(n, z, D);
    return 8.0 * pons_vector_weighted_square(n, z, s->diagonal_root);
}

/* Update the objective of one row and its error bound; true when the bounds agree to the tolerance.
 * @param g gradient (x - y) H; @param D work; @param z the rounded operand that H was multiplied
 * by, work afterwards; NULL: not rounded */
static bool check_row(pons_chunk *c, const pons_stage *w, double tolerance, int round, int64_t i,
                      const float *g, float *D, float *z)
{
    const pons_hessian_inverse *s = w->inverse;
    int64_t padded = s->of.padded;
    bool known = w == &c->B;
    const float *x = c->X + i * padded, *y = c->Y + i * padded, *u = c->cg.U + i * padded;
    float *old = c->G + i * padded;
    double noise = 0.0, change = 0.0;
    if (round > 0) {
        pons_cg_part(&c->cg, i, false, u, s->unit, D);
        pons_vector_add(padded, g, old);
        /* the correction D moved the objective by D (g + the gradient before) */
        c->value[i] += pons_vector_dot(padded, D, old);
        noise = 2 * pons_chunk_rounding_error(s, s->kind, x, D);
    } else {
        pons_vector_subtract(padded, x, y, D);
        noise = pons_chunk_rounding_error(s, z ? PONS_PRODUCT_MIXED : s->kind, known ? x : D, D);
        if (!known) change = pons_vector_square(padded, D);
        double rounding_bound = z ? correct_rounding(s, known, x, D, z) : 0.0;
        noise += known ? rounding_bound + c->rounding_bound[i] : rounding_bound;
        if (!known) c->rounding_bound[i] = rounding_bound;
        c->value[i] = pons_vector_dot(padded, D, g);
        double size[2];
        pons_vector_weighted_squares(padded, g, s->unit, s->offdiagonal_norm, size);
        noise += bound_rounding(s, size); /* l = -g on E, and g is small elsewhere */
        if (known) noise += target_rounding(s, c->b + i * padded, size);
    }
    /* and the error of the gradient from its own rounding. The rounding that stage A left in it
     * counts in stage B, where no refinement reduces it. */
    noise += 0x1p-48 * s->noise_gain * (known ? c->change[i] : change);
    return fabs(c->value[i] - c->cg.sum[i]) + noise <=
           tolerance * fmax(c->cg.sum[i], c->cg.lower_bound[i]);
}

/*
 * Compare the bounds of the listed rows. Those that agree are done: G becomes the gradient at kept
 * columns. Returns how many do not; they are listed anew, their gradients in units of K's scaling
 * in P.
 * @param kind of the product with H; mixed: P is left, another check follows; @param bf16 what P
 * becomes
 */
static int64_t check_rows(pons_chunk *c, const pons_stage *w, double tolerance, int round,
                          pons_product_kind kind, int64_t listed, int64_t *list, bool bf16)
{
    const pons_hessian_inverse *s = w->inverse;
    int64_t padded = s->of.padded, missed = 0;
    bool known = w == &c->B; /* y H, more exactly than from y */
    bool rounded = kind == PONS_PRODUCT_MIXED;
    float *g = c->line, *D = g + padded, *z = D + padded;
    for (int64_t k = 0; k < listed; k++) {
        const float *x = c->X + list[k] * padded, *y = c->Y + list[k] * padded;
        if (!known) pons_vector_subtract(padded, x, y, D);
        pons_cg_put(&c->cg, rounded, k, known ? x : D);
    }
    pons_chunk_multiply(c, w->hessian, kind, listed);
    for (int64_t k = 0; k < listed; k++) {
        int64_t i = list[k];
        float *G = c->G + i * padded;
        pons_cg_get(&c->cg, k, g);
        if (known) pons_vector_subtract(padded, g, c->b + i * padded, g);
        if (rounded) pons_cg_fetch(&c->cg, true, k, z);
        bool good = check_row(c, w, tolerance, round, i, g, D, rounded ? z : NULL);
        pons_cg_part(&c->cg, i, false, g, NULL, G);
        if (good) continue;
        list[missed++] = i;
        if (rounded) continue;
        pons_vector_multiply(padded, G, s->unit, g);
        pons_cg_put(&c->cg, bf16, missed - 1, g);
    }
    return missed;
}

/* Targets of the correction: u = -g K, and the bound as it is without it. */
static void start_refinement(pons_chunk *c, const pons_stage *w, pons_product_kind kind,
                             int64_t listed, const int64_t *list)
{
    int64_t padded = w->inverse->of.padded;
    pons_chunk_multiply(c, w->product, kind, listed);
    for (int64_t k = 0; k < listed; k++) {
        int64_t i = list[k];
        float *u = c->cg.U + i * padded;
        pons_cg_get(&c->cg, k, u);
        pons_cg_fetch(&c->cg, kind == PONS_PRODUCT_BF16, k, c->line);
        c->cg.sum[i] = c->value[i] - pons_vector_dot(padded, c->line, u) -
                       two_term_error(w->inverse, pons_vector_square(padded, c->line));
        c->refined[i] = true;
        for (int64_t j = 0; j < padded; j++)
            u[j] = -u[j];
    }
}

/* Rows that missed the first check continue where they stopped and are checked again, with the most
 * exact products: the rounding in the first check does not shrink with more iterations. Rows that
 * miss this check are listed; returns their number. */
static int64_t resume_rows(pons_chunk *c, const pons_stage *w, double tolerance,
                           pons_product_kind kind, pons_cg_stop stop, int64_t listed, int64_t *list)
{
    int64_t padded = w->inverse->of.padded;
    memcpy(c->cg.row, list, (size_t)listed * sizeof *list);
    for (int64_t k = 0; k < listed; k++)
        memset(c->X + list[k] * padded, 0, (size_t)padded * sizeof *c->X);
    if (!pons_cg_run(&c->cg, w->product, kind, stop, true, listed)) c->refused = true;
    collect(c, w->inverse, listed, list);
    return check_rows(c, w, tolerance, 0, w->inverse->kind, listed, list,
                      kind == PONS_PRODUCT_BF16);
}

void pons_dual_minimise(pons_chunk *c, const pons_stage *w, double tolerance, int64_t rows,
                        const uint8_t *mask, int64_t ldm)
{
    pons_product_kind exact = w->inverse->kind, kind = exact, check = exact;
    int64_t list[PONS_CHUNK_ROWS], listed = start_rows(c, w->inverse, rows, mask, ldm);
    int rounds = exact == PONS_PRODUCT_SPLIT ? 3 : 2;
    pons_cg_stop stop = {PONS_CHUNK_STOP * tolerance, PONS_CHUNK_ITERATIONS, true};
    memcpy(list, c->cg.row, (size_t)listed * sizeof *list);
    if (exact == PONS_PRODUCT_SPLIT) kind = PONS_PRODUCT_BF16;
    if (exact != PONS_PRODUCT_FP32) check = PONS_PRODUCT_MIXED;
    for (int round = 0; listed > 0 && !c->refused; round++) {
        if (!pons_cg_run(&c->cg, w->product, kind, stop, false, listed)) c->refused = true;
        collect(c, w->inverse, listed, list);
        stop.share *= PONS_CHUNK_TIGHTEN;
        stop.keep = false;
        if (round == 0) {
            listed = check_rows(c, w, tolerance, round, check, listed, list, false);
            listed = resume_rows(c, w, tolerance, kind, stop, listed, list);
        }
        if (round + 2 == rounds) kind = exact; /* the last one */
        if (round > 0)
            listed =
                check_rows(c, w, tolerance, round, exact, listed, list, kind == PONS_PRODUCT_BF16);
        if (listed == 0) return;
        if (round + 1 == rounds) break;
        start_refinement(c, w, kind, listed, list);
        memcpy(c->cg.row, list, (size_t)listed * sizeof *list);
    }
    for (int64_t k = 0; k < listed; k++)
        c->failed[list[k]] = true;
}
