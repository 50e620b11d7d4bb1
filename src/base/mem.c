/* Owns the allocation counter; everything else about memory belongs to the caller. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "base/fault.h"

enum { HUGE_PAGE = 2 << 20 };

static atomic_int_least64_t outstanding;

/* Aligned to 64 bytes; a large block to huge pages, and of them where the system has them: products stream
 * through such blocks, and what lives for one window faults on every page anew. */
static void *allocate_aligned(size_t bytes)
{
    if (bytes < HUGE_PAGE) return aligned_alloc(64, bytes < 64 ? 64 : (bytes + 63) / 64 * 64);
    void *block = NULL;
    if (posix_memalign(&block, HUGE_PAGE, bytes) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(block, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* a wish */
#endif
    return block;
}

static void *allocate(int64_t n, size_t size)
{
    size_t bytes;
    if (n < 0 || __builtin_mul_overflow((size_t)n, size, &bytes) || bytes > SIZE_MAX - 64) {
        pons_fail(PONS_ERR_NOMEM, "allocation of %lld x %zu bytes overflows", (long long)n, size);
        return NULL;
    }
    void *block = pons_fault(PONS_FAULT_MEMORY) ? NULL : allocate_aligned(bytes);
    if (!block) {
        pons_fail(PONS_ERR_NOMEM, "out of memory: could not get %zu bytes", bytes);
        return NULL;
    }
    atomic_fetch_add(&outstanding, 1);
    return block;
}

void *pons_mem_alloc(int64_t n, size_t size) { return allocate(n, size); }

/* A large block by all threads: the system clears its pages, too, when they are touched. */
static void clear(char *block, size_t bytes)
{
    const size_t part = HUGE_PAGE;
#pragma omp parallel for schedule(static) if (bytes >= 2 * part)
    for (size_t at = 0; at < bytes; at += part)
        memset(block + at, 0, bytes - at < part ? bytes - at : part);
}

void *pons_mem_calloc(int64_t n, size_t size)
{
    void *block = allocate(n, size);
    if (block) clear(block, (size_t)n * size);
    return block;
}

char *pons_mem_strdup(const char *text)
{
    if (!text) return NULL;
    size_t bytes = strlen(text) + 1;
    char *copy = allocate((int64_t)bytes, 1);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

char *pons_mem_printf(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : allocate((int64_t)n + 1, 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

void *pons_mem_resize(void *block, size_t old_bytes, int64_t n, size_t size)
{
    void *grown = allocate(n, size);
    if (!grown) return NULL;
    size_t bytes = (size_t)n * size;
    if (block) memcpy(grown, block, old_bytes < bytes ? old_bytes : bytes);
    pons_mem_free(block);
    return grown;
}

void pons_mem_free(void *block)
{
    if (!block) return;
    free(block);
    atomic_fetch_sub(&outstanding, 1);
}

int64_t pons_mem_outstanding(void) { return atomic_load(&outstanding); }
