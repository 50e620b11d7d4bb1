/* Rounding block by block. Owns the order of blocks; rounding is in gptq.c and quant, solving in
 * subproblem.c. */
#include "obr/blocks.h"

#include "base/log.h"
#include "quant/weight.h"

/* Codes of columns [begin, end) to nearest; pruned entries are the zero point. */
static void round_columns(const pons_sweep *s, const uint8_t *mask, int64_t begin, int64_t end,
                          const float *V, int8_t *codes)
{
#pragma omp parallel for
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = begin; j < end; j++) {
            int64_t at = i * s->d + j, g = i * s->groups + j / s->group_size;
            codes[at] =
                mask[at] ? pons_weight_code(s->bits, V[at], s->scale[g], s->zero[g]) : s->zero[g];
        }
}

static void put_values(const pons_sweep *s, int64_t begin, int64_t end, const int8_t *codes,
                       float *V)
{
#pragma omp parallel for
    for (int64_t i = 0; i < s->rows; i++)
        for (int64_t j = begin; j < end; j++) {
            int64_t at = i * s->d + j, g = i * s->groups + j / s->group_size;
            V[at] = pons_weight_value(codes[at], s->scale[g], s->zero[g]);
        }
}

pons_status pons_blocks_round(const pons_row_shared *shared, const pons_solve_panel *panel,
                              const pons_sweep *sweep, bool gptq, float *V, int8_t *codes,
                              pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    int64_t blocks = shared->blocks;
    for (int64_t k = 0; k < blocks; k++) {
        int64_t begin = shared->edge[k], end = shared->edge[k + 1];
        if (begin == end) continue;
        double start = pons_clock();
        if (gptq && k > 0 && shared->order)
            PONS_TRY(st, pons_order_gptq(shared->order, sweep, V, panel->mask, codes));
        else if (gptq && (blocks > 2 || k > 0))
            PONS_TRY(st, pons_gptq_sweep(sweep, begin, end, V, panel->mask, codes));
        else
            round_columns(sweep, panel->mask, begin, end, V, codes);
        put_values(sweep, begin, end, codes, V);
        metrics->gptq_seconds += pons_clock() - start;
        double first = 1.0 - (double)begin / (double)panel->d;
        double last = 1.0 - (double)end / (double)panel->d;
        metrics->products += 0.5 * (first * first - last * last) * (double)panel->rows;
        if (end < panel->d)
            PONS_TRY(st, pons_subproblem_solve(shared->sub[k + 1], panel, V, metrics));
    }
done:
    return st;
}
