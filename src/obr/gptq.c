/* The masked GPTQ sweep. Owns the order of updates; masks and starting values are given.
 * Specification 3.4. */
#include "obr/gptq.h"

#include <cblas.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "obr/panel.h"
#include "quant/weight.h"

void pons_gptq_columns(const pons_sweep *sweep, int64_t i, int64_t from, int64_t to, int64_t end,
                       float *w, const uint8_t *mask, float *error, int8_t *codes)
{
    const float *scale = sweep->scale + i * sweep->groups;
    const int8_t *zero = sweep->zero + i * sweep->groups;
    for (int64_t j = from; j < to; j++) {
        const float *u = sweep->U + j * sweep->d;
        float s = scale[j / sweep->group_size];
        int8_t z = zero[j / sweep->group_size];
        int8_t code = !mask || mask[j] ? pons_weight_code(sweep->bits, w[j], s, z) : z;
        float e = (w[j] - pons_weight_value(code, s, z)) / u[j];
        codes[j] = code;
        error[j - from] = e;
        for (int64_t k = j + 1; k < end; k++)
            w[k] -= e * u[k];
    }
}

void pons_gptq_update(const pons_sweep *sweep, int64_t begin, int64_t end, const float *E, float *W)
{
    int64_t d = sweep->d;
    if (end >= d) return;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, PONS_ROW_PANEL, (int)(d - end),
                (int)(end - begin), -1.0f, E, (int)sweep->block, sweep->U + begin * d + end, (int)d,
                1.0f, W + end, (int)d);
}

pons_status pons_gptq_sweep(const pons_sweep *sweep, int64_t start, const float *V,
                            const uint8_t *mask, int8_t *codes)
{
    pons_status st = PONS_OK;
    int64_t d = sweep->d, block = sweep->block, panels = pons_panel_count(sweep->row, sweep->rows);
    int64_t thread_size = PONS_ROW_PANEL * (d + block);
    float *space = NULL;
    if (start >= d) return PONS_OK;
    PONS_ALLOC(st, space, omp_get_max_threads() * thread_size);
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < panels; item++) {
        pons_panel p = pons_panel_at(sweep->row, sweep->rows, item);
        float *W = space + omp_get_thread_num() * thread_size, *E = W + PONS_ROW_PANEL * d;
        memset(W, 0, (size_t)thread_size * sizeof *W);
        memcpy(W + p.offset * d, V + p.first * d, (size_t)(p.count * d) * sizeof *W);
        for (int64_t begin = start; begin < d; begin += block) {
            int64_t end = begin + block < d ? begin + block : d;
            for (int64_t r = 0; r < p.count; r++) {
                int64_t i = p.first + r, at = p.offset + r;
                pons_gptq_columns(sweep, i, begin, end, end, W + at * d, mask ? mask + i * d : NULL,
                                  E + at * block, codes + i * d);
            }
            pons_gptq_update(sweep, begin, end, E, W);
        }
    }
done:
    pons_mem_free(space);
    return st;
}
