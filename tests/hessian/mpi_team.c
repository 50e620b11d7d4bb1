/*
 * A factor made by all ranks from panels of a Hessian summed over them has the bits of the factor that
 * one rank makes alone from the whole matrix, and so have shifted inverses; a NaN and an indefinite matrix
 * are told on every rank.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/mt19937.h"
#include "hessian/accumulate.h"
#include "hessian/factor.h"
#include "hessian/inverse.h"
#include "hessian/shrink.h"
#include "kern/gemm.h"
#include "support/mpi_harness.h"

enum { WINDOWS = 5, TOKENS = 150, D = 600 };

static void window(int t, float *X)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, (uint32_t)t + 3);
    for (int s = 0; s < TOKENS; s++)
        for (int j = 0; j < D; j++)
            X[s * D + j] = (float)(pons_mt19937_next(&rng) / 4294967296.0 - 0.5) *
                           (j == 17 ? 0.0f : 1.0f + (float)(j % 4));
}

/* Windows [begin, end) observed, then the rows [first, first + rows) summed over comm. */
static void sum_rows(pons_comm *comm, pons_hessian *h, int begin, int end, int64_t first,
                     int64_t rows)
{
    float *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    CHECK(pons_hessian_take_rows(h, first, rows) == PONS_OK);
    for (int t = begin; t < end; t++) {
        window(t, X);
        CHECK(pons_hessian_add(h, TOKENS, X) == PONS_OK);
    }
    CHECK(pons_hessian_reduce(h, comm) == PONS_OK);
    pons_mem_free(X);
}

static pons_hessian *observe(pons_comm *comm, int begin, int end)
{
    pons_hessian *h = NULL;
    float *X = pons_mem_alloc(TOKENS * D, sizeof *X);
    CHECK(pons_hessian_create(D, WINDOWS, false, &h) == PONS_OK);
    for (int t = begin; t < end; t++) {
        window(t, X);
        CHECK(pons_hessian_observe(h, t, TOKENS, X) == PONS_OK);
    }
    CHECK(pons_hessian_agree(h, comm) == PONS_OK);
    pons_mem_free(X);
    return h;
}

/* K and both products from the team's factor, against those from the factor of one rank. */
static void test_inverse(const pons_hessian_factor *f, const pons_hessian_factor *alone, bool bf16)
{
    enum { FROM = 100, N = D - FROM, ROWS = PONS_PRODUCT_ROWS };
    pons_hessian_inverse *a = NULL, *b = NULL;
    CHECK(pons_hessian_inverse_create(f, FROM, bf16, bf16 ? 1.0 : 0.0, &a) == PONS_OK);
    CHECK(pons_hessian_inverse_create(alone, FROM, bf16, bf16 ? 1.0 : 0.0, &b) == PONS_OK);
    CHECK(a->kind == pons_product_exact(bf16) && !a->K == (a->kind != PONS_PRODUCT_FP32));
    CHECK(!a->K || !memcmp(a->K, b->K, (size_t)N * N * sizeof *a->K));
    CHECK(!memcmp(a->unit, b->unit, (size_t)a->of.padded * sizeof *a->unit));
    CHECK(!memcmp(a->offdiagonal_norm, b->offdiagonal_norm,
                  (size_t)a->of.padded * sizeof *a->offdiagonal_norm));
    int64_t size = ROWS * a->of.padded;
    float *X = pons_mem_calloc(size, sizeof *X), *Y = pons_mem_alloc(4 * size, sizeof *Y);
    for (int64_t i = 0; i < ROWS * a->of.width; i++)
        X[i] = (float)(i % 101) - 50;
    for (int k = 0; k < 4; k++) {
        const pons_hessian_inverse *from = k % 2 ? b : a;
        const pons_product *p = k < 2 ? from->inverse : from->hessian;
        pons_product_worker *w = NULL;
        void *space = pons_mem_alloc((int64_t)pons_product_space(p), 1);
        CHECK(pons_product_worker_create(p, ROWS, space, &w) == PONS_OK);
        CHECK(pons_product_run(w, from->kind, ROWS, X, Y + k * size));
        pons_product_worker_destroy(&w);
        pons_mem_free(space);
    }
    CHECK(!memcmp(Y, Y + size, (size_t)size * sizeof *Y));
    CHECK(!memcmp(Y + 2 * size, Y + 3 * size, (size_t)size * sizeof *Y));
    pons_mem_free(Y);
    pons_mem_free(X);
    pons_hessian_inverse_destroy(&b);
    pons_hessian_inverse_destroy(&a);
}

/* K of two terms of U stays where the tolerance is wide; where it is not, what comes is the exact one. */
static void test_rough(const pons_hessian_factor *f)
{
    pons_hessian_inverse *wide = NULL, *narrow = NULL, *exact = NULL;
    bool tiles = pons_product_exact(false) == PONS_PRODUCT_TRIPLE;
    CHECK(pons_hessian_inverse_create(f, 0, true, 1.0, &wide) == PONS_OK);
    CHECK(pons_hessian_inverse_create(f, 0, true, 1e-9, &narrow) == PONS_OK);
    CHECK(pons_hessian_inverse_create(f, 0, true, 0.0, &exact) == PONS_OK);
    CHECK(wide->two_term == tiles && !narrow->two_term && !exact->two_term);
    size_t bytes = (size_t)exact->of.padded * sizeof *exact->unit;
    CHECK(!memcmp(narrow->unit, exact->unit, bytes) &&
          !memcmp(narrow->offdiagonal_norm, exact->offdiagonal_norm, bytes));
    CHECK(narrow->condition == exact->condition && narrow->noise_gain == exact->noise_gain);
    for (int64_t j = 0; j < D; j++)
        CHECK(fabsf(wide->unit[j] - exact->unit[j]) <= 0x1p-15f * exact->unit[j]);
    pons_hessian_inverse_destroy(&exact);
    pons_hessian_inverse_destroy(&narrow);
    pons_hessian_inverse_destroy(&wide);
}

/* The n-th shared block finds no room on its node: a copy per rank. 0: all find some. */
static void leave_no_room(pons_comm *comm, int n)
{
    char fault[32];
    pons_fault_armed = PONS_FAULT_SITES;
    if (n == 0) return;
    snprintf(fault, sizeof fault, "shared:0:%d", n);
    setenv("PONS_FAULT", fault, 1);
    CHECK(pons_fault_arm(pons_comm_rank(comm)) == PONS_OK);
}

static pons_hessian_factor *make_factor(pons_comm *comm, int64_t d, const double *H)
{
    int64_t info = -7;
    double *norm = pons_mem_calloc(d, sizeof *norm);
    pons_hessian_factor *f = NULL;
    CHECK(pons_hessian_factor_begin(comm, d, &f) == PONS_OK);
    pons_hessian_factor_take(f, 0, d, H, d);
    CHECK(pons_hessian_factor_finish(f, norm, 0.01, &info) == PONS_OK && info == 0);
    pons_mem_free(norm);
    return f;
}

/* Trailing factors and shifted inverses, a narrow Hessian's and a wide one's, are those of one rank, also where nodes have
 * room to share only some of the blocks. */
static void test_shrink(pons_comm *comm, int64_t d, int count, int first, int last)
{
    enum { COUNT = 3 };
    static const double rho[COUNT] = {0.5, 2.0, 8.0};
    size_t bytes = (size_t)(d * d) * sizeof(float), n = (size_t)(d - d / 2);
    double *H = pons_mem_alloc(d * d, sizeof *H);
    pons_hessian_shrink *a[COUNT] = {0}, *b[COUNT] = {0};
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            H[i * d + j] = (i == j ? 3.0 : 0.0) + 1.0 / (double)(1 + i + j);
    pons_hessian_factor *alone = make_factor(pons_par_alone(), d, H), *rest = NULL;
    CHECK(pons_hessian_factor_trailing(alone, d / 2, &rest) == PONS_OK);
    CHECK(pons_hessian_shrink_create(alone, count, rho, false, b) == PONS_OK);
    for (int block = first; block <= last; block++) {
        pons_hessian_factor *t = NULL;
        leave_no_room(comm, block);
        pons_hessian_factor *f = make_factor(comm, d, H);
        CHECK(pons_hessian_shrink_create(f, count, rho, false, a) == PONS_OK);
        leave_no_room(comm, block % 3);
        CHECK(pons_hessian_factor_trailing(f, d / 2, &t) == PONS_OK);
        CHECK(!memcmp(f->U, alone->U, bytes));
        CHECK(!memcmp(t->H, rest->H, n * n * sizeof(float)));
        CHECK(!memcmp(t->U, rest->U, n * n * sizeof(float)));
        for (int i = 0; i < count; i++) {
            CHECK(a[i]->rho == rho[i]);
            CHECK(!memcmp(a[i]->P, b[i]->P, bytes));
            pons_hessian_shrink_destroy(&a[i]);
        }
        pons_hessian_factor_destroy(&t);
        pons_hessian_factor_destroy(&f);
    }
    leave_no_room(comm, 0);
    for (int i = 0; i < count; i++)
        pons_hessian_shrink_destroy(&b[i]);
    pons_hessian_factor_destroy(&rest);
    pons_hessian_factor_destroy(&alone);
    pons_mem_free(H);
}

static void test_bits(pons_comm *comm)
{
    int rank = pons_comm_rank(comm), size = pons_comm_size(comm);
    int begin = (int)pons_share_begin(WINDOWS, size, rank);
    int end = (int)pons_share_begin(WINDOWS, size, rank + 1);
    int64_t info = -7, panel = pons_gram_width(D);
    pons_hessian *whole = observe(pons_par_alone(), 0, WINDOWS), *part = observe(comm, begin, end);
    pons_hessian_factor *f = NULL, *alone = NULL;
    sum_rows(pons_par_alone(), whole, 0, WINDOWS, 0, D);
    CHECK(pons_hessian_factor_create(D, pons_hessian_matrix(whole), pons_hessian_norm(whole, false),
                                     0.01, &info, &alone) == PONS_OK &&
          info == 0);

    CHECK(panel < D);
    CHECK(pons_hessian_factor_begin(comm, D, &f) == PONS_OK);
    for (int64_t first = 0; first < D; first += panel) {
        int64_t rows = D - first < panel ? D - first : panel;
        sum_rows(comm, part, begin, end, first, rows);
        pons_hessian_factor_take(f, first, rows, pons_hessian_matrix(part), D - first);
    }
    CHECK(pons_hessian_factor_finish(f, pons_hessian_norm(part, false), 0.01, &info) == PONS_OK &&
          info == 0);
    CHECK(!memcmp(f->H, alone->H, (size_t)D * D * sizeof *f->H));
    CHECK(!memcmp(f->U, alone->U, (size_t)D * D * sizeof *f->U));
    CHECK(!memcmp(f->norm, alone->norm, D * sizeof *f->norm));
    CHECK(f->damping == alone->damping && f->dead_count == 1 && f->dead[17] == 1);
    for (int bf16 = 0; bf16 <= pons_kern_has_bf16(); bf16++)
        for (int block = 0; block <= 4; block++) { /* K, what it is made of, copies of K and of H */
            leave_no_room(comm, block);
            test_inverse(f, alone, bf16);
        }
    leave_no_room(comm, 0);
    if (pons_kern_has_bf16()) test_rough(f);
    pons_hessian_factor_destroy(&f);
    pons_hessian_factor_destroy(&alone);
    pons_hessian_destroy(&part);
    pons_hessian_destroy(&whole);
}

static void test_refusals(pons_comm *comm)
{
    static const struct {
        double value;
        int64_t info;
    } cases[] = {{NAN, -1}, {-3.0, D - 40}};
    double *H = pons_mem_calloc(D * D, sizeof *H), *norm = pons_mem_calloc(D, sizeof *norm);
    for (int64_t j = 0; j < D; j++)
        H[j * D + j] = 1;
    for (int k = 0; k < 2; k++) {
        pons_hessian_factor *f = NULL;
        int64_t info = -7;
        H[40 * D + 40] = cases[k].value;
        CHECK(pons_hessian_factor_begin(comm, D, &f) == PONS_OK);
        pons_hessian_factor_take(f, 0, D, H, D);
        CHECK(pons_hessian_factor_finish(f, norm, 0.01, &info) == PONS_OK);
        CHECK(info == cases[k].info);
        pons_hessian_factor_destroy(&f);
    }
    pons_mem_free(norm);
    pons_mem_free(H);
}

static void test(pons_comm *comm)
{
    test_bits(comm);
    test_shrink(comm, 130, 3, 0, 5);  /* none; H, U, three P */
    test_shrink(comm, 2100, 1, 4, 4); /* of H, U, P, the shifted H and U the fourth */
    test_refusals(comm);
}

int main(int argc, char **argv) { return pons_test_mpi_main(argc, argv, test); }
