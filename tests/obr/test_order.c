/* The factor in the order of obr.act_order, where H is not quite positive definite or no number. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "obr/order.h"

enum { D = 8 };

/* Unit diagonal; two columns that `pair` is between once the main factor is made. */
static pons_hessian_factor *factor_with(double damping, float pair)
{
    double H[D * D] = {0}, norm[D];
    pons_hessian_factor *f = NULL;
    int64_t info;
    for (int j = 0; j < D; j++)
        H[j * (D + 1)] = norm[j] = 1.0;
    assert_int_equal(pons_hessian_factor_create(D, H, norm, damping, &info, &f), PONS_OK);
    assert_int_equal(info, 0);
    f->H[3 * D + 5] = f->H[5 * D + 3] = pair;
    return f;
}

/* @param expected damping it takes, 0: none more; negative: refused */
static void check(double damping, float pair, int retries, double expected)
{
    pons_hessian_factor *f = factor_with(damping, pair);
    pons_order *order = NULL;
    pons_status st = pons_order_create(f, 0, 1, retries, &order);
    if (expected < 0) {
        assert_int_equal(st, PONS_ERR_NUMERIC);
        assert_null(order);
    } else {
        assert_int_equal(st, PONS_OK);
        assert_true(fabs(order->damping - expected) < 1e-6);
        double diagonal = 1.0 + (expected > 0 ? expected : damping);
        assert_true(fabs(order->factor->H[0] - diagonal) < 1e-6);
    }
    pons_order_destroy(&order);
    pons_hessian_factor_destroy(&f);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void raises_damping(void **state)
{
    (void)state;
    check(0.01, 0.5f, 0, 0.0);
    check(0.01, 0.5f, 6, 0.0);
    check(0.01, 1.05f, 1, 0.1);
    check(0.01, 1.05f, 6, 0.1);
    check(0.01, 1.5f, 2, 1.0);
    check(0.0, 1.00005f, 1, 1e-4);
    check(0.0, 1.0005f, 2, 1e-3);
}

static void refuses(void **state)
{
    (void)state;
    check(0.01, 1.05f, 0, -1);
    assert_non_null(strstr(pons_error_message(), "not positive definite (minor "));
    assert_non_null(strstr(pons_error_message(), "(now 0.01) or allow obr.damping_retries"));
    check(0.01, 1.5f, 1, -1);
    assert_non_null(strstr(pons_error_message(), "(now 0.1)"));
    check(0.01, NAN, 6, -1);
    assert_non_null(strstr(pons_error_message(), "NaN or Inf"));
    check(0.01, INFINITY, 6, -1);
    assert_non_null(strstr(pons_error_message(), "NaN or Inf"));
    assert_null(strstr(pons_error_message(), "minor"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raises_damping),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
