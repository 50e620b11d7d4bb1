/**
 * Conjugate gradients in the inverse Hessian over rows that one thread works on together. Internal to
 * the room.
 *
 * A row minimises (x - y) H (x - y)^T with x zero on its pruned set E. With K = H^-1 scaled to unit
 * diagonal, all in units of `unit`: u = y - l K, where K_EE l = y_E; u shrinks to zero on E, where it is
 * the residual, and is the minimiser elsewhere. One product of all rows with K is an iteration.
 */
#ifndef PONS_OBR_CG_H
#define PONS_OBR_CG_H

#include "kern/product.h"

/** Rows in flight, up to `capacity`. Rows of U and E are [padded], zero past column n; P and Q stand in
 * tiles as products take them, [tiles, capacity, width]. */
typedef struct pons_cg {
    pons_product_tiles of;
    int64_t capacity;
    float *U;       /* by row */
    int8_t *E;      /* by row: -1 pruned, 0 kept or padding */
    void *P;        /* by slot: directions of the listed rows, fp32 or bf16 */
    float *Q;       /* by slot: their products */
    int64_t *row;   /* by slot: the listed rows */
    double *sum;    /* by row: increments of the dual objective, added up: a lower bound of the
                       minimum */
    double *least;  /* by row: what the whole error of the row will be at least */
    int32_t *count; /* by row: iterations are added */
} pons_cg;

/** When a row stops: its objective grew by less than `share` of itself (or of `least`, if that is more), or after `cap` iterations. */
typedef struct pons_cg_stop {
    double share;
    int cap;
} pons_cg_stop;

/**
 * Iterate the rows listed in row[0..listed), each until it stops.
 *
 * On entry U holds y; on exit u. Rows that stopped at the cap or broke down (K not positive, NaN) are
 * left to the caller's check. Local, one thread. A row's bits do not depend on the others.
 * @param worker of the product with K, run as `kind`; P is bf16 for bf16, else fp32
 * @return false when the library refused a product
 */
bool pons_cg_run(pons_cg *cg, pons_product_worker *worker, pons_product_kind kind,
                 pons_cg_stop stop, int64_t listed);

/** Sum of a[j] b[j] in 16 fixed lanes, fp64. Local. */
double pons_cg_dot(int64_t n, const float *a, const float *b);

/** Sum of (a[j] w[j])^2, n a multiple of 16, in fixed lanes, fp32. Local. */
double pons_cg_weigh(int64_t n, const float *a, const float *w);

/** Slot `slot` of Q as a row [padded]. Local. */
void pons_cg_get(const pons_cg *cg, int64_t slot, float *out);

/** A row x [padded] as slot `slot` of P, and back. Local. */
void pons_cg_put(pons_cg *cg, bool bf16, int64_t slot, const float *x);
void pons_cg_fetch(const pons_cg *cg, bool bf16, int64_t slot, float *x);

#endif
