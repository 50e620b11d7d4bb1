/**
 * Matrix products on AMX tiles: bf16 entries, fp32 sums. Internal to the room; bf16.h chooses between
 * these and oneDNN's. Everything here needs PONS_ISA_AMX (kern/isa.h).
 *
 * An entry of a product is a sum over steps of 32 in their order, each as the processor's tile product orders it; blocks,
 * padding and the other entries change nothing of it. Numbers below 2^-126 count as zero.
 */
#ifndef PONS_KERN_AMX_H
#define PONS_KERN_AMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Give this thread's eight tiles their shape: 16 rows of 64 bytes. Local. */
void pons_amx_configure(void);

/** Bytes of an operand of n rows or columns and depth K, padded to whole tiles. Local. */
size_t pons_amx_bytes(int64_t n, int64_t K);

/** Bytes of the work of a thread that runs products. Local. */
size_t pons_amx_work_bytes(void);

/** B [N, K] (bf16 bits) into the right operand of C = A B^T. Local, one thread. */
void pons_amx_pack(int64_t N, int64_t K, const uint16_t *B, uint16_t *packed);

/** B [rows, depth] of floats, zero past them up to [N, K], as a sum of `terms` bf16 numbers each, every term packed as by
 * pons_amx_pack, so many entries from the one before. Local, one thread. @param ld of B */
void pons_amx_pack_terms(int64_t N, int64_t K, int terms, int64_t rows, int64_t depth,
                         const float *B, int64_t ld, int64_t apart, uint16_t *packed);

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

/** Right operands of X^T X, so many bytes of whole ones, into left ones of the same columns. Local, one thread. */
void pons_amx_turn(int64_t bytes, const uint16_t *right, uint16_t *left);

/**
 * Columns X[tokens, columns] as sums of `terms` bf16 numbers each: the operand of a sum of X^T X.
 *
 * Local, one thread. Zero past the last token and column. @param K depth, at least `tokens`
 * @param n columns of the operand, at least `columns`; @param left terms * pons_amx_bytes(n, K), as pons_amx_bring's
 * blocks; NULL: right ones, @param right [terms] of pons_amx_bytes(n, K)
 */
void pons_amx_take_terms(int64_t n, int64_t K, int terms, int64_t tokens, int64_t columns,
                         const float *X, int64_t ldx, uint16_t *left, uint16_t *const *right);

/** Row i of a left operand of depth K: x[K] rounded to bf16, zeros for NULL. Local, one thread. */
void pons_amx_put_row(int64_t K, int64_t i, const float *x, uint16_t *left);

/** 32 rows X[32, K], bf16 bits when `rounded`, else fp32, as a sum of `terms` bf16 numbers each: for each step of
 * 32 entries of the depth two tiles a term. Local, one thread. @param left terms * pons_amx_bytes(32, K);
 * @param terms 1 where rounded */
void pons_amx_bring(int64_t K, int terms, bool rounded, const void *X, uint16_t *left);

/** A product of sums of bf16 matrices: C[M, N] = (A_0 + A_1 + ...) (B_0 + B_1 + ...)^T. */
typedef struct pons_amx_sum {
    int64_t M, N, ldc;    /* rows, columns and leading dimension of C */
    int64_t tiles, steps; /* depth: tiles of steps of 32 */
    int of_a, of_b; /* terms: 1 and 1, 1 and 2, 2 and 2, 3 and 3; A_p meets B_q: p + q < of_b */
    const uint16_t *
        left; /* blocks of 32 rows as pons_amx_bring, pons_amx_put_row or pons_amx_take make them */
    int64_t block_stride, left_stride; /* entries between those, between tiles of the depth */
    const uint16_t *B[3]; /* [of_b] each tiles as pons_amx_pack or pons_amx_take make them */
    int64_t stride;       /* entries between these */
    bool
        far; /* B comes from beyond the core's caches: of each strip of 32 columns the next one is brought to L2 */
    int64_t next; /* entries from B to what is brought after its last strip; 0: nothing */
    bool add;     /* to C */
    bool upper;   /* blocks below the diagonal are not wanted; entries there may hold anything */
} pons_amx_sum;

/** C as above. Local, one thread. Order: 32 columns of B meet a MiB of A before the next ones do. @param work pons_amx_work_bytes, aligned as memory is */
void pons_amx_run(const pons_amx_sum *sum, float *C, void *work);

#endif
