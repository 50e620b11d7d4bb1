/**
 * One bf16 product of a fixed shape. Internal to the room.
 *
 * On AMX tiles of our own where the processor has them and ONEDNN_MAX_CPU_ISA does not forbid them,
 * else through oneDNN. The bits depend on the shape and the processor alone. Where there is neither,
 * creation fails with PONS_ERR_UNSUPPORTED and the rest is never reached.
 */
#ifndef PONS_KERN_BF16_H
#define PONS_KERN_BF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/** Kernel for one shape. Opaque; used by many threads at once. */
typedef struct pons_bf16_kernel pons_bf16_kernel;

/** What one thread needs to run a kernel. Opaque. */
typedef struct pons_bf16_worker pons_bf16_worker;

/** How the operands of C[M, N] lie in memory; C is fp32, row-major. */
typedef enum pons_bf16_layout {
    PONS_BF16_PACKED, /* A [M, K] by pons_bf16_put_row, B [N, K] by pons_bf16_pack */
    PONS_BF16_SUMMED, /* A [M, K] by pons_bf16_bring, B by pons_bf16_pack: for pons_bf16_run_sum */
    PONS_BF16_GRAM    /* C = L^T R of L [K, M] and R [K, N], both as pons_bf16_take brings them */
} pons_bf16_layout;

/** Whether it is AMX tiles: the processor has them, the system lets this process use them, the user does not
 * forbid them. Local. */
bool pons_bf16_on_tiles(void);

/** Make the kernel for a shape. Local. @return PONS_OK, PONS_ERR_NOMEM or PONS_ERR_UNSUPPORTED. */
pons_status pons_bf16_kernel_create(pons_bf16_layout layout, int64_t M, int64_t N, int64_t K,
                                    pons_bf16_kernel **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_bf16_kernel_destroy(pons_bf16_kernel **kernel);

/** Bytes of one B, or R, as the kernel takes it. Local. */
size_t pons_bf16_packed_bytes(const pons_bf16_kernel *kernel);

/** The same, up to where the next B can begin. Local. */
size_t pons_bf16_stride(const pons_bf16_kernel *kernel);

/** Bytes of one L as the kernel takes it. Local. */
size_t pons_bf16_left_bytes(const pons_bf16_kernel *kernel);

/** Bytes of A [M, K] as pons_bf16_put_row brings it. Local. */
size_t pons_bf16_rows_bytes(int64_t M, int64_t K);

/** Row i of such an A: x[K] rounded to bf16, zeros for NULL. Local, one thread. */
void pons_bf16_put_row(int64_t K, int64_t i, const float *x, void *A);

/** Make the workers of `count` threads into out[count]. Local. @return PONS_OK or PONS_ERR_NOMEM;
 * entries not made are NULL. */
pons_status pons_bf16_workers_create(const pons_bf16_kernel *kernel, int count,
                                     pons_bf16_worker **out);

/** Free out[count] of pons_bf16_workers_create; accepts NULL entries. Local. */
void pons_bf16_workers_destroy(int count, pons_bf16_worker **workers);

/** Bring B [N, K] (bf16 bits) into the layout of a kernel that packs. Local, one thread. @return false when the
 * library refused. */
bool pons_bf16_pack(pons_bf16_worker *worker, const uint16_t *B, void *packed);

/** Bytes of the work of pons_bf16_pack_terms. Local. */
size_t pons_bf16_terms_bytes(const pons_bf16_kernel *kernel);

/** Bring B [rows, depth] of floats, zero past them up to [N, K], into the layout of a kernel that packs: each number as
 * a sum of `terms` bf16 numbers (pons_bf16_peel), each packed so many bytes from the one before. Local, one thread.
 * @param ld of B; @param work pons_bf16_terms_bytes. @return false when the library refused. */
bool pons_bf16_pack_terms(pons_bf16_worker *worker, int terms, int64_t rows, int64_t depth,
                          const float *B, int64_t ld, void *work, size_t apart, void *packed);

/**
 * Bring columns X[tokens, columns] times their scale, rounded to bf16, into the operands of a gram
 * kernel.
 *
 * Local, one thread. Operands are zero past the last token and column. @param tokens at most K
 * @param columns at most M (left), N (right); @param ldx row stride in elements
 * @param left, right pons_bf16_left_bytes and pons_bf16_packed_bytes, or NULL
 */
void pons_bf16_take(const pons_bf16_kernel *kernel, int64_t tokens, int64_t columns, const float *X,
                    int64_t ldx, const float *scale, void *left, void *right);

/** The left operands of X^T X, `parts` one behind the other, from the right ones of the same columns: copied to `left`
 * [parts] of pons_bf16_left_bytes and turned where they differ, else `right` itself. Local, one thread. @return the left operands */
const void *pons_bf16_turn(const pons_bf16_kernel *kernel, int64_t parts, const void *right,
                           void *left);

/** The product of A, as the layout wants it, and B. Local, one thread. @return false when the library
 * refused. */
bool pons_bf16_run(pons_bf16_worker *worker, const void *A, const void *B, float *C);

/** The same for `count` operands A that lie one behind the other, and so do their C: as one product where that
 * spares passes over B. M a multiple of 32, or count 1. Local, one thread. @return as pons_bf16_run. */
bool pons_bf16_run_rows(pons_bf16_worker *worker, int64_t count, const void *A, const void *B,
                        float *C);

/** Bytes of a block of M rows of A as pons_bf16_bring brings it. Local. */
size_t pons_bf16_brought_bytes(const pons_bf16_kernel *kernel, int terms);

/** M rows X [M, K] of a summed kernel's A, each number as a sum of `terms` bf16 numbers. Local, one thread.
 * @param rounded X is bits of bf16, of one term, else fp32; @param block pons_bf16_brought_bytes */
void pons_bf16_bring(const pons_bf16_kernel *kernel, int terms, bool rounded, const void *X,
                     void *block);

/** A product of sums of bf16 matrices. */
typedef struct pons_bf16_sum {
    int64_t blocks, tiles; /* of M rows, of K along the depth */
    int of_a, of_b; /* terms: 1 and 1, 1 and 2, 2 and 2, 3 and 3; A_p meets B_q: p + q < of_b */
    const uint8_t *left; /* [blocks, tiles] brought, one behind the other */
    const uint8_t *B[3]; /* [of_b] each [tiles] packed, pons_bf16_stride apart */
    bool far;            /* B comes from beyond the core's caches */
    size_t next;         /* bytes from B to what comes after it, if that is far; 0: nothing */
    bool add;            /* to C */
} pons_bf16_sum;

/** C [blocks M, N] of a summed kernel. Local, one thread. On tiles 32 columns of B meet all rows before the next
 * ones do. @return false when the library refused. */
bool pons_bf16_run_sum(pons_bf16_worker *worker, const pons_bf16_sum *sum, float *C);

/** The sum of the products of `parts` pairs of taken operands, pons_bf16_left_bytes and pons_bf16_stride apart. Local, one
 * thread. @param upper entries below the diagonal are not wanted and may hold anything. @return as pons_bf16_run. */
bool pons_bf16_run_gram(pons_bf16_worker *worker, int64_t parts, bool upper, const void *left,
                        const void *right, float *C);

/** The failure of a pack or run, as a status with its sentence. Local. */
pons_status pons_bf16_refused(void);

/** What decides the bits of bf16 products: "AMX tiles", or the library's name, version and instruction
 * set, or that there is none. Borrowed static text. Local. */
const char *pons_bf16_describe(void);

#endif
