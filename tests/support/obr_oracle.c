/* The naive compressor behind tests/obr. */
#include "support/obr_oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mt19937.h"
#include "quant/weight.h"

static double uniform(pons_mt19937 *rng) { return pons_mt19937_next(rng) / 4294967296.0 - 0.5; }

void obr_problem_create(uint32_t seed, int64_t m, int64_t d, int64_t dead, obr_problem *out)
{
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, seed);
    int64_t samples = 2 * d + 5, info = 0;
    double *x = malloc((size_t)d * sizeof *x), *norm = malloc((size_t)d * sizeof *norm);
    *out = (obr_problem){m, d, malloc((size_t)(m * d) * sizeof(float)),
                         calloc((size_t)(d * d), sizeof(double)), NULL};
    for (int64_t t = 0; t < samples; t++) {
        double common = 3.0 * uniform(&rng);
        for (int64_t j = 0; j < d; j++)
            x[j] = uniform(&rng) * (1.0 + 2.0 * (j % 7 == 3)) + common * (0.5 + 0.1 * (j % 4)) +
                   (j ? 0.7 * x[j - 1] : 0.0);
        for (int64_t k = 0, j = 2; k < dead && j < d; k++, j += 5)
            x[j] = 0.0;
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j < d; j++)
                out->H[i * d + j] += x[i] * x[j];
    }
    for (int64_t i = 0; i < m * d; i++)
        out->W[i] = (float)((uniform(&rng) + uniform(&rng) + uniform(&rng)) * 0.05);
    for (int64_t j = 0; j < d; j++)
        norm[j] = out->H[j * d + j] / 2;
    if (pons_hessian_factor_create(d, out->H, norm, 0.01, &info, &out->factor) != PONS_OK || info)
        abort();
    free(norm);
    free(x);
}

void obr_problem_destroy(obr_problem *problem)
{
    free(problem->W);
    free(problem->H);
    pons_hessian_factor_destroy(&problem->factor);
}

double obr_problem_form(const obr_problem *problem, const double *x)
{
    double sum = 0.0;
    for (int64_t i = 0; i < problem->d; i++)
        for (int64_t j = 0; j < problem->d; j++)
            sum += x[i] * problem->H[i * problem->d + j] * x[j];
    return sum;
}

pons_recipe obr_recipe(pons_method method)
{
    pons_recipe recipe;
    memset(&recipe, 0, sizeof recipe);
    recipe.method = method;
    recipe.compat = PONS_COMPAT_CORRECTED;
    recipe.weights = (pons_weight_quant){4, true, 0, true, 0};
    recipe.prune.sparsity = 0.5;
    recipe.obr.alpha = 0.5;
    recipe.obr.damping = 0.01;
    recipe.obr.block = 16;
    recipe.obr.solver = PONS_SOLVER_DIRECT;
    recipe.obr.tolerance = 2e-3;
    return recipe;
}

void obr_result_create(const obr_problem *problem, const pons_recipe *recipe, pons_row_result *out)
{
    size_t m = (size_t)problem->m, n = m * (size_t)problem->d;
    size_t groups = m * (size_t)pons_weight_groups(&recipe->weights, problem->d);
    *out = (pons_row_result){calloc(n, 1), calloc(groups, 4), calloc(groups, 1), calloc(n, 4),
                             calloc(m, 8), calloc(m, 8),      calloc(m, 8)};
}

void obr_result_destroy(pons_row_result *result)
{
    free(result->codes);
    free(result->scale);
    free(result->zero);
    free(result->value);
    free(result->error);
    free(result->energy);
    free(result->zeros);
}

void obr_oracle_solve(int64_t n, double *A, double *x)
{
    for (int64_t c = 0; c < n; c++) {
        int64_t pivot = c;
        for (int64_t r = c + 1; r < n; r++)
            if (fabs(A[r * n + c]) > fabs(A[pivot * n + c])) pivot = r;
        for (int64_t k = 0; k < n; k++) {
            double t = A[c * n + k];
            A[c * n + k] = A[pivot * n + k];
            A[pivot * n + k] = t;
        }
        double t = x[c];
        x[c] = x[pivot];
        x[pivot] = t;
        for (int64_t r = c + 1; r < n; r++) {
            double f = A[r * n + c] / A[c * n + c];
            for (int64_t k = c; k < n; k++)
                A[r * n + k] -= f * A[c * n + k];
            x[r] -= f * x[c];
        }
    }
    for (int64_t c = n - 1; c >= 0; c--) {
        for (int64_t k = c + 1; k < n; k++)
            x[c] -= A[c * n + k] * x[k];
        x[c] /= A[c * n + c];
    }
}

typedef struct oracle {
    const obr_problem *problem;
    const pons_recipe *recipe;
    int bits;
    int64_t d, group_size, groups;
    const float *scale;
    const int8_t *zero;
    double *H; /* [d, d] damped */
    double *W; /* [m, d] dead columns zeroed */
} oracle;

static int8_t code_of(const oracle *o, int64_t i, int64_t j, double v)
{
    int64_t g = i * o->groups + j / o->group_size;
    double half = 1 << (o->bits - 1);
    return (int8_t)fmin(fmax(rint(v / o->scale[g]) + o->zero[g], -half), half - 1);
}

static double value_of(const oracle *o, int64_t i, int64_t j, int8_t code)
{
    int64_t g = i * o->groups + j / o->group_size;
    return (double)o->scale[g] * (code - o->zero[g]);
}

static int8_t zero_of(const oracle *o, int64_t i, int64_t j)
{
    return o->zero[i * o->groups + j / o->group_size];
}

/* 0 for the `count` entries of least metric among [begin, end), lowest column first. */
static void prune_least(const double *metric, int64_t begin, int64_t end, int64_t count,
                        uint8_t *mask)
{
    for (int64_t j = begin; j < end; j++)
        mask[j] = 1;
    for (int64_t k = 0; k < count; k++) {
        int64_t least = -1;
        for (int64_t j = begin; j < end; j++)
            if (mask[j] && (least < 0 || metric[j] < metric[least])) least = j;
        mask[least] = 0;
    }
}

static void wanda_mask(const oracle *o, uint8_t *mask)
{
    int64_t d = o->d;
    double *metric = malloc((size_t)d * sizeof *metric);
    for (int64_t i = 0; i < o->problem->m; i++) {
        for (int64_t j = 0; j < d; j++)
            metric[j] =
                fabsf((float)o->W[i * d + j]) * sqrtf((float)(o->problem->H[j * d + j] / 2));
        if (o->recipe->prune.n)
            for (int64_t j = 0; j < d; j += o->recipe->prune.m)
                prune_least(metric, j, j + o->recipe->prune.m, o->recipe->prune.n, mask + i * d);
        else
            prune_least(metric, 0, d, (int64_t)((double)d * o->recipe->prune.sparsity),
                        mask + i * d);
    }
    free(metric);
}

/* v over the set `in` minimising (v - w) H (v - w)^T, other entries of v fixed. */
static void minimise(const oracle *o, const double *w, const uint8_t *in, double *v)
{
    int64_t d = o->d, n = 0, *set = malloc((size_t)d * sizeof *set);
    for (int64_t j = 0; j < d; j++)
        if (in[j]) set[n++] = j;
    double *A = malloc((size_t)(n * n + 1) * sizeof *A), *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t a = 0; a < n; a++) {
        x[a] = 0.0; /* H_II v_I = (H w)_I - H_I,rest v_rest */
        for (int64_t j = 0; j < d; j++)
            x[a] += o->H[set[a] * d + j] * (in[j] ? w[j] : w[j] - v[j]);
        for (int64_t b = 0; b < n; b++)
            A[a * n + b] = o->H[set[a] * d + set[b]];
    }
    obr_oracle_solve(n, A, x);
    for (int64_t a = 0; a < n; a++)
        v[set[a]] = x[a];
    free(x);
    free(A);
    free(set);
}

/* Inverse of the trailing part of H from `start`, [d, d] with zeros elsewhere. */
static double *trailing_inverse(const oracle *o, int64_t start)
{
    int64_t d = o->d, n = d - start;
    double *inverse = calloc((size_t)(d * d), sizeof *inverse);
    double *A = malloc((size_t)(n * n + 1) * sizeof *A), *x = malloc((size_t)(n + 1) * sizeof *x);
    for (int64_t c = 0; c < n; c++) {
        for (int64_t a = 0; a < n; a++) {
            x[a] = a == c;
            for (int64_t b = 0; b < n; b++)
                A[a * n + b] = o->H[(start + a) * d + start + b];
        }
        obr_oracle_solve(n, A, x);
        for (int64_t a = 0; a < n; a++)
            inverse[(start + a) * d + start + c] = x[a];
    }
    free(x);
    free(A);
    return inverse;
}

/* Take column j out of the inverse. */
static void eliminate(int64_t d, int64_t j, double *inverse)
{
    double pivot = inverse[j * d + j], *row = malloc((size_t)d * sizeof *row);
    memcpy(row, inverse + j * d, (size_t)d * sizeof *row);
    for (int64_t a = 0; a < d; a++)
        for (int64_t b = 0; b < d; b++)
            inverse[a * d + b] -= row[a] * row[b] / pivot;
    free(row);
}

/* U_jj^2: the diagonal of the inverse when the sweep reaches j. @param order [d] */
static double *pivots(const oracle *o, const int64_t *order)
{
    int64_t d = o->d;
    double *inverse = trailing_inverse(o, 0), *pivot = malloc((size_t)d * sizeof *pivot);
    for (int64_t k = 0; k < d; k++) {
        pivot[order[k]] = inverse[order[k] * d + order[k]];
        eliminate(d, order[k], inverse);
    }
    free(inverse);
    return pivot;
}

/* The columns from `start` on, as they stand or by decreasing H_jj, in units of m where masks of n:m are
 * chosen on the way. */
static int64_t *sweep_order(const oracle *o, int64_t start)
{
    int64_t d = o->d, unit = 1, *order = malloc((size_t)(d + 1) * sizeof *order);
    if (o->recipe->method == PONS_METHOD_SPARSEGPT_GPTQ && o->recipe->prune.n)
        unit = o->recipe->prune.m;
    bool *taken = calloc((size_t)d + 1, sizeof *taken);
    for (int64_t at = 0; at < d - start; at += unit) {
        int64_t most = -1;
        double best = 0.0;
        for (int64_t first = start; first < d; first += unit) {
            double sum = 0.0;
            for (int64_t j = first; j < first + unit; j++)
                sum += o->H[j * d + j];
            if (taken[first] || (most >= 0 && (!o->recipe->obr.act_order || sum <= best))) continue;
            most = first;
            best = sum;
        }
        taken[most] = true;
        for (int64_t k = 0; k < unit; k++)
            order[at + k] = most + k;
    }
    free(taken);
    return order;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* SparseGPT's masks for what begins at column order[at], from current values V. */
static void sparsegpt_mask(const oracle *o, const int64_t *order, int64_t at, const double *V,
                           const double *pivot, uint8_t *mask)
{
    int64_t d = o->d, m = o->problem->m, block = o->recipe->obr.block, j = order[at];
    double *metric = malloc((size_t)(m * d) * sizeof *metric);
    for (int64_t i = 0; i < m; i++)
        for (int64_t k = 0; k < d; k++)
            metric[i * d + k] = V[i * d + k] * V[i * d + k] / pivot[k];
    int group = o->recipe->prune.m;
    if (o->recipe->prune.n) {
        for (int64_t i = 0; i < m && j % group == 0; i++)
            prune_least(metric + i * d, j, j + group, o->recipe->prune.n, mask + i * d);
    } else if (at % block == 0) {
        int64_t end = at + block < d ? at + block : d, n = 0;
        double *list = malloc((size_t)(m * block) * sizeof *list);
        for (int64_t i = 0; i < m; i++)
            for (int64_t k = at; k < end; k++)
                list[n++] = metric[i * d + order[k]];
        qsort(list, (size_t)n, sizeof *list, ascending);
        double threshold = list[(int64_t)((double)n * o->recipe->prune.sparsity)];
        for (int64_t i = 0; i < m; i++)
            for (int64_t k = at; k < end; k++)
                mask[i * d + order[k]] = metric[i * d + order[k]] > threshold;
        free(list);
    }
    free(metric);
}

/* Column by column of those from `start` on, errors fed forward through the inverse of what is left. */
static void sweep(const oracle *o, int64_t start, double *V, bool choose, uint8_t *mask,
                  int8_t *codes)
{
    int64_t d = o->d, *order = sweep_order(o, start);
    double *inverse = trailing_inverse(o, start), *pivot = choose ? pivots(o, order) : NULL;
    for (int64_t at = 0; at < d - start; at++) {
        int64_t j = order[at];
        if (choose) sparsegpt_mask(o, order, at, V, pivot, mask);
        for (int64_t i = 0; i < o->problem->m; i++) {
            double *v = V + i * d;
            int8_t code = mask[i * d + j] ? code_of(o, i, j, v[j]) : zero_of(o, i, j);
            double error = (v[j] - value_of(o, i, j, code)) / inverse[j * d + j];
            codes[i * d + j] = code;
            for (int64_t k = at + 1; k < d - start; k++)
                v[order[k]] -= error * inverse[j * d + order[k]];
        }
        eliminate(d, j, inverse);
    }
    free(order);
    free(pivot);
    free(inverse);
}

static void obr(const oracle *o, const uint8_t *mask, double *V)
{
    int64_t d = o->d, p = (int64_t)(o->recipe->obr.alpha * (double)d);
    uint8_t *tail = malloc((size_t)d);
    for (int64_t i = 0; i < o->problem->m; i++) {
        double *v = V + i * d;
        memset(v, 0, (size_t)d * sizeof *v);
        minimise(o, o->W + i * d, mask + i * d, v);
        for (int64_t j = 0; j < d; j++) {
            if (j < p && mask[i * d + j]) v[j] = value_of(o, i, j, code_of(o, i, j, v[j]));
            tail[j] = j >= p && mask[i * d + j];
        }
        /* Stage A then B is the joint optimum of the tail given what is left of it; with p = 0 or an
         * untouched left part it changes nothing. */
        minimise(o, o->W + i * d, tail, v);
    }
    free(tail);
}

void obr_oracle(const obr_problem *problem, const pons_recipe *recipe, int bits, const float *scale,
                const int8_t *zero, uint8_t *mask, int8_t *codes)
{
    int64_t m = problem->m, d = problem->d;
    oracle o = {problem,
                recipe,
                bits,
                d,
                pons_weight_group_size(&recipe->weights, d),
                pons_weight_groups(&recipe->weights, d),
                scale,
                zero,
                malloc((size_t)(d * d) * sizeof(double)),
                malloc((size_t)(m * d) * sizeof(double))};
    double mean = 0.0, *V = malloc((size_t)(m * d) * sizeof *V);
    for (int64_t i = 0; i < d * d; i++)
        o.H[i] = problem->H[i];
    for (int64_t j = 0; j < d; j++) {
        if (o.H[j * d + j] == 0.0) o.H[j * d + j] = 1.0;
        mean += o.H[j * d + j] / (double)d;
    }
    for (int64_t j = 0; j < d; j++)
        o.H[j * d + j] += recipe->obr.damping * mean;
    for (int64_t i = 0; i < m * d; i++)
        o.W[i] = problem->H[i % d * d + i % d] == 0.0 ? 0.0 : problem->W[i];

    memset(mask, 1, (size_t)(m * d));
    memcpy(V, o.W, (size_t)(m * d) * sizeof *V);
    int64_t start = d; /* columns before it are rounded */
    switch (recipe->method) {
    case PONS_METHOD_GPTQ:
    case PONS_METHOD_SPARSEGPT_GPTQ: start = 0; break;
    case PONS_METHOD_WANDA:
    case PONS_METHOD_WANDA_RTN: wanda_mask(&o, mask); break;
    case PONS_METHOD_OBR_RTN:
    case PONS_METHOD_OBR_GPTQ:
        wanda_mask(&o, mask);
        obr(&o, mask, V);
        if (recipe->method == PONS_METHOD_OBR_GPTQ)
            start = (int64_t)(recipe->obr.alpha * (double)d);
        break;
    default: break;
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < start; j++)
            codes[i * d + j] =
                mask[i * d + j] ? code_of(&o, i, j, V[i * d + j]) : zero_of(&o, i, j);
    sweep(&o, start, V, recipe->method == PONS_METHOD_SPARSEGPT_GPTQ, mask, codes);
    free(V);
    free(o.W);
    free(o.H);
}
