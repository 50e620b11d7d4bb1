/**
 * One bf16 tile product of a fixed shape, C[M, N] = A[M, K] B[N, K]^T, through oneDNN. Internal to
 * the room.
 *
 * The library is asked for its kernel as on a machine with one thread, so the kernel, its blocking
 * and its bits depend on the shape and the processor alone. In a build without oneDNN creation
 * fails with PONS_ERR_UNSUPPORTED and the rest is never reached.
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

/** Make the kernel for a shape. Local. @return PONS_OK, PONS_ERR_NOMEM or PONS_ERR_UNSUPPORTED. */
pons_status pons_bf16_kernel_create(int64_t M, int64_t N, int64_t K, pons_bf16_kernel **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_bf16_kernel_destroy(pons_bf16_kernel **kernel);

/** Bytes of one packed B. Local. */
size_t pons_bf16_packed_bytes(const pons_bf16_kernel *kernel);

/** Make the workers of `count` threads into out[count]. Local. @return PONS_OK or PONS_ERR_NOMEM;
 * entries not made are NULL. */
pons_status pons_bf16_workers_create(const pons_bf16_kernel *kernel, int count,
                                     pons_bf16_worker **out);

/** Free out[count] of pons_bf16_workers_create; accepts NULL entries. Local. */
void pons_bf16_workers_destroy(int count, pons_bf16_worker **workers);

/** Bring B [N, K] (bf16 bits) into the kernel's layout. Local, one thread. @return false when the
 * library refused. */
bool pons_bf16_pack(pons_bf16_worker *worker, const uint16_t *B, void *packed);

/** C[M, N] = A[M, K] B^T, all contiguous. Local, one thread. @return false when the library
 * refused. */
bool pons_bf16_run(pons_bf16_worker *worker, const uint16_t *A, const void *packed, float *C);

/** The failure of a pack or run, as a status with its sentence. Local. */
pons_status pons_bf16_refused(void);

/** y[i] <- bf16 bits of x[i], nearest even. Local. */
void pons_bf16_convert(int64_t n, const float *x, uint16_t *y);

/** "oneDNN 2.6.3 AVX512_CORE_AMX", or that the build has none. Borrowed static text. Local. */
const char *pons_bf16_describe(void);

#endif
