/* The masked GPTQ sweep. Owns which rows a thread processes together; masks and starting values are
 * given, the arithmetic is in kern/sweep.h. Specification 3.4. */
#include "obr/gptq.h"

#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "kern/sweep.h"

enum {
    STEP = 16,             /* a panel's rows are a multiple of it */
    MOST_ROWS = 256,       /* enough for what is copied of U to cost little */
    PANEL_BYTES = 1 << 20, /* about: stays in L2 */
    PANELS_PER_THREAD = 2
};

/* Rows of a panel: as many as fit L2, fewer when threads would be left without work. Every panel
 * reads all of U, so where U streams from disk panels are as large as possible. */
static int64_t panel_rows(int64_t rows, int64_t stride, int64_t threads, bool streamed)
{
    int64_t most = PANEL_BYTES / (stride * (int64_t)sizeof(float));
    if (most > MOST_ROWS || streamed) most = MOST_ROWS;
    if (most < STEP) most = STEP;
    int64_t panels = (rows + most - 1) / most;
    int64_t wanted = streamed ? threads : PANELS_PER_THREAD * threads;
    if (threads > 1 && panels < wanted) panels = wanted;
    int64_t share = (rows + panels - 1) / panels;
    return (share + STEP - 1) / STEP * STEP;
}

pons_status pons_gptq_sweep(const pons_sweep *sweep, int64_t start, int64_t end, const float *V,
                            const uint8_t *mask, int8_t *codes)
{
    pons_status st = PONS_OK;
    int64_t d = sweep->d, rows = sweep->rows, threads = omp_get_max_threads();
    float *space = NULL;
    if (start >= end || rows == 0) return PONS_OK;
    int64_t ld = pons_sweep_stride(d - start),
            size = panel_rows(rows, ld, threads, sweep->streamed);
    int64_t panels = (rows + size - 1) / size, own = size * ld + pons_sweep_work(size);
    if (threads > panels) threads = panels;
    PONS_CALLOC(st, space, threads * own);
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (int64_t item = 0; item < panels; item++) {
        float *W = space + omp_get_thread_num() * own;
        pons_sweep_panel p = {
            .first = item * size, .start = start, .ld = ld, .W = W, .E = W + size * ld};
        p.rows = rows - p.first < size ? rows - p.first : size;
        for (int64_t i = 0; i < p.rows; i++)
            memcpy(W + i * ld, V + (p.first + i) * d + start, (size_t)(d - start) * sizeof *W);
        pons_sweep_columns(sweep, &p, start, end, mask, codes);
    }
done:
    pons_mem_free(space);
    return st;
}
