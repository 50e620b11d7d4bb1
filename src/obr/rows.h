/**
 * Products of row-major rows with a prepared matrix. The bits of a row depend neither
 * on the others nor on the threads. Internal to the room.
 */
#ifndef PONS_OBR_ROWS_H
#define PONS_OBR_ROWS_H

#include "kern/product.h"

/** Rows that one thread multiplies in one call. */
typedef struct pons_rows {
    pons_product_tiles from, to; /* of the matrix's rows and columns */
    int64_t capacity, K, N;
    bool bf16;
    pons_product_kind kind;
    pons_product_worker *worker;
    void *space;
    float *X; /* tiles as the product takes them; bits of bf16 for PONS_PRODUCT_BF16 and _MIXED */
    float *Y;
} pons_rows;

/** Local. @param rows capacity, a multiple of PONS_PRODUCT_ROWS; @param K, N of the product
 * @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_rows_create(const pons_product *product, pons_product_kind kind, int64_t K,
                             int64_t N, int64_t rows, pons_rows **out);
void pons_rows_destroy(pons_rows **rows);

/** The i-th row to be multiplied: x [K]. Local. */
void pons_rows_put(pons_rows *rows, int64_t i, const float *x);

/** Multiply the first n rows. Local, one thread. @return false when the library refused (a bug). */
bool pons_rows_run(pons_rows *rows, int64_t n);

/** The i-th product: y [N]. Local. */
void pons_rows_get(const pons_rows *rows, int64_t i, float *y);

#endif
