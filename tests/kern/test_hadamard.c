/* Hadamard matrices by their defining identity, fast transforms against the dense product. */
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "kern/hadamard.h"

static uint64_t seed = 1;

static float draw(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((int64_t)(seed >> 40) - (1 << 23)) * 0x1p-23f;
}

static float *random_matrix(int64_t n)
{
    float *x = pons_mem_alloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = draw();
    return x;
}

static void matrices(void **state)
{
    (void)state;
    /* of the specification; then Paley I and II over fields of prime order and of 3^5, 5^3, 7^2 and 3^4 elements */
    static const int orders[] = {1,   12,  20, 28, 36, 40, 44,  52,  60,  108, 140, 148,
                                 156, 172, 68, 76, 84, 24, 180, 244, 252, 100, 164};
    for (size_t n = 0; n < sizeof orders / sizeof *orders; n++)
        assert_non_null(pons_hadamard_matrix(orders[n]));
    for (int K = 1; K <= 256; K++) {
        const int8_t *H = pons_hadamard_matrix(K);
        for (int i = 0; H && i < K; i++)
            for (int j = 0; j < K; j++) {
                int dot = 0;
                for (int k = 0; k < K; k++)
                    dot += H[i * K + k] * H[j * K + k];
                assert_int_equal(dot, i == j ? K : 0);
                assert_int_equal(H[i * K + j] * H[i * K + j], 1);
            }
    }
    assert_null(pons_hadamard_matrix(92)); /* 91 and 45 are no prime powers */
    assert_null(pons_hadamard_matrix(16)); /* butterflies */
    assert_null(pons_hadamard_matrix(0));
    for (int j = 0; j < 12; j++)
        assert_int_equal(pons_hadamard_matrix(12)[12 + j], "++-+---+++-+"[j] == '+' ? 1 : -1);
}

static void factors(void **state)
{
    (void)state;
    static const int64_t known[][2] = {
        {1, 1},      {64, 1},      {4096, 1},    {576, 36},    {1536, 12},   {3584, 28},
        {5120, 40},  {11008, 172}, {13824, 108}, {14336, 28},  {18944, 148}, {27648, 108},
        {28672, 28}, {28, 28},     {40, 40},     {24, 12},     {44, 44},     {20, 20},
        {80, 40},    {3, 0},       {0, 0},       {-4, 0},      {84, 84},     {120, 60},
        {36864, 36}, {9728, 76},   {6912, 108},  {17920, 140}, {832, 52},    {4992, 156}};
    for (size_t n = 0; n < sizeof known / sizeof *known; n++)
        assert_int_equal(pons_hadamard_factor(known[n][0]), known[n][1]);
}

/* Widths of current models and what Had_n is made of: factors from the slowest index on, blocks along the diagonal. */
static const struct made_of {
    int64_t n, blocks;
    int factor[4];
} widths[] = {{400, 1, {20, 20}},   {1200, 1, {60, 20}}, {336, 1, {28, 12}},
              {6, 3, {0}},          {10, 5, {0}},        {856, 107, {0}},
              {4864, 1, {76}},      {9728, 1, {76}},     {29568, 1, {44, 28, 12}},
              {25600, 1, {20, 20}}, {17408, 1, {68}},    {5376, 1, {28, 12}},
              {21504, 1, {28, 12}}, {53248, 1, {52}},    {13696, 107, {0}},
              {896, 1, {28}},       {2304, 1, {36}},     {6144, 1, {12}},
              {2816, 1, {44}},      {8960, 1, {140}},    {29696, 29, {0}}};

static void orders_of_models(void **state)
{
    (void)state;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        const struct made_of *m = &widths[w];
        int several = m->factor[1] ? -1 : m->blocks > 1 ? 0 : m->factor[0];
        assert_int_equal(pons_hadamard_block(m->n), m->n / m->blocks);
        assert_int_equal(pons_hadamard_factor(m->n), several);
    }
    assert_int_equal(pons_hadamard_block(0), 0);
    assert_int_equal(pons_hadamard_block(7), 1);
}

/* Entry (i, j) of sqrt(n / blocks) Had_n: the factors in the slow indices, (-1)^popcount(a & b) in the fast one. */
static double entry(int64_t n, int K, int64_t i, int64_t j)
{
    struct made_of m = {n, 1, {K > 1 ? K : 0}};
    double value = 1;
    for (size_t w = 0; K < 1 && w < sizeof widths / sizeof *widths; w++)
        if (widths[w].n == n) m = widths[w];
    n /= m.blocks;
    if (i / n != j / n) return 0;
    i %= n;
    j %= n;
    for (int f = 0; f < 4 && m.factor[f]; f++) {
        n /= m.factor[f];
        value *= pons_hadamard_matrix(m.factor[f])[i / n * m.factor[f] + j / n];
        i %= n;
        j %= n;
    }
    return __builtin_popcountll((uint64_t)i & (uint64_t)j) & 1 ? -value : value;
}

static const int64_t lengths[] = {1,    2,    8,   12, 16, 20,  24,  32,  64,   96, 128, 256, 576,
                                  1536, 3584, 152, 68, 84, 100, 336, 400, 1200, 6,  10,  856};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

/* y[v] = Had_n x[v] for v vectors; entry i of vector v at x[v * vector + i * step]. */
static void check(const float *before, const float *after, int64_t n, int64_t count, int64_t vector,
                  int64_t step, double tolerance)
{
    int K = pons_hadamard_factor(n);
    for (int64_t v = 0; v < count; v++)
        for (int64_t i = 0; i < n; i++) {
            double sum = 0, size = 0;
            for (int64_t j = 0; j < n; j++) {
                double x = before[v * vector + j * step];
                sum += entry(n, K, i, j) * x;
                size += x * x;
            }
            double got = after[v * vector + i * step],
                   want = sum / sqrt((double)pons_hadamard_block(n));
            if (!(fabs(got - want) <= tolerance * sqrt(size)))
                fail_msg("n %d entry %d: %.9g instead of %.9g", (int)n, (int)i, got, want);
        }
}

static void rows(void **state)
{
    (void)state;
    enum { ROWS = 3 };
    for (int k = 0; k < LENGTHS; k++)
        for (int f64 = 0; f64 < 2; f64++) {
            int64_t n = lengths[k], ld = n + 5;
            float *x = random_matrix(ROWS * ld), *y = pons_mem_alloc(ROWS * ld, sizeof *y);
            memcpy(y, x, (size_t)(ROWS * ld) * sizeof *x);
            if (f64)
                assert_int_equal(pons_hadamard_rows_f64(y, ROWS, n, ld), PONS_OK);
            else
                pons_hadamard_rows(y, ROWS, n, ld);
            check(x, y, n, ROWS, ld, 1, f64 ? 0x1p-24 : 0x1p-21);
            for (int64_t r = 0; r < ROWS; r++) /* what lies between rows is not touched */
                assert_memory_equal(y + r * ld + n, x + r * ld + n, 5 * sizeof *x);
            pons_mem_free(x), pons_mem_free(y);
        }
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void columns(void **state)
{
    (void)state;
    enum { COLUMNS = 11 };
    for (int k = 0; k < LENGTHS; k++) {
        int64_t n = lengths[k], ld = COLUMNS + 2;
        float *x = random_matrix(n * ld), *y = pons_mem_alloc(n * ld, sizeof *y);
        float *t = pons_mem_alloc(n * COLUMNS, sizeof *t);
        memcpy(y, x, (size_t)(n * ld) * sizeof *x);
        assert_int_equal(pons_hadamard_columns_f64(y, n, COLUMNS, ld), PONS_OK);
        if (n <= 576) check(x, y, n, COLUMNS, 1, ld, 0x1p-24);
        /* columns are the rows of the transpose, to the bit */
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < COLUMNS; c++)
                t[c * n + i] = x[i * ld + c];
        assert_int_equal(pons_hadamard_rows_f64(t, COLUMNS, n, n), PONS_OK);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t c = 0; c < COLUMNS; c++)
                assert_true(t[c * n + i] == y[i * ld + c]);
            assert_memory_equal(y + i * ld + COLUMNS, x + i * ld + COLUMNS, 2 * sizeof *x);
        }
        pons_mem_free(x), pons_mem_free(y), pons_mem_free(t);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void heads(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{1, 7},   {4, 64},   {12, 5},  {28, 16},
                                        {32, 16}, {40, 128}, {36, 64}, {6, 64}};
    enum { T = 3 };
    for (int s = 0; s < 8; s++) {
        int64_t nh = shapes[s][0], hd = shapes[s][1], ld = nh * hd + 3;
        float *x = random_matrix(T * ld), *y = pons_mem_alloc(T * ld, sizeof *y);
        memcpy(y, x, (size_t)(T * ld) * sizeof *x);
        pons_hadamard_heads(y, T, nh, hd, ld);
        for (int64_t t = 0; t < T; t++)
            check(x + t * ld, y + t * ld, nh, hd, 1, hd, 0x1p-21);
        pons_mem_free(x), pons_mem_free(y);
    }
}

/* A head-wise transform followed by the one across heads is the full one, for 28 heads of 128. */
static void heads_complete_rows(void **state)
{
    (void)state;
    enum { NH = 28, HD = 128, N = NH * HD };
    float *x = random_matrix(N), *y = pons_mem_alloc(N, sizeof *y);
    memcpy(y, x, N * sizeof *x);
    pons_hadamard_rows(y, NH, HD, HD);
    pons_hadamard_heads(y, 1, NH, HD, N);
    pons_hadamard_rows(x, 1, N, N);
    for (int i = 0; i < N; i++)
        assert_true(fabs(x[i] - y[i]) < 1e-5);
    pons_mem_free(x), pons_mem_free(y);
}

static void same_bits(void **state)
{
    (void)state;
    enum { ROWS = 37, N = 576 };
    float *x = random_matrix(ROWS * N), *y = pons_mem_alloc(ROWS * N, sizeof *y),
          *z = pons_mem_alloc(ROWS * N, sizeof *z);
    int before = omp_get_max_threads();
    for (int f64 = 0; f64 < 2; f64++)
        for (int threads = 1; threads <= 3; threads++) {
            float *to = threads == 1 ? y : z;
            omp_set_num_threads(threads);
            memcpy(to, x, ROWS * N * sizeof *x);
            if (f64)
                assert_int_equal(pons_hadamard_rows_f64(to, ROWS, N, N), PONS_OK);
            else
                pons_hadamard_rows(to, ROWS, N, N);
            assert_memory_equal(to, y, ROWS * N * sizeof *x);
        }
    omp_set_num_threads(before);
    pons_mem_free(x), pons_mem_free(y), pons_mem_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(matrices),
                                       cmocka_unit_test(factors),
                                       cmocka_unit_test(orders_of_models),
                                       cmocka_unit_test(rows),
                                       cmocka_unit_test(columns),
                                       cmocka_unit_test(heads),
                                       cmocka_unit_test(heads_complete_rows),
                                       cmocka_unit_test(same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
