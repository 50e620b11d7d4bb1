/* The same bytes for any number of threads and any split of the rows over calls (ranks). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "support/obr_oracle.h"

enum { M = 230, D = 150 };

static void compress(const obr_problem *p, const pons_recipe *recipe, const int64_t *cut,
                     int pieces, pons_row_result *r)
{
    for (int k = 0; k < pieces; k++) {
        int64_t row = cut[k];
        pons_row_task task = {"split",   row,    cut[k + 1] - row,     p->d, p->W + row * p->d,
                              p->factor, recipe, recipe->weights.bits, NULL};
        pons_row_result part = {r->codes + row * p->d, r->scale + row, r->zero + row,
                                r->value + row * p->d, r->error + row, r->energy + row,
                                r->zeros + row};
        assert_int_equal(pons_compress_rows(&task, &part, NULL), PONS_OK);
    }
}

static void same(const pons_row_result *a, const pons_row_result *b)
{
    assert_memory_equal(a->codes, b->codes, M * D);
    assert_memory_equal(a->value, b->value, M * D * sizeof(float));
    assert_memory_equal(a->scale, b->scale, M * sizeof(float));
    assert_memory_equal(a->error, b->error, M * sizeof(double));
    assert_memory_equal(a->energy, b->energy, M * sizeof(double));
}

static void check_recipe(const obr_problem *p, pons_recipe recipe, bool splits)
{
    static const int64_t whole[] = {0, M}, panels[] = {0, 64, 64, 192, M},
                         odd[] = {0, 1, 37, 130, M};
    pons_row_result first, other;
    obr_result_create(p, &recipe, &first);
    obr_result_create(p, &recipe, &other);
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    compress(p, &recipe, whole, 1, &first);
    for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        compress(p, &recipe, whole, 1, &other);
        same(&first, &other);
    }
    omp_set_num_threads(2);
    if (splits) {
        compress(p, &recipe, panels, 4, &other);
        same(&first, &other);
        compress(p, &recipe, odd, 4, &other);
        same(&first, &other);
    }
    omp_set_num_threads(before);
    obr_result_destroy(&other);
    obr_result_destroy(&first);
}

static void check(const obr_problem *p, pons_method method, pons_solver solver, bool splits)
{
    pons_recipe recipe = obr_recipe(method);
    recipe.obr.solver = solver;
    recipe.obr.block = 32;
    check_recipe(p, recipe, splits);
    if (!pons_method_sweeps(method)) return;
    recipe.obr.act_order = true;
    check_recipe(p, recipe, splits);
}

/* Everything that improves on the published algorithm, under every mask. */
static void levers(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(8, M, D, 1, &p);
    for (int mask = 0; mask <= PONS_MASK_ADMM; mask++) {
        pons_recipe recipe = obr_recipe(PONS_METHOD_OBR_GPTQ);
        bool pattern = mask == PONS_MASK_WANDA || mask == PONS_MASK_OBS;
        recipe.obr.solver = pattern ? PONS_SOLVER_DIRECT : PONS_SOLVER_DUAL;
        recipe.prune.mask = (pons_mask)mask;
        recipe.prune.n = pattern ? 2 : 0;
        recipe.prune.m = pattern ? 5 : 0;
        recipe.scale_from = PONS_SCALE_COMPENSATED;
        recipe.refit = PONS_REFIT_CLOSED_FORM;
        recipe.obr.blocks = 3;
        recipe.polish.sweeps = 3;
        check_recipe(&p, recipe, true);
    }
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

static void bits(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(8, M, D, 1, &p);
    check(&p, PONS_METHOD_RTN, PONS_SOLVER_AUTO, true);
    check(&p, PONS_METHOD_WANDA, PONS_SOLVER_AUTO, true);
    check(&p, PONS_METHOD_WANDA_RTN, PONS_SOLVER_AUTO, true);
    check(&p, PONS_METHOD_GPTQ, PONS_SOLVER_AUTO, true);
    check(&p, PONS_METHOD_OBR_RTN, PONS_SOLVER_DIRECT, true);
    check(&p, PONS_METHOD_OBR_GPTQ, PONS_SOLVER_DIRECT, true);
    check(&p, PONS_METHOD_OBR_RTN, PONS_SOLVER_DUAL, true);
    check(&p, PONS_METHOD_OBR_GPTQ, PONS_SOLVER_DUAL, true);
    check(&p, PONS_METHOD_OBR_GPTQ, PONS_SOLVER_PRIMAL, true);
    check(&p, PONS_METHOD_EXACT_OBS, PONS_SOLVER_AUTO, true);
    check(&p, PONS_METHOD_SPARSEGPT_GPTQ, PONS_SOLVER_AUTO, false);
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bits), cmocka_unit_test(levers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
