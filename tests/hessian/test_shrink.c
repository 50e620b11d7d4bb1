/* The shifted inverse by its identity P (H + rho I) = rho I, in both precisions, and the ridge by the trace
 * that defines it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hessian/shrink.h"
#include "kern/gemm.h"
#include "support/obr_oracle.h"

static void identity(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(2, 1, 70, 3, &p);
    int64_t d = p.d;
    for (double rho = 1e-2; rho < 1e5; rho *= 100) {
        pons_hessian_shrink *s = NULL;
        assert_int_equal(pons_hessian_shrink_create(p.factor, 1, &rho, false, &s), PONS_OK);
        assert_true(s->rho == rho);
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < d; j++) {
                double sum = rho * s->P[i * d + j], size = fabs(sum);
                for (int64_t k = 0; k < d; k++) {
                    double term = (double)s->P[i * d + k] * p.factor->H[k * d + j];
                    sum += term;
                    size += fabs(term);
                }
                assert_true(fabs(sum - (i == j ? rho : 0.0)) <= 1e-5 * size);
            }
        pons_hessian_shrink_destroy(&s);
        if (!pons_kern_has_bf16()) continue;
        assert_int_equal(pons_hessian_shrink_create(p.factor, 1, &rho, true, &s), PONS_OK);
        assert_null(s->P);
        pons_hessian_shrink_destroy(&s);
    }
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* tr H (H + tau I)^-1 = d - tau tr (H + tau I)^-1, the inverse by Gaussian elimination. */
static void ridge(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(4, 1, 120, 0, &p);
    int64_t d = p.d;
    double *A = malloc((size_t)(d * d) * sizeof *A), *x = malloc((size_t)d * sizeof *x);
    for (double share = 0.1; share < 0.95; share += 0.2) {
        double tau = 0.0, trace = 0.0;
        assert_int_equal(pons_hessian_effective_ridge(p.factor, share * (double)d, &tau), PONS_OK);
        for (int64_t c = 0; c < d; c++) {
            for (int64_t i = 0; i < d * d; i++)
                A[i] = p.factor->H[i];
            for (int64_t i = 0; i < d; i++) {
                A[i * d + i] += tau;
                x[i] = i == c;
            }
            obr_oracle_solve(d, A, x);
            trace += x[c];
        }
        assert_true(fabs(1.0 - tau * trace / (double)d - share) < 0.05);
    }
    free(x);
    free(A);
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(identity), cmocka_unit_test(ridge)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
