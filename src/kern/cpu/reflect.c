/* Householder reflections. Owns the panels of vectors that are reflected together. */
#include "kern/reflect.h"

#include "base/mem.h"
#include "kern/threads.h"

/* Vectors reflected at once: entry i of all of them stands in two vector registers, whose sums do
 * not wait for each other. */
enum { LANES = 8, PANEL = 2 * LANES };
typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));

/* p [n, 2] <- Q^T p. */
static void reflect_panel(const double *v, const int8_t *sign, int64_t n, lanes *p)
{
    for (int64_t k = 0; k < n; v += n - k, k++) {
        lanes dot0 = {0}, dot1 = {0}, *from = p + 2 * k;
        for (int64_t i = 0; i < n - k; i++) {
            dot0 += v[i] * from[2 * i];
            dot1 += v[i] * from[2 * i + 1];
        }
        for (int64_t i = 0; i < n - k; i++) {
            from[2 * i] -= v[i] * dot0;
            from[2 * i + 1] -= v[i] * dot1;
        }
    }
    for (int64_t i = 0; i < 2 * n; i++)
        p[i] *= (double)sign[i / 2];
}

pons_status pons_reflect_vectors(const double *reflector, const int8_t *sign, int64_t n, float *X,
                                 int64_t count, int64_t vector, int64_t entry)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads();
    lanes *scratch = NULL;
    PONS_ALLOC(st, scratch, threads * n * 2);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t first = 0; first < count; first += PANEL) {
        lanes *panel = scratch + omp_get_thread_num() * n * 2;
        int64_t width = count - first < PANEL ? count - first : PANEL;
        float *x = X + first * vector;
        for (int64_t i = 0; i < n; i++)
            for (int64_t l = 0; l < PANEL; l++)
                panel[2 * i + l / LANES][l % LANES] = l < width ? x[l * vector + i * entry] : 0;
        reflect_panel(reflector, sign, n, panel);
        for (int64_t i = 0; i < n; i++)
            for (int64_t l = 0; l < width; l++)
                x[l * vector + i * entry] = (float)panel[2 * i + l / LANES][l % LANES];
    }
done:
    pons_mem_free(scratch);
    return st;
}
