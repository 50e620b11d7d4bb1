/* The sweeps against one column at a time: an entry is the same chain of multiply-adds however columns
 * and rows are grouped, so codes and masks must be equal bit by bit, for any number of threads and any
 * split of the rows. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/simd.h"
#include "obr/gptq.h"
#include "quant/weight.h"

typedef struct layer {
    int64_t rows, d, group_size, groups;
    int bits;
    float *U, *V, *scale;
    int8_t *zero, *codes, *expected;
    uint8_t *mask, *expected_mask;
} layer;

static float uniform(pons_mt19937 *rng)
{
    return (float)(pons_mt19937_next(rng) / 4294967296.0 - 0.5);
}

static layer make(uint32_t seed, int64_t rows, int64_t d, int64_t group_size, int bits)
{
    pons_mt19937 rng;
    layer l = {.rows = rows, .d = d, .group_size = group_size ? group_size : d, .bits = bits};
    size_t cells = (size_t)(rows * d);
    l.groups = (d + l.group_size - 1) / l.group_size;
    l.U = calloc((size_t)(d * d), sizeof *l.U);
    l.V = malloc(cells * sizeof *l.V);
    l.scale = malloc((size_t)(rows * l.groups) * sizeof *l.scale);
    l.zero = malloc((size_t)(rows * l.groups));
    l.codes = malloc(cells);
    l.expected = malloc(cells);
    l.mask = malloc(cells);
    l.expected_mask = malloc(cells);
    pons_mt19937_seed(&rng, seed);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = i; j < d; j++)
            l.U[i * d + j] = i == j ? 1.0f + uniform(&rng) : 0.3f * uniform(&rng);
    for (size_t i = 0; i < cells; i++) {
        l.V[i] = uniform(&rng);
        l.mask[i] = pons_mt19937_next(&rng) % 2;
        l.codes[i] = l.expected[i] = 99;
    }
    for (int64_t i = 0; i < rows * l.groups; i++) {
        l.scale[i] = 0.03f + 0.02f * uniform(&rng);
        l.zero[i] = (int8_t)(pons_mt19937_next(&rng) % 4);
    }
    for (int64_t j = 0; j < d; j++) { /* rows that keep and prune everything */
        l.mask[j] = 1;
        if (rows > 2) l.mask[2 * d + j] = 0;
    }
    return l;
}

static void destroy(layer *l)
{
    free(l->U);
    free(l->V);
    free(l->scale);
    free(l->zero);
    free(l->codes);
    free(l->expected);
    free(l->mask);
    free(l->expected_mask);
}

/* Rows [row, row + rows) as a sweep. */
static pons_sweep sweep_of(const layer *l, int64_t row, int64_t rows)
{
    return (pons_sweep){.rows = rows,
                        .d = l->d,
                        .U = l->U,
                        .bits = l->bits,
                        .group_size = l->group_size,
                        .groups = l->groups,
                        .scale = l->scale + row * l->groups,
                        .zero = l->zero + row * l->groups};
}

static float metric(const layer *l, float w, int64_t j)
{
    float u = l->U[j * l->d + j];
    return w * w / (u * u);
}

/* One column of a row; w [d] current values. */
static void round_one(const layer *l, int64_t i, int64_t j, bool keep, float *w)
{
    const float *u = l->U + j * l->d;
    int64_t g = i * l->groups + j / l->group_size;
    int8_t code = keep ? pons_weight_code(l->bits, w[j], l->scale[g], l->zero[g]) : l->zero[g];
    float back = (pons_weight_value(code, l->scale[g], l->zero[g]) - w[j]) / u[j];
    l->expected[i * l->d + j] = code;
    for (int64_t k = j + 1; k < l->d; k++)
        w[k] = pons_fma(u[k], back, w[k]);
}

static void check_gptq(uint32_t seed, int64_t rows, int64_t d, int64_t start, int64_t group_size,
                       int bits, bool masked)
{
    layer l = make(seed, rows, d, group_size, bits);
    const uint8_t *mask = masked ? l.mask : NULL;
    float *w = malloc((size_t)d * sizeof *w);
    for (int64_t i = 0; i < rows; i++) {
        memcpy(w, l.V + i * d, (size_t)d * sizeof *w);
        for (int64_t j = start; j < d; j++)
            round_one(&l, i, j, !masked || l.mask[i * d + j], w);
    }
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        memset(l.codes, 99, (size_t)(rows * d));
        int64_t cut = rows * (threads - 1) / 3; /* in one piece, then in two */
        pons_sweep head = sweep_of(&l, 0, cut), tail = sweep_of(&l, cut, rows - cut);
        assert_int_equal(pons_gptq_sweep(&head, start, d, l.V, mask, l.codes), PONS_OK);
        assert_int_equal(pons_gptq_sweep(&tail, start, d, l.V + cut * d,
                                         mask ? mask + cut * d : NULL, l.codes + cut * d),
                         PONS_OK);
        assert_memory_equal(l.codes, l.expected, (size_t)(rows * d));
    }
    free(w);
    destroy(&l);
}

static void gptq(void **state)
{
    (void)state;
    static const int64_t widths[] = {1, 2, 15, 16, 17, 64, 129, 333}, rows[] = {1, 5, 64, 150};
    static const int bits[] = {4, 2, 8};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            int64_t d = widths[w], starts[] = {0, d / 3, d - 1, d};
            for (size_t s = 0; s < 4; s++) {
                uint32_t seed = (uint32_t)(100 * w + 10 * r + s);
                int64_t group = s == 1 ? 7 : s == 2 ? 32 : 0;
                check_gptq(seed, rows[r], d, starts[s], group, bits[(w + r + s) % 3],
                           (w + s) % 4 != 0);
            }
        }
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Masks of the block that begins at column j, from all rows' current values. */
static void choose_block(const layer *l, int64_t j, int64_t block, double sparsity, const float *W)
{
    int64_t end = j + block < l->d ? j + block : l->d, n = 0;
    float *all = malloc((size_t)(l->rows * block) * sizeof *all);
    for (int64_t i = 0; i < l->rows; i++)
        for (int64_t k = j; k < end; k++)
            all[n++] = metric(l, W[i * l->d + k], k);
    qsort(all, (size_t)n, sizeof *all, ascending);
    float threshold = all[(int64_t)((double)n * sparsity)];
    for (int64_t i = 0; i < l->rows; i++)
        for (int64_t k = j; k < end; k++)
            l->expected_mask[i * l->d + k] = metric(l, W[i * l->d + k], k) > threshold;
    free(all);
}

/* Mask of one group of m: the n least, from the left. */
static void choose_group(const layer *l, int64_t i, int64_t j, int n, int m, const float *w)
{
    uint8_t *mask = l->expected_mask + i * l->d + j;
    memset(mask, 1, (size_t)m);
    for (int k = 0; k < n; k++) {
        int least = -1;
        for (int c = 0; c < m; c++)
            if (mask[c] &&
                (least < 0 || metric(l, w[j + c], j + c) < metric(l, w[j + least], j + least)))
                least = c;
        mask[least] = 0;
    }
}

static void check_sparsegpt(uint32_t seed, int64_t rows, int64_t d, int64_t block, double sparsity,
                            int n, int m)
{
    layer l = make(seed, rows, d, 0, 4);
    float *W = malloc((size_t)(rows * d) * sizeof *W);
    memcpy(W, l.V, (size_t)(rows * d) * sizeof *W);
    memset(l.expected_mask, 1, (size_t)(rows * d));
    for (int64_t j = 0; j < d; j++) {
        if (n == 0 && sparsity > 0 && j % block == 0) choose_block(&l, j, block, sparsity, W);
        for (int64_t i = 0; i < rows; i++) {
            if (n > 0 && j % m == 0) choose_group(&l, i, j, n, m, W + i * d);
            round_one(&l, i, j, l.expected_mask[i * d + j], W + i * d);
        }
    }
    for (int threads = 1; threads <= 2; threads++) {
        omp_set_num_threads(threads);
        pons_sweep all = sweep_of(&l, 0, rows);
        memset(l.codes, 99, (size_t)(rows * d));
        memset(l.mask, 99, (size_t)(rows * d));
        assert_int_equal(pons_sparsegpt_sweep(&all, block, l.V, sparsity, n, m, l.mask, l.codes),
                         PONS_OK);
        assert_memory_equal(l.mask, l.expected_mask, (size_t)(rows * d));
        assert_memory_equal(l.codes, l.expected, (size_t)(rows * d));
    }
    free(W);
    destroy(&l);
}

static void sparsegpt(void **state)
{
    (void)state;
    check_sparsegpt(1, 70, 96, 16, 0.5, 0, 0);
    check_sparsegpt(2, 5, 301, 128, 0.7, 0, 0); /* blocks that do not divide */
    check_sparsegpt(3, 3, 40, 1000, 0.25, 0, 0);
    check_sparsegpt(4, 66, 288, 144, 0.0, 0, 0);
    check_sparsegpt(5, 70, 272, 128, 0.5, 2, 4);
    check_sparsegpt(6, 4, 135, 15, 0.5, 1, 3); /* groups that divide no tile */
    check_sparsegpt(7, 17, 240, 48, 0.5, 9, 24);
    check_sparsegpt(8, 2, 160, 160, 0.5, 20, 32); /* wider than a tile */
    check_sparsegpt(9, 1, 4, 4, 0.5, 2, 4);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gptq), cmocka_unit_test(sparsegpt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
