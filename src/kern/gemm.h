/**
 * Matrix products whose bits do not depend on the number of threads.
 *
 * Every product is cut into tiles of a fixed shape; a tile is computed by one thread with one
 * single-threaded library call, tiles are dealt to OpenMP threads (serially when already inside a
 * parallel region). All matrices are row-major.
 */
#ifndef PONS_KERN_GEMM_H
#define PONS_KERN_GEMM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "par/comm.h"

/** C[M, N] = alpha A[M, K] B[N, K]^T + beta C, fp32. Local. Cost 2 M N K flop. */
void pons_gemm_nt(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
                  const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

/** C[M, N] = alpha A[M, K] B[K, N] + beta C, fp32. Local. Cost 2 M N K flop. */
void pons_gemm_nn(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
                  const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

/**
 * Add Z^T Z of one window, Z = X with its columns scaled, to a running fp64 sum, exactly
 * reproducibly.
 *
 * Local. Upper triangle (j >= i) of H only, in tiles over OpenMP. Each tile's product is fp32 (bf16
 * inputs with fp32 accumulation when `bf16`, for X that holds bf16 values), then every entry is
 * rounded to a multiple of `quantum` before it is added, so that sums of up to 2^52 quanta are
 * exact and independent of order.
 * @param X [S, d] fp32, ld = d; @param scale [d] powers of two such that the columns of Z have norms
 * of at most 1
 * @param H [d, d] fp64, ld = d
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: pons_gram_bytes. Cost: S d^2 flop.
 */
pons_status pons_gram_add(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                          double quantum, double *H);

/** Rows of a tile of pons_gram_add: what panels of rows are multiples of. Local. */
int64_t pons_gram_width(int64_t d);

/** Memory of a window's operands, kept for the next one's: fresh memory costs a fault per page, as much time as the
 * product. Opaque. */
typedef struct pons_gram_work pons_gram_work;

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_gram_work_destroy(pons_gram_work **work);

/** pons_gram_add of the rows [first, last) alone, with the same bits; columns before `first` are not
 * needed. Local.
 * @param first a multiple of pons_gram_width, @param last too, or d
 * @param[in,out] work NULL, or of an earlier call, whose memory is used again where nothing but X and its scale differs
 * @param H [last - first, d - first]: H_first,first and what follows
 * Memory: pons_gram_bytes, of the columns from `first` on.
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED (bf16 where there is none), PONS_ERR_BUG (the library refused a
 * product) */
pons_status pons_gram_add_rows(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                               double quantum, int64_t first, int64_t last, pons_gram_work **work,
                               double *H);

/** Bytes of that memory for windows [S, d]: a window once more, in bf16 of half the size, and tiles of each thread. Local. */
double pons_gram_bytes(int64_t S, int64_t d, bool bf16, int threads);

/** A weight matrix W [rows, d] prepared once for many products Y = X W^T. Opaque. */
typedef struct pons_matmul pons_matmul;

/** Bytes of the tiles of a product that a thread makes, at most; the work of its kernel is apart. */
#define PONS_MATMUL_THREAD_BYTES (1 << 20)

/**
 * Prepare W for products in fp32 or in bf16 (inputs rounded to bf16, fp32 accumulation, fp32
 * result).
 *
 * Local. W is copied (packed), the caller may free it. @param W [rows, d] fp32
 * @return PONS_OK, PONS_ERR_NOMEM, PONS_ERR_UNSUPPORTED (bf16 where there is none; the
 * sentence names the option). Memory: rows d 4 (fp32) or 2 (bf16) bytes.
 */
pons_status pons_matmul_create(int64_t rows, int64_t d, const float *W, bool bf16,
                               pons_matmul **out);

/** Have `bias` [rows] (copied; NULL: none) added to every product with W. Local. @return PONS_OK,
 * PONS_ERR_NOMEM. */
pons_status pons_matmul_set_bias(pons_matmul *W, const float *bias);

/** Tokens in the form that products take them, for several products. Opaque. */
typedef struct pons_matmul_input pons_matmul_input;

/**
 * Prepare X [T, d]; X is copied. Local.
 * @param bf16 as the matrices it will meet; @param ldx row stride in elements
 * @param[in,out] input NULL, or an earlier input whose memory is used again
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: T d 4 (fp32) or 2 (bf16) bytes.
 */
pons_status pons_matmul_pack(bool bf16, int64_t T, int64_t d, const float *X, int64_t ldx,
                             pons_matmul_input **input);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_matmul_input_destroy(pons_matmul_input **input);

/**
 * Y[T, rows] = X W^T + bias. Local, parallel over fixed tiles. kern/fused.h has products of which
 * something else is made.
 *
 * The bits of a token's row depend on the tokens before it in no way but their number, and neither
 * on T nor on the threads.
 * @param ldy row stride in elements
 * @return PONS_OK, PONS_ERR_NOMEM. Memory: PONS_MATMUL_THREAD_BYTES per thread. Cost 2 T rows d flop.
 */
pons_status pons_matmul_put(const pons_matmul *W, const pons_matmul_input *X, float *Y,
                            int64_t ldy);

/** pons_matmul_put of X [T, d], row stride ldx, prepared for this product alone. Local. */
pons_status pons_matmul_apply(const pons_matmul *W, int64_t T, const float *X, int64_t ldx,
                              float *Y, int64_t ldy);

/** The same without the bias. Local. */
pons_status pons_matmul_apply_unbiased(const pons_matmul *W, int64_t T, const float *X, int64_t ldx,
                                       float *Y, int64_t ldy);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_matmul_destroy(pons_matmul **W);

/** Whether bf16 products are available in this build on this processor. Local. */
bool pons_kern_has_bf16(void);

/** Whether every rank has bf16 products and all compute them alike: with unlike processors the bits would
 * depend on who does what. Collective on comm; the same on every rank. */
bool pons_kern_shares_bf16(pons_comm *comm);

/**
 * Fix library thread counts (BLAS single-threaded: the tiles are ours) once at start, and let tasks (base/task.h) run
 * on all processors that OpenMP has places on. Local.
 *
 * OpenBLAS's OpenMP flavour ignores this outside a parallel region and then threads by OpenMP's
 * count, so BLAS is called from inside parallel regions only, everywhere in Pons.
 */
void pons_kern_begin(void);

/** Refuse ranks whose fp32 arithmetic differs: the library's kernels or the instruction set. Collective on comm.
 * @return PONS_OK; PONS_ERR_UNSUPPORTED naming both and what makes them alike, the same on every rank. */
pons_status pons_kern_check_alike(pons_comm *comm);

/** Libraries and instruction sets that decide the bits of products. Borrowed static text. Local. */
const char *pons_kern_arithmetic(void);

/** One line for logs: BLAS core type, what bf16 products run on, OpenMP threads. Borrowed static text.
 * Local. */
const char *pons_kern_describe(void);

#endif
