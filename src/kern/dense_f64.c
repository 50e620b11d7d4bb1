/* Products with a dense matrix in fp64, for weights: panels of a fixed number of vectors, each one
 * BLAS call from inside a parallel region. The fp32 products are gemm.c. */
#include <cblas.h>
#include <limits.h>

#include "base/mem.h"
#include "kern/dense_f64.h"
#include "kern/threads.h"

/* Vectors of a panel; the last one is filled up, so that every call has one shape. */
enum { PANEL = 64 };

pons_status pons_dense_vectors_f64(const double *Q, int64_t n, float *x, int64_t count,
                                   int64_t vector, int64_t entry)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads();
    double *scratch = NULL;
    PONS_ASSERT(n <= INT_MAX);
    PONS_ALLOC(st, scratch, threads * 2 * PANEL * n);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < count; first += PANEL) {
        double *in = scratch + omp_get_thread_num() * 2 * PANEL * n, *out = in + PANEL * n;
        int64_t width = count - first < PANEL ? count - first : PANEL;
        float *v = x + first * vector;
        for (int64_t r = 0; r < PANEL; r++)
            for (int64_t i = 0; i < n; i++)
                in[r * n + i] = r < width ? v[r * vector + i * entry] : 0;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, PANEL, (int)n, (int)n, 1.0, in,
                    (int)n, Q, (int)n, 0.0, out, (int)n);
        for (int64_t r = 0; r < width; r++)
            for (int64_t i = 0; i < n; i++)
                v[r * vector + i * entry] = (float)out[r * n + i];
    }
done:
    pons_mem_free(scratch);
    return st;
}
