/* Exactly reproducible sums of X^T X. Owns what the rows [first, last) of the upper triangle need, and when work of an
 * earlier call can be used again; the sums are window_sum.c's. */
#include <limits.h>

#include "base/mem.h"
#include "kern/gemm.h"
#include "kern/window_sum.h"

struct pons_gram_work {
    pons_window_sum windows;
};

void pons_gram_work_destroy(pons_gram_work **work)
{
    if (!*work) return;
    pons_window_sum_end(&(*work)->windows);
    pons_mem_free(*work);
    *work = NULL;
}

static pons_status create_work(const pons_window_sum *of, pons_gram_work **out)
{
    pons_status st = PONS_OK;
    pons_gram_work *w = NULL;
    PONS_CALLOC(st, w, 1);
    w->windows = *of;
    PONS_TRY(st, pons_window_sum_begin(&w->windows));
    *out = w;
    w = NULL;
done:
    pons_gram_work_destroy(&w);
    return st;
}

int64_t pons_gram_width(int64_t d) { return pons_window_tiling_of(d).width; }

double pons_gram_bytes(int64_t S, int64_t d, bool bf16, int threads)
{
    pons_window_tiling columns = pons_window_tiling_of(d);
    return pons_window_sum_bytes(&(pons_window_sum){.bf16 = bf16,
                                                    .upper = true,
                                                    .S = S,
                                                    .left = columns,
                                                    .right = columns,
                                                    .threads = threads});
}

pons_status pons_gram_add(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                          double quantum, double *H)
{
    pons_gram_work *work = NULL;
    pons_status st = pons_gram_add_rows(S, d, X, scale, bf16, quantum, 0, d, &work, H);
    pons_gram_work_destroy(&work);
    return st;
}

static bool same(const pons_window_sum *a, const pons_window_sum *b)
{
    return a->bf16 == b->bf16 && a->S == b->S && a->left.d == b->left.d &&
           a->left.first == b->left.first && a->bottom == b->bottom && a->quantum == b->quantum &&
           a->sum == b->sum;
}

pons_status pons_gram_add_rows(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                               double quantum, int64_t first, int64_t last, pons_gram_work **work,
                               double *H)
{
    pons_status st = PONS_OK;
    PONS_ASSERT(d > 0 && d <= INT_MAX && S <= INT_MAX && quantum > 0);
    pons_window_tiling columns = pons_window_tiling_of(d);
    int64_t bottom = last == d ? columns.end : last / columns.width;
    columns.first = first / columns.width;
    PONS_ASSERT(columns.first * columns.width == first &&
                (last == d || bottom * columns.width == last));
    if (S <= 0 || first >= last) return PONS_OK;
    pons_window_sum of = {.bf16 = bf16,
                          .upper = true,
                          .S = S,
                          .left = columns,
                          .right = columns,
                          .bottom = bottom,
                          .quantum = quantum,
                          .sum = H};
    if (*work && !same(&(*work)->windows, &of)) pons_gram_work_destroy(work);
    if (!*work) PONS_TRY(st, create_work(&of, work));
    pons_cross_side side = {X, scale};
    st = pons_window_sum_add(&(*work)->windows, side, side);
done:
    return st;
}
