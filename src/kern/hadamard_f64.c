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

/* Had_n of a panel. @param H the factors in doubles, one behind the other */
static void transform(double *x, int64_t n, const pons_hadamard_shape *s, const double *H)
{
    double scale = 1.0 / sqrt((double)(n / s->blocks));
    int64_t inner = s->power;
    for (int64_t i = 0; i < n; i += inner)
        walsh(x + i * PANEL, inner);
    for (int f = s->count - 1; f >= 0; f--) {
        int64_t outer = inner * s->factor[f];
        const double *own = H;
        for (int g = 0; g < f; g++)
            own += s->factor[g] * s->factor[g];
        for (int64_t i = 0; i < n; i += outer)
            mix(x + i * PANEL, own, s->factor[f], inner, f == 0 ? scale : 1.0);
        inner = outer;
    }
    for (int64_t i = 0; s->count == 0 && i < n * PANEL; i++)
        x[i] *= scale;
}

/* `count` vectors of n floats: entry i of vector r is x[r * vector + i * entry]. */
static pons_status transform_all(float *x, int64_t count, int64_t n, int64_t vector, int64_t entry)
{
    pons_status st = PONS_OK;
    pons_hadamard_shape s = pons_hadamard_shape_of(n);
    int threads = pons_kern_threads();
    int64_t entries = 1, at = 0;
    double *scratch = NULL, *H = NULL; /* converting the factors inside the loops is slow */
    for (int f = 0; f < s.count; f++)
        entries += s.factor[f] * s.factor[f];
    PONS_ALLOC(st, H, entries);
    PONS_ALLOC(st, scratch, threads * n * PANEL);
    for (int f = 0; f < s.count; f++)
        for (int i = 0; i < s.factor[f] * s.factor[f]; i++)
            H[at++] = pons_hadamard_matrix(s.factor[f])[i];
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r0 = 0; r0 < count; r0 += PANEL) {
        double *panel = scratch + omp_get_thread_num() * n * PANEL;
        int64_t width = count - r0 < PANEL ? count - r0 : PANEL;
        float *from = x + r0 * vector;
        for (int64_t i = 0; i < n; i++)
            for (int64_t l = 0; l < PANEL; l++)
                panel[i * PANEL + l] = l < width ? from[l * vector + i * entry] : 0;
        transform(panel, n, &s, H);
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
