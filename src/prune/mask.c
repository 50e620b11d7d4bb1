/* Masks from scores. Owns the selection per row and per n:m group; scores come from the caller,
 * costs that include compensation from obr. Specification 2.3. */
#include "prune/mask.h"

#include <math.h>
#include <omp.h>

#include "base/mem.h"
#include "prune/select.h"

int64_t pons_mask_pruned_per_row(int64_t d, double sparsity)
{
    int64_t count = (int64_t)((double)d * sparsity);
    return count < 0 ? 0 : count > d ? d : count;
}

void pons_mask_smallest(int64_t m, const float *metric, int n, uint8_t *mask)
{
    for (int64_t j = 0; j < m; j++)
        mask[j] = 1;
    for (int i = 0; i < n; i++) {
        int64_t minimum = -1;
        for (int64_t j = 0; j < m; j++)
            if (mask[j] && (minimum < 0 || metric[j] < metric[minimum])) minimum = j;
        if (minimum >= 0) mask[minimum] = 0;
    }
}

pons_status pons_mask_check(pons_mask_rule rule, int64_t d)
{
    if (rule.n == 0 || (rule.m >= rule.n && d % rule.m == 0)) return PONS_OK;
    return pons_fail(PONS_ERR_SHAPE,
                     "prune: pattern %d:%d needs n <= m and a width that is a multiple of m; "
                     "the width is %lld",
                     rule.n, rule.m, (long long)d);
}

void pons_mask_row(pons_mask_rule rule, int64_t d, const float *metric, uint8_t *mask)
{
    for (int64_t j = 0; rule.n > 0 && j < d; j += rule.m)
        pons_mask_smallest(rule.m, metric + j, rule.n, mask + j);
    if (rule.n > 0) return;
    int64_t count = pons_mask_pruned_per_row(d, rule.sparsity), below = 0, equal = 0;
    float last = -1.0f;
    if (count > 0) {
        last = pons_select_kth(d, metric, count - 1, &below);
        equal = count - below;
    }
    for (int64_t j = 0; j < d; j++)
        mask[j] = !(metric[j] < last);
    for (int64_t j = 0; equal > 0 && j < d; j++) { /* ties: the first of them go */
        if (metric[j] != last) continue;
        mask[j] = 0;
        equal--;
    }
}

pons_status pons_mask_score(pons_mask_rule rule, int64_t rows, int64_t d, const float *W,
                            const float *column, uint8_t *mask)
{
    pons_status st = PONS_OK;
    float *work = NULL;
    PONS_TRY(st, pons_mask_check(rule, d));
    PONS_ALLOC(st, work, omp_get_max_threads() * d);
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++) {
        float *metric = work + omp_get_thread_num() * d;
        for (int64_t j = 0; j < d; j++)
            metric[j] = fabsf(W[i * d + j]) * column[j];
        pons_mask_row(rule, d, metric, mask + i * d);
    }
done:
    pons_mem_free(work);
    return st;
}

pons_status pons_mask_wanda(int64_t rows, int64_t d, const float *W, const float *norm,
                            double sparsity, int n, int m, uint8_t *mask)
{
    pons_status st = PONS_OK;
    float *root = NULL;
    PONS_ALLOC(st, root, d);
    for (int64_t j = 0; j < d; j++)
        root[j] = sqrtf(norm[j]);
    st = pons_mask_score((pons_mask_rule){sparsity, n, m}, rows, d, W, root, mask);
done:
    pons_mem_free(root);
    return st;
}
