/*
 * Rows dealt to ranks that share a factor, each call making what the rows of the linear share: a rank without rows takes
 * part, a rank with a NaN stops all of them, and the values are those of one rank.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/mpi_harness.h"
#include "support/obr_oracle.h"

enum { M = 6, D = 60 };

static pons_status compress(const obr_problem *p, const pons_hessian_factor *factor, int64_t row,
                            int64_t rows, float *value)
{
    pons_recipe recipe = obr_recipe(PONS_METHOD_OBR_RTN);
    recipe.obr.solver = PONS_SOLVER_DUAL;
    recipe.obr.precision = PONS_COMPUTE_FP32;
    pons_row_result r;
    obr_result_create(p, &recipe, &r);
    pons_row_task task = {
        "test", row, rows, D, p->W + row * D, factor, &recipe, recipe.weights.bits, NULL};
    pons_status st = pons_compress_rows(&task, &r, NULL);
    if (st == PONS_OK) memcpy(value, r.value, (size_t)(rows * D) * sizeof *value);
    obr_result_destroy(&r);
    return st;
}

static void test(pons_comm *comm)
{
    obr_problem p;
    obr_problem_create(5, M, D, 0, &p);
    double norm[D];
    int64_t info = 0, rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    pons_hessian_factor *f = NULL;
    for (int64_t j = 0; j < D; j++)
        norm[j] = p.H[j * D + j];
    CHECK(pons_hessian_factor_begin(comm, D, &f) == PONS_OK);
    pons_hessian_factor_take(f, 0, D, p.H, D);
    CHECK(pons_hessian_factor_finish(f, norm, 0.01, &info) == PONS_OK && info == 0);

    float expected[M * D], value[M * D];
    CHECK(compress(&p, p.factor, 0, M, expected) == PONS_OK);
    int64_t row = size == 1 ? 0 : rank == 0 ? 0 : (rank - 1) * M / (size - 1);
    int64_t end = size == 1 ? M : rank * M / (size - 1);
    if (size > 1 && rank == 0) end = 0;
    CHECK(compress(&p, f, row, end - row, value) == PONS_OK);
    CHECK(!memcmp(value, expected + row * D, (size_t)((end - row) * D) * sizeof *value));

    if (rank == size - 1) p.W[row * D + 3] = NAN;
    CHECK(compress(&p, f, row, end - row, value) == PONS_ERR_NUMERIC);
    CHECK(strstr(pons_error_message(), "test: row"));
    pons_hessian_factor_destroy(&f);
    obr_problem_destroy(&p);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
