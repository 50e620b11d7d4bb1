/**
 * Matrix products on AMX tiles: bf16 entries, fp32 sums. Internal to the room; bf16.h chooses between
 * these and oneDNN's.
 *
 * An entry of a product is one chain of additions over k = 0, 1, ..., as the processor's tile product
 * orders it; blocks, padding and the other entries change nothing of it.
 */
#ifndef PONS_KERN_AMX_H
#define PONS_KERN_AMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Whether the processor has bf16 tiles and the system lets this process use them. Local; asks once.
 * Everything below needs it. */
bool pons_amx_works(void);

/** Give this thread's eight tiles their shape: 16 rows of 64 bytes. Local. */
void pons_amx_configure(void);

/** Bytes of an operand of n rows or columns and depth K, padded to whole tiles. Local. */
size_t pons_amx_bytes(int64_t n, int64_t K);

/** Bytes of the work of a thread that runs products. Local. */
size_t pons_amx_work_bytes(void);

/** B [N, K] (bf16 bits) into the right operand of C = A B^T. Local, one thread. */
void pons_amx_pack(int64_t N, int64_t K, const uint16_t *B, uint16_t *packed);

/**
 * Columns X[tokens, columns] times their scale, rounded to bf16, into the left and right operand of
 * X^T X.
 *
 * Local, one thread. Zero past the last token and column. @param K depth, at least `tokens`
 * @param n columns of an operand, at least `columns`
 * @param left, right pons_amx_bytes(n, K) each, or NULL
 */
void pons_amx_take(int64_t n, int64_t K, int64_t tokens, int64_t columns, const float *X,
                   int64_t ldx, const float *scale, uint16_t *left, uint16_t *right);

/** Row i of a left operand of depth K: x[K] rounded to bf16, zeros for NULL. Local, one thread. */
void pons_amx_put_row(int64_t K, int64_t i, const float *x, uint16_t *left);

/** C[M, N] = A[M, K] B^T, plus C when `add`; A and C contiguous, B packed. Local, one thread.
 * @param work pons_amx_work_bytes, aligned as memory is */
void pons_amx_product(int64_t M, int64_t N, int64_t K, const uint16_t *A, const uint16_t *packed,
                      float *C, bool add, void *work);

/** C[M, N] of a left and a right operand, plus C when `add`. Local, one thread. @param upper
 * entries below the diagonal are not wanted and may hold anything */
void pons_amx_gram(int64_t M, int64_t N, int64_t K, const uint16_t *left, const uint16_t *right,
                   float *C, bool add, bool upper, void *work);

#endif
