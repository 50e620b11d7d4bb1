/**
 * Checked, counted, 64-byte aligned memory.
 *
 * Every block is counted, so that debug builds and tests detect leaks.
 */
#ifndef PONS_BASE_MEM_H
#define PONS_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/**
 * Allocate n * size bytes, uninitialised, 64-byte aligned (n or size 0: one byte).
 *
 * Local. NULL when the product overflows or memory is exhausted; the message is then recorded, return PONS_ERR_NOMEM.
 */
void *pons_mem_alloc(int64_t n, size_t size);

/** Like pons_mem_alloc, zeroed; large blocks in parallel, for first-touch NUMA placement. Local. */
void *pons_mem_calloc(int64_t n, size_t size);

/** Copy of a string in counted memory; NULL when out of memory or text is NULL. Local. */
char *pons_mem_strdup(const char *text);

/** Printed string in counted memory; NULL when out of memory. Local. */
char *pons_mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Grow or shrink to n * size bytes keeping the contents (old_bytes of them); NULL and `block`
 * untouched on failure. Local. */
void *pons_mem_resize(void *block, size_t old_bytes, int64_t n, size_t size);

/** Free a block of this module; NULL is fine. Local. */
void pons_mem_free(void *block);

/** Blocks allocated and not yet freed, in the whole process. Local. */
int64_t pons_mem_outstanding(void);

/** Allocate n elements for pointer `p`, or leave through `done:` with PONS_ERR_NOMEM in `st`. */
#define PONS_ALLOC(st, p, n)                                                                       \
    do {                                                                                           \
        (p) = pons_mem_alloc((n), sizeof *(p));                                                    \
        if (!(p)) {                                                                                \
            (st) = PONS_ERR_NOMEM;                                                                 \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/** PONS_ALLOC with zeroed memory. */
#define PONS_CALLOC(st, p, n)                                                                      \
    do {                                                                                           \
        (p) = pons_mem_calloc((n), sizeof *(p));                                                   \
        if (!(p)) {                                                                                \
            (st) = PONS_ERR_NOMEM;                                                                 \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#endif
