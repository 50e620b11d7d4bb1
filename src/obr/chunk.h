/**
 * Rows on their way through the two stages of an iterative solve, as many as one thread works on
 * together. Internal to the room. solver_dual.c and solver_primal.c minimise; dual.c owns the stages around them.
 */
#ifndef PONS_OBR_CHUNK_H
#define PONS_OBR_CHUNK_H

#include "kern/cg.h"
#include "kern/vector.h"
#include "obr/dual.h"

enum {
    PONS_CHUNK_ROWS = 1024, /* at most */
    PONS_CHUNK_CAP = 40     /* iterations of a round */
};

/* Gains to come over the objective at which a row stops, in units of the tolerance; stricter with each round:
 * the row has shown that its last gains say little. */
#define PONS_CHUNK_STOP 0.05
#define PONS_CHUNK_AGAIN 0.1

/** What one thread needs for one stage. */
typedef struct pons_stage {
    const pons_hessian_inverse *inverse; /* NULL: no such stage */
    pons_product_worker *product, *hessian;
} pons_stage;

/** What one thread works in. Arrays of rows have the stride of the stage's columns. */
typedef struct pons_chunk {
    pons_stage A, B;
    pons_product_worker *left;
    float *block;   /* what holds `space` and all that has an entry for each column */
    uint8_t *space; /* of the products */
    pons_cg cg;
    float *X, *Y;  /* minimiser, target */
    float *G;      /* gradient at kept columns */
    float *b;      /* stage B: y H_TT as it came, before K made y of it */
    float *line;   /* [3, padded] */
    double *value; /* objective of x */
    double *moved; /* stage B: squared norms of what made b */
    double *loose; /* what rounding may have hidden from stage A's check and left in its gradient */
    bool *failed, *refined;
    double products; /* of a row with a matrix of its width, in the latest chunk */
    bool refused;    /* a product could not be run */
} pons_chunk;

/**
 * Minimise (x - y) H (x - y)^T for the first `rows` rows of a chunk, x zero where pruned. Local, one thread.
 *
 * On entry Y holds y, b y H in stage B, cg.least what the whole error of a row is at least. On exit X
 * holds x, G the gradient at kept columns, cg.sum a lower bound of the minimum; rows that missed the
 * tolerance in all rounds have failed. A row's bits do not depend on the others.
 * @param mask 1 = keep, row i at mask + i * ldm
 */
typedef void pons_chunk_minimise(pons_chunk *c, const pons_stage *w, double tolerance, int64_t rows,
                                 const uint8_t *mask, int64_t ldm);
pons_chunk_minimise pons_dual_minimise, pons_primal_minimise;

/** Memory for chunks of `rows` rows. Local. @param primal for pons_primal_minimise @return PONS_OK, PONS_ERR_NOMEM; then, too,
 * `c` is to be destroyed. */
pons_status pons_chunk_create(const pons_dual *dual, bool primal, int64_t rows, pons_chunk *c);

/** Free what a chunk holds. Local. */
void pons_chunk_destroy(pons_chunk *c);

/** Q <- P times a worker's matrix. Local. */
void pons_chunk_multiply(pons_chunk *c, pons_product_worker *worker, pons_product_kind kind,
                         int64_t rows);

/** x of row i <- y at kept columns, its G <- 0; whether that is all: nothing is kept or nothing was lost.
 * Local. @param keep [n] */
bool pons_chunk_settle(pons_chunk *c, const pons_hessian_inverse *s, int64_t i,
                       const uint8_t *keep);

/** What rounding does to an entry of x H of n columns, in units of |x| |H_j|; that of x to bf16 (mixed) besides. Local. */
double pons_chunk_grain(pons_product_kind kind, int64_t n);

/** What it does to D (x H): four to five standard deviations. Local. @param kind of the product; @param x, D [padded] */
double pons_chunk_rounding(const pons_hessian_inverse *s, pons_product_kind kind, const float *x,
                           const float *D);

#endif
