/* Owns the checks of limits that OpenMP and OpenBLAS do not report. Does not change thread counts. */
#include "kern/limits.h"

#include <omp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/mem.h"

/* OpenBLAS exports these two, without a header. Another BLAS has none: nothing is reserved then. */
extern void *blas_memory_alloc(int position) __attribute__((weak));
extern void blas_memory_free(void *buffer) __attribute__((weak));

enum { BUFFER_BYTES = 128 << 20, SPARE_BYTES = 16 << 20 };

pons_status pons_kern_check_threads(const char *name, int threads)
{
    int most = 16 * omp_get_num_procs();
    if (most < 256) most = 256;
    if (threads >= 1 && threads <= most) return PONS_OK;
    return pons_fail(PONS_ERR_USAGE, "%s: found %d threads, allowed: 1 to %d (%d processors here)",
                     name, threads, most, omp_get_num_procs());
}

static bool address_space_is_left(void)
{
    size_t bytes = (size_t)BUFFER_BYTES + SPARE_BYTES;
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return false;
    munmap(room, bytes);
    return true;
}

static pons_status out_of_address_space(int threads)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(RLIMIT_AS, &limit);
    if (limit.rlim_cur == RLIM_INFINITY)
        return pons_fail(PONS_ERR_NOMEM,
                         "out of memory: OpenBLAS needs %d MB of address space for each of %d "
                         "threads",
                         BUFFER_BYTES >> 20, threads);
    return pons_fail(PONS_ERR_NOMEM,
                     "the limit on address space (ulimit -v) is %lld MB: OpenBLAS needs %d MB for "
                     "each of %d threads beside the program; raise the limit or use fewer threads",
                     (long long)limit.rlim_cur >> 20, BUFFER_BYTES >> 20, threads);
}

pons_status pons_kern_reserve_blas(int threads)
{
    pons_status st = PONS_OK;
    void **buffer = NULL;
    if (!blas_memory_alloc || !blas_memory_free) return PONS_OK;
    PONS_CALLOC(st, buffer, threads);
    for (int i = 0; i < threads && st == PONS_OK; i++)
        if (address_space_is_left())
            buffer[i] = blas_memory_alloc(0);
        else
            st = out_of_address_space(threads);
    /* OpenBLAS keeps a freed buffer mapped and gives it to the next call */
    for (int i = 0; i < threads && buffer[i]; i++)
        blas_memory_free(buffer[i]);
done:
    pons_mem_free(buffer);
    return st;
}
