/* Wanda masks. Owns the selection per row and per n:m group; the norms come from the caller.
 * Specification 2.3. */
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

/* Prune the `count` smallest, equal ones from the left. */
static void mask_row(int64_t d, const float *metric, int64_t count, uint8_t *mask)
{
    int64_t below = 0, equal = 0;
    float last = -1.0f;
    if (count > 0) {
        last = pons_select_kth(d, metric, count - 1, &below);
        equal = count - below;
    }
    for (int64_t j = 0; j < d; j++)
        mask[j] = !(metric[j] < last || (metric[j] == last && equal-- > 0));
}

void pons_mask_smallest(int64_t m, const float *metric, int n, uint8_t *mask)
{
    for (int64_t j = 0; j < m; j++)
        mask[j] = 1;
    for (int i = 0; i < n; i++) {
        int64_t least = -1;
        for (int64_t j = 0; j < m; j++)
            if (mask[j] && (least < 0 || metric[j] < metric[least])) least = j;
        if (least >= 0) mask[least] = 0;
    }
}

pons_status pons_mask_wanda(int64_t rows, int64_t d, const float *W, const float *norm,
                            double sparsity, int n, int m, uint8_t *mask)
{
    if (n > 0 && (m < n || d % m != 0))
        return pons_fail(PONS_ERR_SHAPE,
                         "prune: pattern %d:%d needs n <= m and a width that is a multiple of m; "
                         "the width is %lld",
                         n, m, (long long)d);
    pons_status st = PONS_OK;
    float *root = NULL, *work = NULL;
    int64_t count = pons_mask_pruned_per_row(d, sparsity);
    PONS_ALLOC(st, root, d);
    PONS_ALLOC(st, work, omp_get_max_threads() * d);
    for (int64_t j = 0; j < d; j++)
        root[j] = sqrtf(norm[j]);
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++) {
        float *metric = work + omp_get_thread_num() * d;
        for (int64_t j = 0; j < d; j++)
            metric[j] = fabsf(W[i * d + j]) * root[j];
        if (n > 0)
            for (int64_t j = 0; j < d; j += m)
                pons_mask_smallest(m, metric + j, n, mask + i * d + j);
        else
            mask_row(d, metric, count, mask + i * d);
    }
done:
    pons_mem_free(work);
    pons_mem_free(root);
    return st;
}
