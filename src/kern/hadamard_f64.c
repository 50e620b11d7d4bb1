/* Hadamard transforms with fp64 inside, for weights. hadamard.c is the fast fp32 one.
 *
 * Rows and columns share one routine: PANEL vectors are gathered as [n, PANEL] doubles, so that
 * every butterfly works on contiguous memory, and scattered back. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kern/hadamard.h"
#include "kern/hadamard_matrix.h"
#include "kern/threads.h"

enum { PANEL = 8 };

typedef double panel_row __attribute__((vector_size(PANEL * sizeof(double))));

/* Unnormalised Walsh-Hadamard transform along the first index of x [m, PANEL]. */
static void walsh(double *x, int64_t m)
{
    for (int64_t h = 1; h < m; h *= 2)
        for (int64_t i = 0; i < m; i += 2 * h) {
            double *restrict a = x + i * PANEL, *restrict b = a + h * PANEL;
            for (int64_t l = 0; l < h * PANEL; l++) {
                double u = a[l], w = b[l];
                a[l] = u + w;
                b[l] = u - w;
            }
        }
}

/* x [K, m, PANEL] <- scale H_K x; four rows of H_K at a time, every K > 1 is a multiple of 4. */
static void mix(double *x, const double *H, int K, int64_t m, double scale)
{
    enum { ROWS = 4 };
    panel_row part[PONS_HADAMARD_LARGEST];
    if (K == 1) {
        for (int64_t i = 0; i < m * PANEL; i++)
            x[i] *= scale;
        return;
    }
    for (int64_t c = 0; c < m; c++) {
        for (int k = 0; k < K; k++) {
            memcpy(part + k, x + (k * m + c) * PANEL, sizeof *part);
            part[k] *= scale;
        }
        for (int k = 0; k < K; k += ROWS) {
            panel_row sum[ROWS] = {{0}};
            for (int j = 0; j < K; j++)
                for (int r = 0; r < ROWS; r++)
                    sum[r] += H[(k + r) * K + j] * part[j];
            for (int r = 0; r < ROWS; r++)
                memcpy(x + ((k + r) * m + c) * PANEL, sum + r, sizeof *sum);
        }
    }
}

/* `count` vectors of n floats: entry i of vector r is x[r * vector + i * entry]. */
static pons_status transform_all(float *x, int64_t count, int64_t n, int64_t vector, int64_t entry)
{
    pons_status st = PONS_OK;
    int K = pons_hadamard_factor(n), threads = pons_kern_threads();
    double *scratch = NULL, *H = NULL; /* H_K in doubles: converting it inside the loops is slow */
    PONS_ASSERT(K > 0);
    PONS_ALLOC(st, H, K * K);
    PONS_ALLOC(st, scratch, threads * n * PANEL);
    for (int i = 0; i < K * K; i++)
        H[i] = pons_hadamard_matrix(K)[i];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r0 = 0; r0 < count; r0 += PANEL) {
        double *panel = scratch + omp_get_thread_num() * n * PANEL;
        int64_t width = count - r0 < PANEL ? count - r0 : PANEL;
        float *from = x + r0 * vector;
        for (int64_t i = 0; i < n; i++)
            for (int64_t l = 0; l < PANEL; l++)
                panel[i * PANEL + l] = l < width ? from[l * vector + i * entry] : 0;
        for (int k = 0; k < K; k++)
            walsh(panel + k * (n / K) * PANEL, n / K);
        mix(panel, H, K, n / K, 1.0 / sqrt((double)n));
        for (int64_t i = 0; i < n; i++)
            for (int64_t l = 0; l < width; l++)
                from[l * vector + i * entry] = (float)panel[i * PANEL + l];
    }
done:
    pons_mem_free(scratch);
    pons_mem_free(H);
    return st;
}

pons_status pons_hadamard_rows_f64(float *x, int64_t rows, int64_t n, int64_t ld)
{
    return transform_all(x, rows, n, ld, 1);
}

pons_status pons_hadamard_columns_f64(float *x, int64_t n, int64_t cols, int64_t ld)
{
    return transform_all(x, cols, n, 1, ld);
}
