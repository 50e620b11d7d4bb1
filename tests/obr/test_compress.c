/* Every method, pattern and grid against the naive compressor in fp64; the properties of specification
 * 11.5 to 11.7; compat rules; refusals. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "quant/weight.h"
#include "support/obr_oracle.h"

static pons_row_task task_of(const obr_problem *p, const pons_recipe *recipe)
{
    return (pons_row_task){"block 0 q_proj",     0,   p->m, p->d, p->W, p->factor, recipe,
                           recipe->weights.bits, NULL};
}

static double sum(int64_t n, const double *x)
{
    double total = 0.0;
    for (int64_t i = 0; i < n; i++)
        total += x[i];
    return total;
}

/* error, energy, zeros and value of a result against their definitions. */
static void check_metrics(const obr_problem *p, const pons_recipe *recipe, const pons_row_result *r)
{
    int64_t d = p->d, size = pons_weight_group_size(&recipe->weights, d);
    int64_t groups = pons_weight_groups(&recipe->weights, d);
    double *D = malloc((size_t)d * sizeof *D), *W = malloc((size_t)d * sizeof *W);
    for (int64_t i = 0; i < p->m; i++) {
        int64_t zeros = 0;
        for (int64_t j = 0; j < d; j++) {
            float v = r->value[i * d + j];
            int64_t g = i * groups + j / size;
            if (recipe->method != PONS_METHOD_WANDA)
                assert_true(v == r->scale[g] * (float)(r->codes[i * d + j] - r->zero[g]));
            W[j] = p->W[i * d + j];
            D[j] = v - W[j];
            zeros += v == 0.0f;
            if (p->factor->dead[j]) assert_true(v == 0.0f);
        }
        double energy = obr_problem_form(p, W), error = obr_problem_form(p, D);
        assert_true(fabs(r->energy[i] - energy) <= 1e-4 * energy);
        assert_true(fabs(r->error[i] - error) <= 1e-3 * error + 1e-6 * energy);
        assert_int_equal(r->zeros[i], zeros);
    }
    free(W);
    free(D);
}

/* Share of codes (wanda: values) equal to the naive compressor's; masks must be exact zeros. */
static void check(const obr_problem *p, const pons_recipe *recipe, const char *what)
{
    int64_t n = p->m * p->d, equal = 0;
    pons_row_result r;
    obr_result_create(p, recipe, &r);
    pons_row_task task = task_of(p, recipe);
    pons_row_metrics metrics = {0};
    assert_int_equal(pons_compress_rows(&task, &r, &metrics), PONS_OK);
    uint8_t *mask = malloc((size_t)n);
    int8_t *codes = malloc((size_t)n);
    obr_oracle(p, recipe, recipe->weights.bits, r.scale, r.zero, mask, codes);
    bool wanda = recipe->method == PONS_METHOD_WANDA;
    bool sparsegpt = recipe->method == PONS_METHOD_SPARSEGPT_GPTQ;
    for (int64_t i = 0; i < n; i++) {
        bool dead = p->factor->dead[i % p->d];
        if (wanda)
            equal += r.value[i] == (mask[i] && !dead ? p->W[i] : 0.0f);
        else
            equal += r.codes[i] == codes[i];
        if (!mask[i] && !sparsegpt) assert_true(r.value[i] == 0.0f);
    }
    double share = (double)equal / (double)n, least = wanda ? 1.0 : sparsegpt ? 0.97 : 0.99;
    if (share < least) printf("%s: %.4f of the codes equal\n", what, share);
    assert_true(share >= least);
    check_metrics(p, recipe, &r);
    free(codes);
    free(mask);
    obr_result_destroy(&r);
}

static void all_methods(void **state)
{
    (void)state;
    static const pons_method methods[] = {
        PONS_METHOD_RTN,     PONS_METHOD_GPTQ,     PONS_METHOD_WANDA,         PONS_METHOD_WANDA_RTN,
        PONS_METHOD_OBR_RTN, PONS_METHOD_OBR_GPTQ, PONS_METHOD_SPARSEGPT_GPTQ};
    static const struct {
        double sparsity;
        int n, m;
    } patterns[] = {{0.5, 0, 0}, {0.3, 0, 0}, {0.0, 2, 4}, {0.9, 4, 8}};
    obr_problem p;
    obr_problem_create(3, 9, 56, 0, &p);
    for (size_t k = 0; k < sizeof methods / sizeof *methods; k++)
        for (size_t s = 0; s < sizeof patterns / sizeof *patterns; s++)
            for (int symmetric = 0; symmetric < 2; symmetric++)
                for (int64_t group = 0; group <= 24; group += 24) {
                    pons_recipe recipe = obr_recipe(methods[k]);
                    char what[100];
                    recipe.prune.sparsity = patterns[s].sparsity;
                    recipe.prune.n = patterns[s].n;
                    recipe.prune.m = patterns[s].m;
                    recipe.weights.symmetric = symmetric;
                    recipe.weights.group_size = group;
                    snprintf(what, sizeof what, "method %d pattern %zu symmetric %d group %d",
                             (int)methods[k], s, symmetric, (int)group);
                    check(&p, &recipe, what);
                }
    obr_problem_destroy(&p);
}

/* obr.act_order against the naive sweep, which takes the largest H_jj left; and that it is one. */
static void act_order(void **state)
{
    (void)state;
    static const pons_method methods[] = {PONS_METHOD_GPTQ, PONS_METHOD_SPARSEGPT_GPTQ,
                                          PONS_METHOD_OBR_GPTQ};
    static const struct {
        double sparsity;
        int n, m;
    } patterns[] = {{0.5, 0, 0}, {0.3, 0, 0}, {0.0, 2, 4}, {0.9, 4, 8}};
    for (int dead = 0; dead < 2; dead++) {
        obr_problem p;
        obr_problem_create(5, 24, 80, dead ? 6 : 0, &p);
        for (size_t k = 0; k < sizeof methods / sizeof *methods; k++)
            for (size_t s = 0; s < sizeof patterns / sizeof *patterns; s++)
                for (int variant = 0; variant < 6; variant++) {
                    pons_recipe recipe = obr_recipe(methods[k]);
                    char what[100];
                    recipe.obr.act_order = true;
                    recipe.obr.alpha = (double[]){0.0, 0.3, 0.5}[variant / 2];
                    if (variant == 2 && methods[k] == PONS_METHOD_OBR_GPTQ)
                        recipe.scale_from = PONS_SCALE_COMPENSATED;
                    recipe.weights.symmetric = variant % 2;
                    recipe.weights.group_size = variant % 2 ? 24 : 0;
                    recipe.prune.sparsity = patterns[s].sparsity;
                    recipe.prune.n = patterns[s].n;
                    recipe.prune.m = patterns[s].m;
                    snprintf(what, sizeof what, "act_order: method %d pattern %zu variant %d",
                             (int)methods[k], s, variant);
                    check(&p, &recipe, what);
                    pons_row_result in_order, plain;
                    obr_result_create(&p, &recipe, &in_order);
                    obr_result_create(&p, &recipe, &plain);
                    pons_row_task task = task_of(&p, &recipe);
                    assert_int_equal(pons_compress_rows(&task, &in_order, NULL), PONS_OK);
                    recipe.obr.act_order = false;
                    assert_int_equal(pons_compress_rows(&task, &plain, NULL), PONS_OK);
                    assert_memory_not_equal(in_order.codes, plain.codes, (size_t)(p.m * p.d));
                    obr_result_destroy(&plain);
                    obr_result_destroy(&in_order);
                }
        obr_problem_destroy(&p);
    }
}

static void shapes_and_alphas(void **state)
{
    (void)state;
    static const struct {
        int64_t m, d, dead;
    } shapes[] = {{1, 1, 0}, {1, 2, 0}, {3, 37, 0}, {70, 20, 0}, {5, 45, 4}};
    static const double alphas[] = {0.0, 0.25, 0.5, 0.77, 1.0},
                        ratios[] = {0.0, 0.04, 0.5, 0.9, 1.0};
    static const int bits[] = {2, 3, 4, 8};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        obr_problem p;
        obr_problem_create(11, shapes[k].m, shapes[k].d, shapes[k].dead, &p);
        for (size_t a = 0; a < 5; a++)
            for (size_t s = 0; s < 5; s++)
                for (int k2 = 0; k2 < 6; k2++) {
                    bool gptq = k2 % 2;
                    pons_recipe recipe =
                        obr_recipe(gptq ? PONS_METHOD_OBR_GPTQ : PONS_METHOD_OBR_RTN);
                    char what[100];
                    recipe.obr.solver = (pons_solver[]){PONS_SOLVER_DIRECT, PONS_SOLVER_DUAL,
                                                        PONS_SOLVER_PRIMAL}[k2 / 2];
                    recipe.obr.precision = PONS_COMPUTE_FP32;
                    recipe.obr.tolerance = 1e-6;
                    recipe.prune.sparsity = ratios[s];
                    recipe.obr.alpha = alphas[a];
                    recipe.weights.bits = bits[(a + s) % 4];
                    recipe.weights.symmetric = (a + s) % 3 != 0;
                    snprintf(what, sizeof what,
                             "shape %zu alpha %.2f sparsity %.2f gptq %d solver %d", k, alphas[a],
                             ratios[s], gptq, k2 / 2);
                    check(&p, &recipe, what);
                }
        obr_problem_destroy(&p);
    }
}

/* What auto takes shows in the iterations. */
static void automatic(void **state)
{
    (void)state;
    static const struct {
        int64_t d;
        double sparsity;
        bool iterates;
    } cases[] = {{304, 0.5, true}, {304, 0.97, false}, {296, 0.5, false}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        obr_problem p;
        obr_problem_create(13, 3, cases[k].d, 0, &p);
        pons_recipe recipe = obr_recipe(PONS_METHOD_OBR_RTN);
        recipe.obr.solver = PONS_SOLVER_AUTO;
        recipe.prune.sparsity = cases[k].sparsity;
        pons_row_metrics metrics = {0};
        pons_row_result r;
        obr_result_create(&p, &recipe, &r);
        pons_row_task task = task_of(&p, &recipe);
        assert_int_equal(pons_compress_rows(&task, &r, &metrics), PONS_OK);
        assert_int_equal(metrics.iterations > 0, cases[k].iterates);
        obr_result_destroy(&r);
        obr_problem_destroy(&p);
    }
}

static double total_error(const obr_problem *p, pons_recipe recipe)
{
    pons_row_result r;
    obr_result_create(p, &recipe, &r);
    pons_row_task task = task_of(p, &recipe);
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_OK);
    double total = sum(p->m, r.error);
    obr_result_destroy(&r);
    return total;
}

/* Specification 11.5: what compensates more, errs less. */
static void order_of_errors(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 3; seed++) {
        obr_problem p;
        obr_problem_create(20 + seed, 24, 96, 0, &p);
        double wanda_rtn = total_error(&p, obr_recipe(PONS_METHOD_WANDA_RTN));
        double obr_rtn = total_error(&p, obr_recipe(PONS_METHOD_OBR_RTN));
        double obr_gptq = total_error(&p, obr_recipe(PONS_METHOD_OBR_GPTQ));
        double rtn = total_error(&p, obr_recipe(PONS_METHOD_RTN));
        double gptq = total_error(&p, obr_recipe(PONS_METHOD_GPTQ));
        assert_true(wanda_rtn > obr_rtn && obr_rtn >= obr_gptq);
        assert_true(rtn > gptq && obr_gptq > gptq);
        obr_problem_destroy(&p);
    }
}

/* Specification 3.5 and 11.7: the quirks behind compat: faithful. */
static void faithful(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(5, 6, 192, 0, &p);
    pons_recipe recipe = obr_recipe(PONS_METHOD_OBR_GPTQ);
    pons_row_result corrected, quirky;
    pons_row_task task = task_of(&p, &recipe);
    recipe.obr.block = 128;
    obr_result_create(&p, &recipe, &corrected);
    obr_result_create(&p, &recipe, &quirky);
    assert_int_equal(pons_compress_rows(&task, &corrected, NULL), PONS_OK);
    recipe.compat = PONS_COMPAT_FAITHFUL;
    assert_int_equal(pons_compress_rows(&task, &quirky, NULL), PONS_OK);
    int64_t zero_columns = 0;
    for (int64_t j = 0; j < 192; j++) {
        int64_t other = 0;
        for (int64_t i = 0; i < 6; i++) {
            other += quirky.codes[i * 192 + j] != 0;
            if (j < 96) assert_int_equal(quirky.codes[i * 192 + j], corrected.codes[i * 192 + j]);
        }
        if (j >= 96 && j < 128) zero_columns += other == 0;
    }
    assert_int_equal(zero_columns, 32);
    int64_t kept = 0;
    for (int64_t i = 0; i < 6; i++)
        for (int64_t j = 96; j < 128; j++)
            kept += corrected.codes[i * 192 + j] != 0;
    assert_true(kept > 6 * 32 / 4);

    /* Q5: nothing pruned, no stage B: rounding alone. */
    recipe.method = PONS_METHOD_OBR_RTN;
    recipe.prune.sparsity = 0.0;
    assert_int_equal(pons_compress_rows(&task, &quirky, NULL), PONS_OK);
    recipe.compat = PONS_COMPAT_CORRECTED;
    assert_int_equal(pons_compress_rows(&task, &corrected, NULL), PONS_OK);
    assert_true(sum(6, corrected.error) < 0.9 * sum(6, quirky.error));
    recipe.method = PONS_METHOD_RTN;
    assert_int_equal(pons_compress_rows(&task, &corrected, NULL), PONS_OK);
    assert_memory_equal(quirky.codes, corrected.codes, 6 * 192);

    /* Refusals. */
    recipe = obr_recipe(PONS_METHOD_OBR_GPTQ);
    recipe.compat = PONS_COMPAT_FAITHFUL;
    recipe.obr.alpha = 0.25;
    assert_int_equal(pons_compress_rows(&task, &quirky, NULL), PONS_ERR_CONFIG);
    assert_non_null(strstr(pons_error_message(), "alpha"));
    recipe.method = PONS_METHOD_OBR_RTN;
    assert_int_equal(pons_compress_rows(&task, &quirky, NULL), PONS_OK);
    recipe.weights.symmetric = false;
    assert_int_equal(pons_compress_rows(&task, &quirky, NULL), PONS_ERR_CONFIG);
    recipe.weights.symmetric = true;
    recipe.weights.group_size = 32;
    assert_int_equal(pons_compress_rows(&task, &quirky, NULL), PONS_ERR_CONFIG);
    obr_result_destroy(&quirky);
    obr_result_destroy(&corrected);
    obr_problem_destroy(&p);
}

static void without_factor(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(6, 3, 30, 2, &p);
    pons_recipe recipe = obr_recipe(PONS_METHOD_RTN);
    pons_row_task task = task_of(&p, &recipe);
    pons_row_result r;
    task.factor = NULL;
    obr_result_create(&p, &recipe, &r);
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_OK);
    for (int64_t i = 0; i < 3 * 30; i++) {
        assert_int_equal(r.codes[i], pons_weight_code(4, p.W[i], r.scale[i / 30], 0));
        assert_true(r.error[i / 30] == 0.0 && r.energy[i / 30] == 0.0);
    }
    task.rows = 0; /* a rank that owns nothing */
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_OK);
    obr_result_destroy(&r);
    obr_problem_destroy(&p);
}

static void refusals(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(7, 5, 30, 0, &p);
    pons_recipe recipe = obr_recipe(PONS_METHOD_OBR_GPTQ);
    pons_row_task task = task_of(&p, &recipe);
    pons_row_result r;
    obr_result_create(&p, &recipe, &r);
    task.row = 100;

    float saved = p.W[2 * 30 + 3];
    p.W[2 * 30 + 3] = NAN;
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_NUMERIC);
    assert_non_null(strstr(pons_error_message(), "block 0 q_proj: row 102"));
    p.W[2 * 30 + 3] = saved;

    recipe.prune.n = 2;
    recipe.prune.m = 4;
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_SHAPE);
    recipe.method = PONS_METHOD_SPARSEGPT_GPTQ;
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_SHAPE);
    recipe.prune.m = 5;
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_CONFIG);
    recipe = obr_recipe(PONS_METHOD_NONE);
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_CONFIG);

    /* A factor whose H is not what it was made from: caught row by row. */
    for (int k = 0; k < 2; k++) {
        recipe = obr_recipe(PONS_METHOD_OBR_RTN);
        recipe.obr.solver = k ? PONS_SOLVER_DUAL : PONS_SOLVER_DIRECT;
        for (int64_t j = 0; j < 30; j++)
            p.factor->H[j * 30 + j] = -fabsf(p.factor->H[j * 30 + j]);
        assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_NUMERIC);
        assert_non_null(strstr(pons_error_message(), "block 0 q_proj: row 100"));
        assert_non_null(strstr(pons_error_message(), "positive definite"));
    }
    for (int64_t j = 0; j < 30; j++)
        p.factor->H[j * 30 + j] = NAN;
    for (int k = 0; k < 2; k++) {
        recipe.obr.solver = k ? PONS_SOLVER_DUAL : PONS_SOLVER_DIRECT;
        assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_NUMERIC);
    }
    obr_result_destroy(&r);
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    omp_set_num_threads(1); /* hundreds of tiny problems; threads are test_split's subject */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_methods),       cmocka_unit_test(act_order),
        cmocka_unit_test(shapes_and_alphas), cmocka_unit_test(automatic),
        cmocka_unit_test(order_of_errors),   cmocka_unit_test(faithful),
        cmocka_unit_test(without_factor),    cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
