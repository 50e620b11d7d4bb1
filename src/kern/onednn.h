/**
 * oneDNN's bf16 products of a fixed shape. Internal to the room; bf16.h chooses between these and AMX
 * tiles of our own.
 *
 * The library is asked for its kernel as on a machine with one thread, so the kernel, its blocking
 * and its bits depend on the shape and the processor alone. In a build without oneDNN creation
 * fails with PONS_ERR_UNSUPPORTED and the rest is never reached.
 */
#ifndef PONS_KERN_ONEDNN_H
#define PONS_KERN_ONEDNN_H

#include "kern/bf16.h"

/** Kernel for one shape, used by many threads at once; what one thread needs to run it. Opaque. */
typedef struct pons_onednn pons_onednn;
typedef struct pons_onednn_worker pons_onednn_worker;

/** Make the kernel; operands of PONS_BF16_GRAM are plain: A [K, M], B [K, N]. Local. @return PONS_OK,
 * PONS_ERR_NOMEM or PONS_ERR_UNSUPPORTED. */
pons_status pons_onednn_create(pons_bf16_layout layout, int64_t M, int64_t N, int64_t K,
                               pons_onednn **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_onednn_destroy(pons_onednn **kernel);

/** Bytes of one B as the kernel takes it. Local. */
size_t pons_onednn_packed_bytes(const pons_onednn *kernel);

/** Make what one thread needs. Local. @return PONS_OK or PONS_ERR_NOMEM. */
pons_status pons_onednn_worker_create(const pons_onednn *kernel, pons_onednn_worker **out);

/** Free; takes the address, nulls it, accepts NULL. Local. */
void pons_onednn_worker_destroy(pons_onednn_worker **worker);

/** Bring B [N, K] into the layout of a kernel that packs. Local, one thread. @return false when the
 * library refused. */
bool pons_onednn_pack(pons_onednn_worker *worker, const uint16_t *B, void *packed);

/** C = A B, plus C when `add` (not PONS_BF16_PACKED). Local, one thread. @return as pons_onednn_pack. */
bool pons_onednn_run(pons_onednn_worker *worker, bool add, const void *A, const void *B, float *C);

/** Whether the user lets bf16 products use AMX: ONEDNN_MAX_CPU_ISA does not forbid it. Local. */
bool pons_onednn_allows_amx(void);

/** "oneDNN 2.6.3 AVX512_CORE_BF16", or that the build has none. Borrowed static text. Local. */
const char *pons_onednn_describe(void);

#endif
