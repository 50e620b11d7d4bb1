/**
 * Conjugate gradients over rows that one thread works on together.
 *
 * Each row has a set E of columns and solves l A_EE = y_E, A symmetric and the same for all rows: u
 * = y - l A shrinks to zero on E. One product of all rows with A is an iteration.
 *   dual    A = H^-1 scaled to unit diagonal, E pruned: off E, u becomes the minimiser of
 *           (x - y) H (x - y)^T with x zero on E; the objective rises to its minimum
 *   primal  A = H, E kept: u is the gradient, l the minimiser; the objective falls to its minimum
 */
#ifndef PONS_KERN_CG_H
#define PONS_KERN_CG_H

#include "kern/product.h"

/** The state of up to `capacity` rows. Arrays by row have stride `padded`, and U and E are zero
 * past column n. Arrays by slot stand in tiles as products take them, [tiles, capacity, width];
 * slot k belongs to row row[k]. */
typedef struct pons_cg {
    pons_product_tiles of;
    int64_t capacity;
    float *U;    /* by row */
    uint16_t *E; /* by row: [padded / 16] marks of the columns in E, the first one the lowest bit */
    float *L;    /* by row: l is added; NULL: not wanted, and the objective rises */
    const float *weight;    /* [padded] preconditioner: a reciprocal diagonal; with L only */
    void *P;                /* by slot: directions, fp32 or bf16 */
    float *Q;               /* by slot: their products with A */
    void *saved;            /* by row, type of P: directions of stopped rows that may be resumed */
    int64_t *row;           /* by slot: the listed rows */
    double *gain;           /* by row: of its latest iteration */
    double *sum;            /* by row: the objective: gains are added, with L subtracted */
    double *lower_bound;    /* by row: of the whole error of the row */
    int32_t *count;         /* by row: iterations are added */
    double product_seconds; /* the time of pons_cg_multiply is added */
} pons_cg;

/** When a row stops: its objective is expected to change by less than `share` of itself (or of its
 * lower bound, if that is larger) in all further iterations, if gains keep shrinking as the latest
 * two did; or after `cap` iterations. */
typedef struct pons_cg_stop {
    double share;
    int cap;
    bool keep; /* save its direction, so that it can be resumed */
} pons_cg_stop;

/**
 * Iterate the rows listed in row[0..listed), each until it stops.
 *
 * On entry U holds y, or with `again` the u of the previous call; on exit u. Rows that stopped at
 * the cap or broke down (A not positive, NaN) are left to the check of the caller. With `again` and
 * a smaller share, rows whose directions were saved continue as if they had not stopped. Local, one
 * thread. A row's bits do not depend on the others.
 * @param worker of the product with A, run as `kind`; P is bf16 for PONS_PRODUCT_BF16, else fp32
 * @return false when the library refused a product
 */
bool pons_cg_run(pons_cg *cg, pons_product_worker *worker, pons_product_kind kind,
                 pons_cg_stop stop, bool again, int64_t listed);

/** Q <- P times a worker's matrix for the first `rows` slots; its time is counted. Local.
 * @return false when the library refused */
bool pons_cg_multiply(pons_cg *cg, pons_product_worker *worker, pons_product_kind kind,
                      int64_t rows);

/** E of a row <- the columns [0, n) that `keep` keeps, or those that it does not. Local. */
void pons_cg_mark(pons_cg *cg, int64_t row, int64_t n, const uint8_t *keep, bool kept);

/** Part of x in a row's E, or outside it: out[j] = x[j], times scale[j] unless NULL, or 0; all
 * [padded]. Local. */
void pons_cg_part(const pons_cg *cg, int64_t row, bool inside, const float *x, const float *scale,
                  float *out);

/** Slot `slot` of Q as a row [padded]. Local. */
void pons_cg_get(const pons_cg *cg, int64_t slot, float *out);

/** A row x [padded] as slot `slot` of P, and back. Local. */
void pons_cg_put(pons_cg *cg, bool bf16, int64_t slot, const float *x);
void pons_cg_fetch(const pons_cg *cg, bool bf16, int64_t slot, float *x);

#endif
