/**
 * A chunk: the rows that one thread takes through both stages of an iterative solve together.
 * Internal to the room. solver_dual.c and solver_primal.c minimise; dual.c owns the stages around
 * them.
 */
#ifndef PONS_OBR_CHUNK_H
#define PONS_OBR_CHUNK_H

#include "kern/cg.h"
#include "kern/vector.h"
#include "obr/dual.h"

enum {
    PONS_CHUNK_ROWS = 1024,    /* at most */
    PONS_CHUNK_ITERATIONS = 40 /* iterations of a round */
};

/* A row stops when the gain it can still expect is below this share of the tolerance times the
 * objective. Each further round multiplies the share by PONS_CHUNK_TIGHTEN, since the row then
 * missed a check. */
#define PONS_CHUNK_STOP 0.05
#define PONS_CHUNK_TIGHTEN 0.1

/** What one thread needs for one stage. */
typedef struct pons_stage {
    const pons_hessian_inverse *inverse; /* NULL: no such stage */
    pons_product_worker *product, *hessian;
} pons_stage;

/** The memory of one thread. Arrays by row have the stride of the stage's columns. */
typedef struct pons_chunk {
    pons_stage A, B;
    pons_product_worker *left;
    float *block; /* owns `space`, the arrays of cg with an entry for each column, and X to line */
    uint8_t *space; /* work space of the products */
    pons_cg cg;
    float *X, *Y;           /* by row: minimiser, target */
    float *G;               /* by row: gradient at kept columns */
    float *b;               /* by row, stage B: y H_TT, from which y was made */
    float *line;            /* [3, padded] work */
    double *value;          /* by row: objective of x */
    double *change;         /* by row, stage B: squared norm of the changes that made b */
    double *rounding_bound; /* by row: rounding that stage A's check cannot see and leaves in G */
    bool *failed, *refined; /* by row */
    double products;        /* of a row with a matrix of its width, in the latest chunk */
    bool refused;           /* the library refused a product */
} pons_chunk;

/**
 * Minimise (x - y) H (x - y)^T for the first `rows` rows of a chunk, x zero where pruned. Local,
 * one thread.
 *
 * On entry Y holds y, b (stage B) y H, and cg.lower_bound a lower bound of the row's whole error.
 * On exit X holds x, G the gradient at kept columns, cg.sum a lower bound of the minimum; rows that
 * missed the tolerance in all rounds are marked as failed. A row's bits do not depend on the
 * others.
 * @param mask 1 = keep, row i at mask + i * ldm
 */
typedef void pons_chunk_minimise(pons_chunk *c, const pons_stage *w, double tolerance, int64_t rows,
                                 const uint8_t *mask, int64_t ldm);
pons_chunk_minimise pons_dual_minimise, pons_primal_minimise;

/** Memory for chunks of `rows` rows. Local. @param primal for pons_primal_minimise @return PONS_OK,
 * PONS_ERR_NOMEM; then, too, `c` is to be destroyed. */
pons_status pons_chunk_create(const pons_dual *dual, bool primal, int64_t rows, pons_chunk *c);

/** Free what a chunk holds. Local. */
void pons_chunk_destroy(pons_chunk *c);

/** Q <- P times a worker's matrix. Local. */
void pons_chunk_multiply(pons_chunk *c, pons_product_worker *worker, pons_product_kind kind,
                         int64_t rows);

/** Project a row: its x <- y at kept columns, 0 elsewhere; its G <- 0. Local. @param keep [n]
 * @return true when x is the minimiser: nothing is kept, or y is zero at all pruned columns */
bool pons_chunk_project(pons_chunk *c, const pons_hessian_inverse *s, int64_t i,
                        const uint8_t *keep);

/** Rounding error of an entry of x H of n columns, in units of |x| |H_j|; mixed: without that of
 * rounding x. Local. */
double pons_chunk_unit_rounding(pons_product_kind kind, int64_t n);

/** Rounding error of the objective D (x H), four to five standard deviations. Local. @param kind of
 * the product with H;
 * @param x, D [padded] */
double pons_chunk_rounding_error(const pons_hessian_inverse *s, pons_product_kind kind,
                                 const float *x, const float *D);

#endif
