/* Masks against a stable sort (specification 2.3, 11.9). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "prune/mask.h"
#include "prune/select.h"

static pons_mt19937 rng;

static float uniform(void) { return (float)(pons_mt19937_next(&rng) >> 8) / 0x1p24f; }

typedef struct entry {
    float metric;
    int64_t column;
} entry;

static int by_metric_then_column(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->metric != y->metric) return x->metric < y->metric ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

/* mask <- 0 for the first `count` of the stable ascending sort. */
static void sorted_mask(int64_t n, const float *w, const float *norm, int64_t count, uint8_t *mask)
{
    entry *list = malloc((size_t)n * sizeof *list);
    for (int64_t j = 0; j < n; j++)
        list[j] = (entry){fabsf(w[j]) * sqrtf(norm[j]), j};
    qsort(list, (size_t)n, sizeof *list, by_metric_then_column);
    memset(mask, 1, (size_t)n);
    for (int64_t j = 0; j < count; j++)
        mask[list[j].column] = 0;
    free(list);
}

static void check(int64_t rows, int64_t d, double sparsity, int64_t count, int n, int m, int levels)
{
    float *W = malloc((size_t)(rows * d) * sizeof *W), *norm = malloc((size_t)d * sizeof *norm);
    uint8_t *mask = malloc((size_t)(rows * d)), *expected = malloc((size_t)d);
    for (int64_t i = 0; i < rows * d; i++) {
        W[i] = uniform() - 0.5f;
        if (levels) W[i] = rintf(W[i] * (float)levels); /* many ties, zeros of both signs */
    }
    for (int64_t j = 0; j < d; j++)
        norm[j] = levels ? 4.0f : uniform() * 10.0f;
    if (d > 3) norm[3] = 0.0f;
    assert_int_equal(pons_mask_wanda(rows, d, W, norm, sparsity, n, m, mask), PONS_OK);
    for (int64_t i = 0; i < rows; i++) {
        if (n > 0)
            for (int64_t j = 0; j < d; j += m)
                sorted_mask(m, W + i * d + j, norm + j, n, expected + j);
        else
            sorted_mask(d, W + i * d, norm, count, expected);
        assert_memory_equal(mask + i * d, expected, (size_t)d);
    }
    free(expected);
    free(mask);
    free(norm);
    free(W);
}

static void unstructured(void **state)
{
    (void)state;
    check(3, 10, 0.35, 3, 0, 0, 0); /* int(3.5) */
    check(3, 10, 0.35, 3, 0, 0, 2);
    check(5, 576, 0.5, 288, 0, 0, 0);
    check(5, 577, 0.5, 288, 0, 0, 5);
    check(4, 100, 0.0, 0, 0, 0, 3);
    check(4, 100, 1.0, 100, 0, 0, 3);
    check(4, 100, 0.999, 99, 0, 0, 0);
    check(2, 1, 0.5, 0, 0, 0, 0);
    assert_int_equal(pons_mask_pruned_per_row(10, 0.35), 3);
}

static void ties_prune_lower_columns(void **state)
{
    (void)state;
    const float W[] = {1, -1, 1, 1, -1, 1}, norm[] = {1, 1, 1, 1, 1, 1};
    const uint8_t expected[] = {0, 0, 0, 1, 1, 1};
    uint8_t mask[6];
    assert_int_equal(pons_mask_wanda(1, 6, W, norm, 0.5, 0, 0, mask), PONS_OK);
    assert_memory_equal(mask, expected, 6);
}

static void patterns(void **state)
{
    (void)state;
    check(6, 64, 0.9, 0, 2, 4, 0);
    check(6, 64, 0.0, 0, 4, 8, 3);
    check(6, 60, 0.5, 0, 1, 3, 2);
    check(6, 60, 0.5, 0, 3, 3, 2);
    uint8_t mask[10];
    float W[10] = {0}, norm[10] = {0};
    assert_int_equal(pons_mask_wanda(1, 10, W, norm, 0.5, 2, 4, mask), PONS_ERR_SHAPE);
    assert_int_equal(pons_mask_wanda(1, 10, W, norm, 0.5, 6, 5, mask), PONS_ERR_SHAPE);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void selection(void **state)
{
    (void)state;
    enum { N = 6000 }; /* half of them alike in their first bits */
    float x[N], sorted[N];
    for (int i = 0; i < N; i++)
        x[i] = i % 2 == 0    ? 1.0f + 0.25f * uniform()
               : i % 7 == 0  ? 0.25f
               : i % 11 == 0 ? 0.0f
                             : uniform() * expf(40.0f * uniform() - 20.0f);
    memcpy(sorted, x, sizeof x);
    qsort(sorted, N, sizeof *sorted, ascending);
    for (int k = 0; k < N; k += 13) {
        int64_t below = -1, count = 0;
        float kth = pons_select_kth(N, x, k, &below);
        assert_true(kth == sorted[k]);
        for (int i = 0; i < N; i++)
            count += x[i] < kth;
        assert_int_equal(below, count);
    }
}

static void nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    pons_mt19937_seed(&rng, 9);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unstructured), cmocka_unit_test(ties_prune_lower_columns),
        cmocka_unit_test(patterns), cmocka_unit_test(selection), cmocka_unit_test(nothing_leaks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
