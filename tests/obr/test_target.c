/* Targets against the normal equations in fp64, identities of the formula, and what they are for: less
 * error on tokens that no sum has seen. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "obr/target.h"
#include "support/obr_oracle.h"

enum { M = 70, D = 48, T = 900 };

/* A layer, its dense and compressed inputs, and how far the residual stream has moved. */
typedef struct scene {
    float W[M * D];
    double x[T * D], y[T * D], r[T * M];     /* y: the compressed input */
    double H[D * D], delta[D * D], C[M * D]; /* C: with the residual stream */
    pons_hessian_factor *factor;
} scene;

static double uniform(pons_mt19937 *rng) { return pons_mt19937_next(rng) / 4294967296.0 - 0.5; }

/* Correlated inputs; the compressed ones have lost a part that the others tell, and 4-bit precision; the
 * residual stream has moved by something that the input tells, too. */
static void draw_tokens(pons_mt19937 *rng, int64_t count, double *x, double *y, double *r)
{
    for (int64_t t = 0; t < count; t++) {
        double common = 2.0 * uniform(rng), *a = x + t * D, *b = y + t * D;
        for (int j = 0; j < D; j++)
            a[j] = uniform(rng) * (1 + (j % 5 == 2)) + common + (j ? 0.6 * a[j - 1] : 0);
        for (int j = 0; j < D; j++) {
            b[j] = a[j] - 0.15 * a[(j + 3) % D] + 0.1 * uniform(rng);
            b[j] = 0.25 * rint(b[j] / 0.25);
            if (j == 7) b[j] = 0; /* dead after compression, alive before */
        }
        for (int i = 0; i < M; i++)
            r[t * M + i] = 0.05 * a[i % D] + 0.02 * uniform(rng);
    }
}

static scene *scene_create(void)
{
    scene *s = calloc(1, sizeof *s);
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 5);
    for (int i = 0; i < M * D; i++)
        s->W[i] = (float)((uniform(&rng) + uniform(&rng)) * 0.1);
    draw_tokens(&rng, T, s->x, s->y, s->r);
    for (int t = 0; t < T; t++)
        for (int j = 0; j < D; j++) {
            double v = 2.0 / T * s->y[t * D + j];
            for (int i = 0; i < D; i++) {
                s->H[i * D + j] += s->y[t * D + i] * v;
                s->delta[i * D + j] += (s->x[t * D + i] - s->y[t * D + i]) * v;
            }
            for (int i = 0; i < M; i++)
                s->C[i * D + j] += s->r[t * M + i] * v;
        }
    for (int i = 0; i < M; i++)
        for (int k = 0; k < D; k++)
            for (int j = 0; j < D; j++)
                s->C[i * D + j] += s->W[i * D + k] * s->delta[k * D + j];
    double norm[D] = {0};
    int64_t info = 0;
    for (int j = 0; j < D; j++)
        norm[j] = s->H[j * D + j];
    assert_int_equal(pons_hessian_factor_create(D, s->H, norm, 0.01, &info, &s->factor), PONS_OK);
    assert_int_equal(info, 0);
    return s;
}

static void scene_destroy(scene *s)
{
    pons_hessian_factor_destroy(&s->factor);
    free(s);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* V (H + lambda I) = W (X X~^T) + (R - R~) X~^T + lambda W, by elimination: the textbook form, from X X~^T and
 * not from its distance to H. */
static void oracle(const scene *s, bool residual, double *V)
{
    static double P[M * D];
    double A[D * D], b[D], G[D * D] = {0};
    memset(P, 0, sizeof P);
    for (int t = 0; t < T; t++)
        for (int i = 0; i < M; i++)
            for (int j = 0; j < D; j++)
                P[i * D + j] += 2.0 / T * s->r[t * M + i] * s->y[t * D + j];
    for (int t = 0; t < T; t++)
        for (int i = 0; i < D; i++)
            for (int j = 0; j < D; j++)
                G[i * D + j] += 2.0 / T * s->x[t * D + i] * s->y[t * D + j];
    for (int row = 0; row < M; row++) {
        for (int j = 0; j < D; j++) {
            b[j] = s->factor->damping * s->W[row * D + j] + (residual ? P[row * D + j] : 0);
            for (int i = 0; i < D; i++)
                b[j] += s->W[row * D + i] * G[i * D + j];
            for (int i = 0; i < D; i++)
                A[j * D + i] = s->H[j * D + i] + (i == j ? s->factor->damping : 0);
        }
        obr_oracle_solve(D, A, b);
        for (int j = 0; j < D; j++)
            V[row * D + j] = b[j];
    }
}

static void formula(void **state)
{
    (void)state;
    scene *s = scene_create();
    float step[M * D];
    static double V[M * D];
    for (int residual = 0; residual < 2; residual++) {
        pons_target *target = NULL;
        assert_int_equal(pons_target_create(s->factor, residual ? NULL : s->delta, &target),
                         PONS_OK);
        assert_int_equal(pons_target_step(target, 0, M, s->W, s->C, step), PONS_OK);
        pons_target_destroy(&target);
        oracle(s, residual, V);
        double size = 0, error = 0;
        for (int i = 0; i < M * D; i++) {
            double found = s->W[i] + step[i], wanted = V[i];
            if (i % D == 7) assert_true(step[i] == 0); /* the elimination sees lambda only there */
            size += (wanted - s->W[i]) * (wanted - s->W[i]);
            error += (found - wanted) * (found - wanted);
        }
        assert_true(size > 1e-2);
        assert_true(error < 1e-9 * size);
    }
    scene_destroy(s);
}

/* Any split of the rows and any number of threads; nothing moved, no step. */
static void bits(void **state)
{
    (void)state;
    scene *s = scene_create();
    pons_target *target = NULL, *still = NULL;
    static const double none[D * D];
    static float whole[M * D], parts[M * D];
    static const int64_t cut[] = {0, 1, 37, 64, 66, M};
    int before = omp_get_max_threads();
    for (int given = 0; given < 2; given++) {
        assert_int_equal(pons_target_create(s->factor, given ? NULL : s->delta, &target), PONS_OK);
        omp_set_num_threads(1);
        assert_int_equal(pons_target_step(target, 0, M, s->W, s->C, whole), PONS_OK);
        omp_set_num_threads(3);
        for (int k = 0; k < 5; k++)
            assert_int_equal(pons_target_step(target, cut[k], cut[k + 1] - cut[k],
                                              s->W + cut[k] * D, s->C + cut[k] * D,
                                              parts + cut[k] * D),
                             PONS_OK);
        assert_memory_equal(whole, parts, sizeof whole);
        pons_target_destroy(&target);
    }
    omp_set_num_threads(before);
    assert_int_equal(pons_target_create(s->factor, none, &still), PONS_OK);
    assert_int_equal(pons_target_step(still, 0, M, s->W, NULL, parts), PONS_OK);
    for (int i = 0; i < M * D; i++)
        assert_true(parts[i] == 0);
    pons_target_destroy(&still);
    scene_destroy(s);
}

/* E |W x + r - Q y|^2 over fresh tokens, with or without r. */
static double fresh_error(const scene *s, const float *Q, bool residual)
{
    enum { FRESH = 400 };
    double *x = calloc(FRESH * D, sizeof *x), *y = calloc(FRESH * D, sizeof *y);
    double *r = calloc(FRESH * M, sizeof *r), sum = 0;
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 99);
    draw_tokens(&rng, FRESH, x, y, r);
    for (int t = 0; t < FRESH; t++)
        for (int i = 0; i < M; i++) {
            double e = residual ? r[t * M + i] : 0;
            for (int j = 0; j < D; j++)
                e += (double)s->W[i * D + j] * x[t * D + j] - (double)Q[i * D + j] * y[t * D + j];
            sum += e * e;
        }
    free(x);
    free(y);
    free(r);
    return sum;
}

static void quality(void **state)
{
    (void)state;
    scene *s = scene_create();
    pons_recipe recipe = obr_recipe(PONS_METHOD_OBR_GPTQ);
    obr_problem problem = {.m = M, .d = D, .W = s->W, .factor = s->factor};
    pons_row_result result;
    pons_target *target = NULL;
    static float V[M * D];
    obr_result_create(&problem, &recipe, &result);
    for (int residual = 0; residual < 2; residual++) {
        double error[2];
        assert_int_equal(pons_target_create(s->factor, residual ? NULL : s->delta, &target),
                         PONS_OK);
        assert_int_equal(pons_target_step(target, 0, M, s->W, s->C, V), PONS_OK);
        pons_target_destroy(&target);
        for (int i = 0; i < M * D; i++)
            V[i] += s->W[i];
        for (int aimed = 0; aimed < 2; aimed++) {
            pons_row_task task = {"layer", 0, M, D, aimed ? V : s->W, s->factor, &recipe, 4, NULL};
            assert_int_equal(pons_compress_rows(&task, &result, NULL), PONS_OK);
            error[aimed] = fresh_error(s, result.value, residual);
        }
        print_message("residual %d: fresh error %.4g, with targets %.4g\n", residual, error[0],
                      error[1]);
        assert_true(error[1] < 0.75 * error[0]);
    }
    obr_result_destroy(&result);
    scene_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(formula), cmocka_unit_test(bits),
                                       cmocka_unit_test(quality)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
