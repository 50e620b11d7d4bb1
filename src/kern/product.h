/**
 * Products of rows with one shared matrix inside a thread: solvers that give every thread its own rows
 * run these between passes over vectors.
 *
 * Rows stand in memory as [rows, padded(n)], results as [tiles, rows, width] with tiles * width =
 * padded(N): each tile is written whole. The bits of a row do not depend on the other rows nor on its
 * place among them.
 */
#ifndef PONS_KERN_PRODUCT_H
#define PONS_KERN_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/** Rows of a product are worked on in blocks of this many: buffers hold a multiple of it, rows past the
 * last may hold anything. */
#define PONS_PRODUCT_ROWS 64

/** Tiles of n columns. */
typedef struct pons_product_tiles {
    int64_t tiles, width, padded; /* padded = tiles * width >= n; width a multiple of 16 */
} pons_product_tiles;

/** The same for every matrix of n columns. Local. */
pons_product_tiles pons_product_tiles_of(int64_t n);

/** A matrix prepared for products Y = X B. Opaque. */
typedef struct pons_product pons_product;

/** What one thread needs for products with matrices up to some size. Opaque. */
typedef struct pons_product_worker pons_product_worker;

/**
 * Prepare B [K, N], leading dimension ldb, for products in fp32, or in bf16 (both operands rounded to
 * bf16, fp32 accumulation).
 *
 * Local; bf16 parallel over tiles. fp32: B is kept by reference; bf16: copied, and must be square and
 * symmetric. @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED (bf16 where there is none).
 * Memory: bf16 2 padded(n)^2 bytes.
 */
pons_status pons_product_create(int64_t K, int64_t N, const float *B, int64_t ldb, bool bf16,
                                pons_product **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_product_destroy(pons_product **product);

/** Whether X is taken in bf16. Local. */
bool pons_product_is_bf16(const pons_product *product);

/** Make what one thread needs to run `product`. Local. @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_product_worker_create(const pons_product *product, pons_product_worker **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_product_worker_destroy(pons_product_worker **worker);

/**
 * Y = X B. Local, one thread, allocates nothing.
 * @param X [rows rounded up to PONS_PRODUCT_ROWS, padded(K)] fp32, or bf16 bits with zeros past column
 * K; @param Y [tiles, the same, width]; columns past N become 0 (for finite X)
 * @return false when the library refused (a bug). Cost 2 rows K N flop.
 */
bool pons_product_run(pons_product_worker *worker, int64_t rows, const void *X, float *Y);

#endif
