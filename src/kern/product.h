/**
 * Products of rows with one shared matrix inside a thread: solvers that give every thread its own rows
 * run these between passes over vectors.
 *
 * Rows of n columns stand in memory tile by tile, [tiles, capacity, width] for up to `capacity` rows,
 * zero past column n. The bits of a row depend neither on the other rows nor on its place among them.
 */
#ifndef PONS_KERN_PRODUCT_H
#define PONS_KERN_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "par/comm.h"

/** Rows are worked on in blocks of this many: a capacity is a multiple of it, rows past the last one of
 * a product may hold anything. */
#define PONS_PRODUCT_ROWS 32

/** Tiles of n columns. */
typedef struct pons_product_tiles {
    int64_t tiles, width, padded; /* padded = tiles * width >= n; width a multiple of 16 */
} pons_product_tiles;

/** The same for every matrix of n columns. Local. */
pons_product_tiles pons_product_tiles_of(int64_t n);

/** How operands are taken; sums are fp32 throughout. */
typedef enum pons_product_kind {
    PONS_PRODUCT_FP32,
    PONS_PRODUCT_BF16,  /* both rounded to bf16 */
    PONS_PRODUCT_MIXED, /* X rounded, B as a sum of two bf16 numbers */
    PONS_PRODUCT_SPLIT, /* both as sums of two bf16 numbers, 2^-17 from what they are */
    PONS_PRODUCT_TRIPLE /* both as sums of three, all of fp32's 24 bits above 2^-103: six products of bf16 matrices */
} pons_product_kind;

/** Triple products are run where all ranks of comm have tiles, so that all ranks of a job take the same way. Until this
 * is called each rank decides for itself. A communicator without counts for all later ones of the process. Collective. */
void pons_product_agree(pons_comm *comm);

/** Bytes that a worker of a product of bf16 terms needs beside itself. */
#define PONS_PRODUCT_SPACE (768 << 10)

/** The kind that loses least: split where bf16 is asked for; else that of fp32's accuracy that is faster here: triple
 * on AMX tiles, whose six products take less time than one of fp32. Local. */
pons_product_kind pons_product_exact(bool bf16);

/** A matrix prepared for products Y = X B. Opaque. */
typedef struct pons_product pons_product;

/** What one thread needs to run a product. Opaque. */
typedef struct pons_product_worker pons_product_worker;

/**
 * Prepare the block B = S[k.., n..] of K rows and N columns of a symmetric matrix S.
 *
 * Local; bf16 kinds parallel over tiles. S is kept by reference (fp32) or copied. A copy can be used as every
 * kind with no more terms of B, too.
 * @param S leading dimension ld; S[n.., k..] is read as B's transpose
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_IO (scratch), PONS_ERR_UNSUPPORTED (bf16 where there is none).
 * Memory: bf16 2, split 4, triple 6 bytes for each entry of padded(K) x padded(N).
 */
pons_status pons_product_create(pons_product_kind kind, int64_t K, int64_t N, const float *S,
                                int64_t ld, int64_t k, int64_t n, pons_product **out);

/** The same on every rank of comm with the same arguments: copies exist once per node, packed by its
 * ranks together. Collective on comm. @return the same on every rank. */
pons_status pons_product_create_shared(pons_comm *comm, pons_product_kind kind, int64_t K,
                                       int64_t N, const float *S, int64_t ld, int64_t k, int64_t n,
                                       pons_product **out);

/** Free; takes the address, nulls it, accepts NULL. Collective on the comm of creation, if any. */
void pons_product_destroy(pons_product **product);

/** PONS_PRODUCT_SPACE, for some rows in bf16, or 0 for fp32. Local. */
size_t pons_product_space(const pons_product *product);

/** Make what one thread needs to run `product` on rows of some capacity. Local.
 * @param space pons_product_space bytes, kept by reference; workers that run in turn can share it
 * @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_product_worker_create(const pons_product *product, int64_t capacity, void *space,
                                       pons_product_worker **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_product_worker_destroy(pons_product_worker **worker);

/**
 * Y = X B. Local, one thread, allocates nothing.
 * @param kind that of the product, or one that its copy serves, too
 * @param rows at most the capacity
 * @param X bits of bf16 for bf16 and mixed, else fp32; @param Y fp32, not overlapping
 * @return false when the library refused (a bug). Cost 2 rows K N flop; mixed 2, split 3, triple 6 times that.
 * fp32: one pass over B in the order of its memory, a row of tiles in use at a time: what is in scratch
 * (par/shared.h) streams from disk once for all rows of the call. Else so many rows of B at a time that
 * groups of up to 192 rows of X meet in turn.
 */
bool pons_product_run(pons_product_worker *worker, pons_product_kind kind, int64_t rows,
                      const void *X, float *Y);

#endif
