/* U^T U against fp64: sizes around whole tiles, with small and large numbers side by side. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/bf16.h"
#include "kern/triangle.h"

static void check(int64_t n, int64_t ldu, int terms)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, (uint32_t)n);
    pons_shared *shared = NULL;
    float *U = pons_mem_calloc(n * ldu, sizeof *U);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < ldu; j++) /* what is past column n is not U's */
            U[i * ldu + j] = j < n ? ldexpf((float)(pons_mt19937_next(&rng) / 4294967296.0 - 0.5),
                                            (int)(i % 7) - (int)(j % 11))
                                   : NAN;
    assert_int_equal(pons_shared_create(pons_par_alone(), (size_t)(n * n) * sizeof(float), &shared),
                     PONS_OK);
    float *K = pons_shared_data(shared);
    assert_int_equal(pons_triangle_square(pons_par_alone(), shared, n, U, ldu, K, terms), PONS_OK);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) {
            double sum = 0, left = 0, right = 0;
            for (int64_t k = 0; k <= i; k++) {
                double a = U[k * ldu + i], b = U[k * ldu + j];
                sum += a * b;
                left += a * a;
                right += b * b;
            }
            double bound = 0x1p-24 * 6 * sqrt((double)(i + 1)); /* roundings of fp32 sums */
            if (terms == 2) bound += 0x1p-15;
            assert_true(fabs(K[i * n + j] - sum) <= bound * sqrt(left * right));
        }
    pons_shared_destroy(&shared);
    pons_mem_free(U);
}

static void square(void **state)
{
    (void)state;
    if (!pons_bf16_on_tiles()) skip();
    for (int terms = 2; terms <= 3; terms++) {
        check(1, 1, terms);
        check(31, 40, terms);
        check(256, 256, terms);
        check(257, 300, terms);
        check(700, 701, terms);
    }
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(square)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
