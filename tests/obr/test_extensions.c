/* What improves on the published algorithm, against definitions in fp64: masks entry by entry, blocks
 * code by code; what polishing and refits leave cannot be bettered by one code or scale. */
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
#include "support/obr_oracle.h"

enum { M = 7, D = 150 };

static const struct {
    double sparsity;
    int n, m;
} patterns[] = {{0.5, 0, 0}, {0.7, 0, 0}, {0.5, 2, 4}, {0.4, 2, 5}};

/* Every pattern's m divides the width of the problem that takes it. */
static int64_t width_of(int pattern) { return patterns[pattern].m == 4 ? D - 2 : D; }

static pons_recipe recipe_with(pons_method method, pons_mask mask, int pattern)
{
    pons_recipe r = obr_recipe(method);
    r.prune.mask = mask;
    r.prune.sparsity = patterns[pattern].sparsity;
    r.prune.n = patterns[pattern].n;
    r.prune.m = patterns[pattern].m;
    r.obr.precision = PONS_COMPUTE_FP32;
    return r;
}

static void compress(const obr_problem *p, const pons_recipe *recipe, pons_row_result *r)
{
    pons_row_metrics metrics = {0};
    pons_row_task task = {"extensions",         0,   p->m, p->d, p->W, p->factor, recipe,
                          recipe->weights.bits, NULL};
    if (pons_compress_rows(&task, r, &metrics) != PONS_OK) fail_msg("%s", pons_error_message());
    assert_true(metrics.products >= 0.0);
}

static double total(int64_t n, const double *x)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

/* Sum over rows of (value - W) H (value - W)^T with the damped H, which is what is minimised. */
static double damped_total(const obr_problem *p, const pons_row_result *r)
{
    double error = total(p->m, r->error);
    for (int64_t i = 0; i < p->m * p->d; i++) {
        double move = (double)r->value[i] - (p->factor->dead[i % p->d] ? 0.0 : (double)p->W[i]);
        error += p->factor->damping * move * move;
    }
    return error;
}

static double error_of(const obr_problem *p, const pons_recipe *recipe)
{
    pons_row_result r;
    obr_result_create(p, recipe, &r);
    compress(p, recipe, &r);
    double error = damped_total(p, &r);
    obr_result_destroy(&r);
    return error;
}

/* 0 for the least of metric [d] under a pattern. */
static void prune(const pons_recipe *r, int64_t d, const double *metric, uint8_t *mask)
{
    int64_t group = r->prune.n ? r->prune.m : d;
    int64_t count = r->prune.n ? r->prune.n : (int64_t)((double)d * r->prune.sparsity);
    memset(mask, 1, (size_t)d);
    for (int64_t begin = 0; begin < d; begin += group)
        for (int64_t k = 0; k < count; k++) {
            int64_t least = -1;
            for (int64_t j = begin; j < begin + group; j++)
                if (mask[j] && (least < 0 || metric[j] < metric[least])) least = j;
            mask[least] = 0;
        }
}

/* (H + rho I)^-1 of the damped H, [d, d]. */
static double *inverse_of(const obr_problem *p, double rho)
{
    int64_t d = p->d;
    double *K = malloc((size_t)(d * d) * sizeof *K), *A = malloc((size_t)(d * d) * sizeof *A);
    for (int64_t c = 0; c < d; c++) {
        double *x = K + c * d;
        for (int64_t i = 0; i < d * d; i++)
            A[i] = p->factor->H[i];
        for (int64_t i = 0; i < d; i++) {
            A[i * d + i] += rho;
            x[i] = i == c;
        }
        obr_oracle_solve(d, A, x);
    }
    free(A);
    return K;
}

static void oracle_score(const obr_problem *p, const pons_recipe *r, uint8_t *mask)
{
    int64_t d = p->d;
    double *K = inverse_of(p, 0.0), metric[D];
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < d; j++)
            metric[j] = fabs((double)p->W[i * d + j]) /
                        (r->prune.mask == PONS_MASK_OBS ? sqrt(K[j * d + j]) : 1.0);
        prune(r, d, metric, mask + i * d);
    }
    free(K);
}

/* Optimal brain surgery from the left, the inverse reduced column by column; masks per row and block. */
static void oracle_sparsegpt(const obr_problem *p, const pons_recipe *r, uint8_t *mask)
{
    int64_t d = p->d, block = r->prune.n ? (128 + r->prune.m - 1) / r->prune.m * r->prune.m : 128;
    double *K = inverse_of(p, 0.0), *pivot = malloc((size_t)d * sizeof *pivot), metric[D], w[D];
    double *rows = malloc((size_t)(d * d) * sizeof *rows); /* of the inverse when j is reached */
    for (int64_t j = 0; j < d; j++) {
        pivot[j] = K[j * d + j];
        memcpy(rows + j * d, K + j * d, (size_t)d * sizeof *rows);
        for (int64_t a = j + 1; a < d; a++)
            for (int64_t b = j + 1; b < d; b++)
                K[a * d + b] -= K[a * d + j] * K[j * d + b] / pivot[j];
    }
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < d; j++)
            w[j] = p->W[i * d + j];
        for (int64_t j = 0; j < d; j++) {
            int64_t width = d - j < block ? d - j : block;
            for (int64_t k = j; j % block == 0 && k < j + width; k++)
                metric[k - j] = w[k] * w[k] / pivot[k];
            if (j % block == 0) prune(r, width, metric, mask + i * d + j);
            double e = mask[i * d + j] ? 0.0 : w[j] / pivot[j];
            for (int64_t k = j + 1; k < d; k++)
                w[k] -= e * rows[j * d + k];
        }
    }
    free(rows);
    free(pivot);
    free(K);
}

/* Alternating directions as published: X from (H + rho I)^-1, Z the largest of X + U, U += X - Z. */
static void oracle_admm(const obr_problem *p, const pons_recipe *r, uint8_t *mask)
{
    int64_t d = p->d;
    double sparsity = r->prune.n ? (double)r->prune.n / r->prune.m : r->prune.sparsity, rho = 0.0;
    assert_int_equal(pons_hessian_effective_ridge(p->factor, (1.0 - sparsity) * (double)d, &rho),
                     PONS_OK);
    double *Z = calloc((size_t)(p->m * d), sizeof *Z), *U = calloc((size_t)(p->m * d), sizeof *U);
    double metric[D] = {0}, right[D], x[D];
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < d; j++)
            metric[j] = fabsf(p->W[i * d + j]) * sqrtf(p->factor->norm[j]);
        prune(r, d, metric, mask + i * d);
        for (int64_t j = 0; j < d; j++)
            Z[i * d + j] = mask[i * d + j] ? p->W[i * d + j] : 0.0;
    }
    rho *= 0.3;
    for (int stage = 0; stage < 6; stage++, rho *= 1.5) {
        double *K = inverse_of(p, rho);
        for (int64_t i = 0; i < p->m; i++)
            for (int step = 0; step < 8; step++) {
                double *z = Z + i * d, *u = U + i * d;
                for (int64_t j = 0; j < d; j++) { /* W H + rho (Z - U) */
                    right[j] = rho * (z[j] - u[j]);
                    for (int64_t k = 0; k < d; k++)
                        right[j] += (double)p->W[i * d + k] * p->factor->H[k * d + j];
                }
                for (int64_t j = 0; j < d; j++) {
                    x[j] = 0.0;
                    for (int64_t k = 0; k < d; k++)
                        x[j] += right[k] * K[k * d + j];
                    metric[j] = fabs(x[j] + u[j]);
                }
                prune(r, d, metric, mask + i * d);
                for (int64_t j = 0; j < d; j++) {
                    z[j] = mask[i * d + j] ? x[j] + u[j] : 0.0;
                    u[j] += x[j] - z[j];
                }
            }
        for (int64_t i = 0; i < p->m * d; i++)
            U[i] /= 1.5;
        free(K);
    }
    free(U);
    free(Z);
}

static void masks(void **state)
{
    (void)state;
    static const struct {
        pons_mask mask;
        void (*oracle)(const obr_problem *, const pons_recipe *, uint8_t *);
        double least;
    } kinds[] = {{PONS_MASK_MAGNITUDE, oracle_score, 1.0},
                 {PONS_MASK_OBS, oracle_score, 0.999},
                 {PONS_MASK_SPARSEGPT, oracle_sparsegpt, 0.995},
                 {PONS_MASK_ADMM, oracle_admm, 0.985}};
    for (int k = 0; k < 4; k++)
        for (int s = 0; s < 4; s++) {
            obr_problem p;
            obr_problem_create(5, M, width_of(s), 0, &p);
            int64_t n = p.m * p.d, equal = 0, zeros = 0, expected = 0;
            pons_recipe recipe = recipe_with(PONS_METHOD_WANDA, kinds[k].mask, s);
            pons_row_result r;
            obr_result_create(&p, &recipe, &r);
            uint8_t *mask = malloc((size_t)n);
            compress(&p, &recipe, &r);
            kinds[k].oracle(&p, &recipe, mask);
            for (int64_t i = 0; i < n; i++) {
                equal += (r.value[i] != 0.0f) == mask[i];
                zeros += r.value[i] == 0.0f;
                expected += !mask[i];
            }
            if ((double)equal < kinds[k].least * (double)n)
                fail_msg("mask %d, pattern %d: %lld of %lld entries equal", (int)kinds[k].mask, s,
                         (long long)equal, (long long)n);
            assert_int_equal(zeros, expected);
            free(mask);
            obr_result_destroy(&r);
            obr_problem_destroy(&p);
        }
}

/* Masks that price adjustments in beat those that do not, swaps only ever improve, at any pattern; bits
 * enough that rounding does not matter. */
static void masks_by_error(void **state)
{
    (void)state;
    for (int s = 0; s < 4; s++)
        for (int dual = 0; dual < 2; dual++) {
            double error[PONS_MASK_ADMM + 1];
            obr_problem p;
            obr_problem_create(6, M, width_of(s), 0, &p);
            for (int k = 0; k <= PONS_MASK_ADMM; k++) {
                pons_recipe recipe = recipe_with(PONS_METHOD_OBR_GPTQ, (pons_mask)k, s);
                recipe.weights.bits = 8;
                recipe.obr.solver = dual ? PONS_SOLVER_DUAL : PONS_SOLVER_DIRECT;
                error[k] = error_of(&p, &recipe);
            }
            assert_true(error[PONS_MASK_DUAL_SWAP] < error[PONS_MASK_OBS]);
            assert_true(error[PONS_MASK_ADMM] < error[PONS_MASK_OBS]);
            assert_true(error[PONS_MASK_ADMM] < error[PONS_MASK_WANDA]);
            obr_problem_destroy(&p);
        }
}

/* v over the columns of `in` minimising (v - w) H (v - w)^T, the others fixed. */
static void minimise(const obr_problem *p, const float *w, const uint8_t *in, double *v)
{
    int64_t d = p->d, n = 0, set[D];
    for (int64_t j = 0; j < d; j++)
        if (in[j]) set[n++] = j;
    double *A = malloc((size_t)(n * n + 1) * sizeof *A), x[D];
    for (int64_t a = 0; a < n; a++) {
        x[a] = 0.0;
        for (int64_t j = 0; j < d; j++)
            x[a] += p->factor->H[set[a] * d + j] * (in[j] ? w[j] : w[j] - v[j]);
        for (int64_t b = 0; b < n; b++)
            A[a * n + b] = p->factor->H[set[a] * d + set[b]];
    }
    obr_oracle_solve(n, A, x);
    for (int64_t a = 0; a < n; a++)
        v[set[a]] = x[a];
    free(A);
}

/* Blocks as described: a block left to right with errors fed forward inside it, the rest solved again. */
static void oracle_blocks(const obr_problem *p, const pons_recipe *r, const float *scale,
                          const uint8_t *mask, int8_t *codes)
{
    int64_t d = p->d, blocks = r->obr.blocks;
    double *K = inverse_of(p, 0.0), *rows = malloc((size_t)(d * d) * sizeof *rows);
    for (int64_t j = 0; j < d;
         j++) { /* row j of the inverse of what is left at j, over its pivot */
        double pivot = K[j * d + j];
        for (int64_t k = 0; k < d; k++)
            rows[j * d + k] = K[j * d + k] / pivot;
        for (int64_t a = j + 1; a < d; a++)
            for (int64_t b = j + 1; b < d; b++)
                K[a * d + b] -= K[a * d + j] * rows[j * d + b];
    }
    for (int64_t i = 0; i < p->m; i++) {
        double v[D] = {0}, w[D];
        uint8_t in[D];
        memcpy(in, mask + i * d, (size_t)d);
        minimise(p, p->W + i * d, in, v);
        for (int64_t b = 0; b < blocks; b++) {
            int64_t from = b * d / blocks, to = (b + 1) * d / blocks;
            memcpy(w, v, sizeof w);
            for (int64_t j = from; j < to; j++) {
                double q = fmin(fmax(rint(w[j] / scale[i]), -8.0), 7.0);
                if (!mask[i * d + j]) q = 0.0;
                codes[i * d + j] = (int8_t)q;
                v[j] = scale[i] * q;
                in[j] = 0;
                for (int64_t k = j + 1; k < to; k++)
                    w[k] -= (w[j] - v[j]) * rows[j * d + k];
            }
            for (int64_t j = to; j < d; j++)
                v[j] = 0.0;
            minimise(p, p->W + i * d, in, v);
        }
    }
    free(rows);
    free(K);
}

static void blocks(void **state)
{
    (void)state;
    for (int64_t count = 3; count <= 11; count += 4)
        for (int dual = 0; dual < 2; dual++) {
            obr_problem p;
            obr_problem_create(7, M, D, 0, &p);
            int64_t n = p.m * p.d, equal = 0;
            pons_recipe recipe = recipe_with(PONS_METHOD_OBR_GPTQ, PONS_MASK_OBS, 0);
            recipe.obr.blocks = count;
            recipe.obr.solver = dual ? PONS_SOLVER_DUAL : PONS_SOLVER_DIRECT;
            recipe.obr.tolerance = 1e-4;
            pons_row_result r;
            obr_result_create(&p, &recipe, &r);
            uint8_t *mask = malloc((size_t)n);
            int8_t *codes = malloc((size_t)n);
            compress(&p, &recipe, &r);
            oracle_score(&p, &recipe, mask);
            oracle_blocks(&p, &recipe, r.scale, mask, codes);
            for (int64_t i = 0; i < n; i++)
                equal += r.codes[i] == codes[i];
            if ((double)equal < (dual ? 0.97 : 0.99) * (double)n)
                fail_msg("%lld blocks, dual %d: %lld of %lld codes equal", (long long)count, dual,
                         (long long)equal, (long long)n);
            free(codes);
            free(mask);
            obr_result_destroy(&r);
            obr_problem_destroy(&p);
        }
}

/* Two blocks with compensated scales are the published algorithm with these scales. */
static void compensated_scales(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(9, M, D, 4, &p);
    for (int gptq = 0; gptq < 2; gptq++) {
        pons_recipe recipe =
            recipe_with(gptq ? PONS_METHOD_OBR_GPTQ : PONS_METHOD_OBR_RTN, PONS_MASK_WANDA, 0);
        recipe.scale_from = PONS_SCALE_COMPENSATED;
        pons_row_result r;
        obr_result_create(&p, &recipe, &r);
        int64_t n = p.m * p.d, equal = 0;
        uint8_t *mask = malloc((size_t)n);
        int8_t *codes = malloc((size_t)n);
        compress(&p, &recipe, &r);
        obr_oracle(&p, &recipe, 4, r.scale, r.zero, mask, codes);
        for (int64_t i = 0; i < n; i++)
            equal += r.codes[i] == codes[i];
        assert_true((double)equal >= 0.99 * (double)n);
        free(codes);
        free(mask);
        obr_result_destroy(&r);
    }
    obr_problem_destroy(&p);
}

/* (x - w) H (x - w)^T of a row with the damped H. @param scale of x's codes */
static double damped_error(const obr_problem *p, int64_t i, const double *x)
{
    double sum = 0.0, D_[D];
    for (int64_t j = 0; j < p->d; j++)
        D_[j] = x[j] - (double)p->W[i * p->d + j];
    for (int64_t a = 0; a < p->d; a++)
        for (int64_t b = 0; b < p->d; b++)
            sum += D_[a] * p->factor->H[a * p->d + b] * D_[b];
    return sum;
}

/* Values of a row's codes, one scale group multiplied by `factor`. */
static void values_of(const obr_problem *p, const pons_recipe *recipe, const pons_row_result *r,
                      int64_t i, int64_t group, double factor, double *x)
{
    int64_t size = recipe->weights.group_size ? recipe->weights.group_size : p->d;
    int64_t groups = (p->d + size - 1) / size;
    for (int64_t j = 0; j < p->d; j++) {
        int64_t g = i * groups + j / size;
        x[j] = (double)r->scale[g] * (r->codes[i * p->d + j] - r->zero[g]) *
               (j / size == group ? factor : 1.0);
    }
}

static void polish(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(10, M, D, 3, &p);
    for (int k = 0; k < 4; k++) {
        pons_recipe recipe =
            recipe_with(k == 3 ? PONS_METHOD_GPTQ : PONS_METHOD_OBR_GPTQ, PONS_MASK_WANDA, 0);
        recipe.weights.group_size = k % 2 ? 48 : 0;
        recipe.weights.symmetric = k != 2;
        double before = error_of(&p, &recipe);
        recipe.polish.sweeps = 100;
        pons_row_result plain, r;
        obr_result_create(&p, &recipe, &plain);
        obr_result_create(&p, &recipe, &r);
        compress(&p, &recipe, &r);
        double after = damped_total(&p, &r);
        assert_true(k == 2 ? after <= before : after < before);
        recipe.polish.sweeps = 0;
        compress(&p, &recipe, &plain);
        int64_t size = recipe.weights.group_size ? recipe.weights.group_size : D;
        int64_t groups = (D + size - 1) / size;
        for (int64_t i = 0; i < p.m; i++) {
            double x[D];
            values_of(&p, &recipe, &r, i, -1, 1.0, x);
            double least = damped_error(&p, i, x);
            for (int64_t j = 0; j < D; j++) {
                if (p.factor->dead[j]) continue;
                if (plain.value[i * D + j] == 0.0f && r.value[i * D + j] == 0.0f) continue;
                double was = x[j], scale = r.scale[i * groups + j / size];
                for (int step = -1; step <= 1; step += 2) { /* no neighbouring code is better */
                    int code = r.codes[i * D + j] + step;
                    if (code < -8 || code > 7) continue;
                    x[j] = was + step * scale;
                    assert_true(damped_error(&p, i, x) >= least * (1.0 - 1e-5));
                }
                x[j] = was;
            }
        }
        obr_result_destroy(&r);
        obr_result_destroy(&plain);
    }
    obr_problem_destroy(&p);
}

/* Inverse of the damped H at the columns of `in`, [d, d] with zeros elsewhere. */
static void inverse_at(const obr_problem *p, const uint8_t *in, double *K)
{
    int64_t d = p->d, n = 0, set[D];
    double *A = malloc((size_t)(d * d) * sizeof *A), x[D];
    memset(K, 0, (size_t)(d * d) * sizeof *K);
    for (int64_t j = 0; j < d; j++)
        if (in[j]) set[n++] = j;
    for (int64_t c = 0; c < n; c++) {
        for (int64_t a = 0; a < n; a++) {
            x[a] = a == c;
            for (int64_t b = 0; b < n; b++)
                A[a * n + b] = p->factor->H[set[a] * d + set[b]];
        }
        obr_oracle_solve(n, A, x);
        for (int64_t a = 0; a < n; a++)
            K[set[a] * d + set[c]] = x[a];
    }
    free(A);
}

/* Optimal brain compression by its definition, every inverse anew. */
static void oracle_exact(const obr_problem *p, const pons_recipe *r, const float *scale, int64_t i,
                         int8_t *codes)
{
    int64_t d = p->d, m = r->prune.m, n = r->prune.n, lost = 0, over[D] = {0};
    int64_t count = n ? d / m * n : (int64_t)((double)d * r->prune.sparsity);
    double *K = malloc((size_t)(d * d) * sizeof *K), w[D];
    uint8_t in[D];
    memset(in, 1, sizeof in);
    for (int64_t j = 0; j < d; j++)
        w[j] = p->W[i * d + j];
    for (int64_t left = d; left > 0; left--, lost++) {
        int64_t best = -1;
        double least = 1e300, move = 0.0;
        inverse_at(p, in, K);
        for (int64_t j = 0; j < d; j++) {
            if (!in[j] || (lost < count && n && over[j / m] == n)) continue;
            double q = lost < count ? 0.0 : scale[i] * fmin(fmax(rint(w[j] / scale[i]), -8.0), 7.0);
            double cost = (w[j] - q) * (w[j] - q) / K[j * d + j];
            if (lost >= count && fabs(w[j] - q) > 0.50001 * scale[i]) cost = -fabs(w[j] - q);
            if (cost >= least) continue;
            least = cost;
            best = j;
            move = w[j] - q;
        }
        codes[best] = lost < count ? 0 : (int8_t)rint((w[best] - move) / scale[i]);
        over[n ? best / m : 0]++;
        for (int64_t j = 0; j < d; j++)
            if (j != best) w[j] -= move * K[best * d + j] / K[best * d + best];
        in[best] = 0;
    }
    free(K);
}

static void exact_obs(void **state)
{
    (void)state;
    for (int s = 0; s < 4; s++) {
        obr_problem p;
        obr_problem_create(13, 4, 20, 0, &p);
        int64_t equal = 0;
        pons_recipe recipe = recipe_with(PONS_METHOD_EXACT_OBS, PONS_MASK_WANDA, s);
        recipe.scale_from = s % 2 ? PONS_SCALE_COMPENSATED : PONS_SCALE_DENSE;
        pons_row_result r;
        obr_result_create(&p, &recipe, &r);
        compress(&p, &recipe, &r);
        for (int64_t i = 0; i < p.m; i++) {
            int8_t codes[D];
            oracle_exact(&p, &recipe, r.scale, i, codes);
            for (int64_t j = 0; j < p.d; j++)
                equal += r.codes[i * p.d + j] == codes[j];
        }
        assert_true(equal >= 78); /* of 80: costs may tie to rounding */
        obr_result_destroy(&r);
        obr_problem_destroy(&p);
    }
}

/* Columns in pairs that are equal but for 1e-9: entries of the inverse are near 1e9 until one of a pair is gone,
 * near 1 after, so that fp32 keeps nothing of them. */
static void exact_obs_loses_definiteness(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(13, 4, 20, 0, &p);
    double norm[20];
    int64_t info = 0;
    pons_hessian_factor_destroy(&p.factor);
    for (int64_t i = 0; i < p.d; i++)
        for (int64_t j = 0; j < p.d; j++)
            p.H[i * p.d + j] = (i / 2 == j / 2) + (i == j ? 1e-9 : 0.0);
    for (int64_t j = 0; j < p.d; j++)
        norm[j] = 1.0;
    assert_int_equal(pons_hessian_factor_create(p.d, p.H, norm, 1e-14, &info, &p.factor), PONS_OK);
    assert_int_equal(info, 0);
    pons_recipe recipe = recipe_with(PONS_METHOD_EXACT_OBS, PONS_MASK_WANDA, 0);
    pons_row_result r;
    obr_result_create(&p, &recipe, &r);
    pons_row_task task = {"block 1 q_proj",    8,   p.m, p.d, p.W, p.factor, &recipe,
                          recipe.weights.bits, NULL};
    assert_int_equal(pons_compress_rows(&task, &r, NULL), PONS_ERR_NUMERIC);
    assert_non_null(strstr(pons_error_message(), "block 1 q_proj: row 8: "));
    assert_non_null(strstr(pons_error_message(), "obr.damping"));
    obr_result_destroy(&r);
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

/* Pruned entries stay pruned, whatever else happens to the codes. */
static void polish_keeps_masks(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(12, M, D, 0, &p);
    pons_recipe recipe = recipe_with(PONS_METHOD_OBR_GPTQ, PONS_MASK_OBS, 0);
    recipe.polish.sweeps = 50;
    recipe.refit = PONS_REFIT_CLOSED_FORM;
    pons_row_result r;
    obr_result_create(&p, &recipe, &r);
    uint8_t mask[M * D];
    compress(&p, &recipe, &r);
    oracle_score(&p, &recipe, mask);
    for (int64_t i = 0; i < M * D; i++)
        if (!mask[i]) assert_true(r.value[i] == 0.0f);
    obr_result_destroy(&r);
    obr_problem_destroy(&p);
}

static void refit(void **state)
{
    (void)state;
    obr_problem p;
    obr_problem_create(11, M, D, 2, &p);
    for (int grouped = 0; grouped < 2; grouped++) {
        pons_recipe recipe = recipe_with(PONS_METHOD_OBR_GPTQ, PONS_MASK_WANDA, 0);
        recipe.weights.group_size = grouped ? 40 : 0;
        double before = error_of(&p, &recipe);
        recipe.refit = PONS_REFIT_CLOSED_FORM;
        pons_row_result r;
        obr_result_create(&p, &recipe, &r);
        compress(&p, &recipe, &r);
        assert_true(damped_total(&p, &r) < before);
        int64_t last = grouped ? 3 : 0; /* the group that was fitted last is at its optimum */
        for (int64_t i = 0; i < p.m; i++) {
            double x[D];
            values_of(&p, &recipe, &r, i, last, 1.0, x);
            double least = damped_error(&p, i, x);
            for (int sign = -1; sign <= 1; sign += 2) {
                values_of(&p, &recipe, &r, i, last, 1.0 + sign * 2e-3, x);
                assert_true(damped_error(&p, i, x) >= least * (1.0 - 1e-6));
            }
        }
        obr_result_destroy(&r);
    }
    obr_problem_destroy(&p);
    assert_int_equal(pons_mem_outstanding(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(masks),
                                       cmocka_unit_test(masks_by_error),
                                       cmocka_unit_test(blocks),
                                       cmocka_unit_test(compensated_scales),
                                       cmocka_unit_test(polish),
                                       cmocka_unit_test(polish_keeps_masks),
                                       cmocka_unit_test(refit),
                                       cmocka_unit_test(exact_obs),
                                       cmocka_unit_test(exact_obs_loses_definiteness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
