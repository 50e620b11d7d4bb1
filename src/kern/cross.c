/* Exactly reproducible sums of L^T R: window_sum.c's with two sides, all of both. The symmetric case is gram.c's. */
#include "kern/cross.h"

#include <limits.h>

#include "base/mem.h"
#include "kern/window_sum.h"

struct pons_cross_sum {
    pons_window_sum windows;
};

void pons_cross_sum_destroy(pons_cross_sum **sum)
{
    if (!*sum) return;
    pons_window_sum_end(&(*sum)->windows);
    pons_mem_free(*sum);
    *sum = NULL;
}

pons_status pons_cross_sum_create(int64_t S, int64_t p, int64_t d, bool bf16, double quantum,
                                  double *C, pons_cross_sum **out)
{
    pons_status st = PONS_OK;
    pons_cross_sum *g = NULL;
    PONS_ASSERT(p > 0 && p <= INT_MAX && d > 0 && d <= INT_MAX);
    PONS_ASSERT(S > 0 && S <= INT_MAX && quantum > 0);
    PONS_CALLOC(st, g, 1);
    g->windows = (pons_window_sum){.bf16 = bf16,
                                   .S = S,
                                   .left = pons_window_tiling_of(p),
                                   .right = pons_window_tiling_of(d),
                                   .quantum = quantum,
                                   .sum = C};
    g->windows.bottom = g->windows.left.end;
    PONS_TRY(st, pons_window_sum_begin(&g->windows));
    *out = g;
    g = NULL;
done:
    pons_cross_sum_destroy(&g);
    return st;
}

pons_status pons_cross_sum_add(pons_cross_sum *g, pons_cross_side left, pons_cross_side right)
{
    return pons_window_sum_add(&g->windows, left, right);
}

double pons_cross_sum_bytes(int64_t S, int64_t p, int64_t d, bool bf16, int threads)
{
    return pons_window_sum_bytes(&(pons_window_sum){.bf16 = bf16,
                                                    .S = S,
                                                    .left = pons_window_tiling_of(p),
                                                    .right = pons_window_tiling_of(d),
                                                    .threads = threads});
}
