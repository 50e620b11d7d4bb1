/* Swaps of pruned and kept weights on the solved problem. Owns their prices and their choice; solving is
 * in subproblem.c. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/dense.h"
#include "kern/panel.h"
#include "obr/masks.h"

enum { ROUNDS = 4, SAMPLES = 64, SEED = 7 };

#define FIRST_SHARE 0.06 /* of the kept entries that may be swapped in the first round */

/* Columns of a drawn set of `count`, ascending; the other columns to `others`. */
static void draw_set(int64_t d, int64_t count, int64_t *set, int64_t *others)
{
    pons_mt19937 rng;
    int64_t left = count, in = 0, out = 0;
    pons_mt19937_seed(&rng, SEED);
    for (int64_t j = 0; j < d; j++) {
        if ((int64_t)pons_mt19937_below(&rng, (uint32_t)(d - j)) < left) {
            set[in++] = j;
            left--;
        } else {
            others[out++] = j;
        }
    }
}

/* Squared norms of R^-T b for the rows b of B [samples, n]. */
static void solve_sample(int64_t n, const float *R, int64_t samples, float *B, double *square)
{
    pons_dense_solve_transposed(n, R, n, samples, B);
    for (int64_t s = 0; s < samples; s++) {
        square[s] = 0.0;
        for (int64_t i = 0; i < n; i++)
            square[s] += (double)B[s * n + i] * (double)B[s * n + i];
    }
}

static double inverse_diagonal(const pons_hessian_factor *f, int64_t j)
{
    double sum = 0.0;
    for (int64_t i = 0; i <= j; i++)
        sum += (double)f->U[i * f->d + j] * (double)f->U[i * f->d + j];
    return sum;
}

/* S drawn, E the others, H_SS = R^T R: [H_SS^-1]_jj = |R^-T e_j|^2 and
 * [(H^-1)_EE^-1]_ii = H_ii - |R^-T H_Si|^2. */
static void average(const pons_hessian_factor *f, int64_t n, const int64_t *S, int64_t m,
                    const int64_t *E, const float *R, float *B, pons_row_shared *shared)
{
    double square[SAMPLES];
    int64_t d = f->d, samples = n < SAMPLES ? n : SAMPLES;
    memset(B, 0, (size_t)(n * samples) * sizeof *B);
    for (int64_t s = 0; s < samples; s++)
        B[s * n + s * n / samples] = 1.0f;
    solve_sample(n, R, samples, B, square);
    shared->kept = 0.0;
    for (int64_t s = 0; s < samples; s++)
        shared->kept += square[s] / inverse_diagonal(f, S[s * n / samples]) / (double)samples;
    samples = m < SAMPLES ? m : SAMPLES;
    for (int64_t s = 0; s < samples; s++)
        for (int64_t i = 0; i < n; i++)
            B[s * n + i] = f->H[E[s * m / samples] * d + S[i]];
    solve_sample(n, R, samples, B, square);
    shared->pruned = 0.0;
    for (int64_t s = 0; s < samples; s++) {
        double h = f->H[E[s * m / samples] * (d + 1)];
        shared->pruned += (h - square[s]) / h / (double)samples;
    }
}

static pons_status make_means(const pons_hessian_factor *f, int64_t n, pons_row_shared *shared)
{
    pons_status st = PONS_OK;
    int64_t d = f->d, m = d - n;
    int64_t *set = NULL;
    float *R = NULL, *B = NULL;
    int64_t info = 0;
    PONS_ALLOC(st, set, d);
    PONS_ALLOC(st, R, n * n);
    PONS_ALLOC(st, B, n * SAMPLES);
    draw_set(d, n, set, set + n);
    for (int64_t a = 0; a < n; a++)
        for (int64_t b = 0; b < n; b++)
            R[a * n + b] = f->H[set[a] * d + set[b]];
#pragma omp parallel
#pragma omp single
    { /* inside a parallel region the library does not thread */
        info = pons_dense_factor(n, R, n);
        if (info == 0) average(f, n, set, m, set + n, R, B, shared);
    }
    if (info != 0 || !(shared->kept > 0.0) || !(shared->pruned > 0.0))
        st = pons_fail(PONS_ERR_NUMERIC,
                       "prune.mask dual_swap: the Hessian of a set of %lld columns is not positive "
                       "definite; raise obr.damping",
                       (long long)n);
done:
    pons_mem_free(B);
    pons_mem_free(R);
    pons_mem_free(set);
    return st;
}

pons_status pons_mask_swap_prepare(const pons_hessian_factor *f, double sparsity,
                                   pons_row_shared *shared)
{
    pons_status st = PONS_OK;
    int64_t n = f->d - pons_mask_pruned_per_row(f->d, sparsity);
    shared->kept = shared->pruned = 1.0;
    if (n == 0 || n == f->d) return PONS_OK; /* nothing to swap */
    PONS_TRY_ALL(st, f->comm, pons_comm_rank(f->comm) == 0 ? make_means(f, n, shared) : PONS_OK);
    pons_comm_bcast(f->comm, &shared->kept, sizeof shared->kept, 0);
    pons_comm_bcast(f->comm, &shared->pruned, sizeof shared->pruned, 0);
done:
    return st;
}

typedef struct candidate {
    float price;
    int32_t column;
} candidate;

static int by_price(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->price != y->price) return x->price < y->price ? -1 : 1;
    return x->column < y->column ? -1 : 1;
}

/* What one row looks at. */
typedef struct prices {
    const float *kept, *pruned; /* [d] x^2 times the one, g^2 times the other */
    const float *x, *g;
} prices;

static float price_of(const prices *p, const uint8_t *mask, int64_t j)
{
    return mask[j] ? p->x[j] * p->x[j] * p->kept[j] : p->g[j] * p->g[j] * p->pruned[j];
}

/* Cheapest kept with dearest pruned, and so on. @param list [d] work */
static void swap_row(const prices *p, int64_t d, int64_t most, candidate *list, uint8_t *mask)
{
    int64_t kept = 0, pruned = 0;
    for (int64_t j = 0; j < d; j++) {
        float price = price_of(p, mask, j);
        int64_t at = mask[j] ? kept++ : d - ++pruned;
        list[at] = (candidate){mask[j] ? price : -price, (int32_t)j};
    }
    qsort(list, (size_t)kept, sizeof *list, by_price);
    qsort(list + kept, (size_t)pruned, sizeof *list, by_price);
    for (int64_t k = 0; k < most && k < kept && k < pruned; k++) {
        candidate out = list[k], in = list[kept + k];
        if (!(-in.price > out.price)) break;
        mask[out.column] = 0;
        mask[in.column] = 1;
    }
}

/* The pair of each group that gains most, in the groups where it gains most. @param list [d / m] work */
static void swap_groups(const prices *p, int64_t d, int m, int64_t most, candidate *list,
                        uint8_t *mask)
{
    int64_t groups = d / m, gaining = 0;
    for (int pass = 0; pass < 2; pass++) {
        int64_t count = pass ? (gaining < most ? gaining : most) : groups;
        for (int64_t k = 0; k < count; k++) {
            int64_t begin = (pass ? list[k].column : k) * m, out = -1, in = -1;
            for (int64_t j = begin; j < begin + m; j++) {
                float price = price_of(p, mask, j);
                if (mask[j] && (out < 0 || price < price_of(p, mask, out))) out = j;
                if (!mask[j] && (in < 0 || price > price_of(p, mask, in))) in = j;
            }
            if (out < 0 || in < 0) continue;
            float gain = price_of(p, mask, in) - price_of(p, mask, out);
            if (pass) {
                mask[out] = 0;
                mask[in] = 1;
            } else if (gain > 0.0f) {
                list[gaining++] = (candidate){-gain, (int32_t)k};
            }
        }
        if (!pass) qsort(list, (size_t)gaining, sizeof *list, by_price);
    }
}

pons_status pons_mask_swap(const pons_row_shared *shared, pons_mask_rule rule,
                           const pons_solve_panel *panel, uint8_t *mask, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    const pons_hessian_factor *f = panel->factor;
    int64_t rows = panel->rows, d = panel->d, kept = d - pons_mask_pruned_per_row(d, rule.sparsity);
    float *X = NULL, *D = NULL, *G = NULL, *scale = NULL;
    candidate *lists = NULL;
    pons_solve_panel own = *panel;
    own.mask = mask;
    PONS_ALLOC(st, X, rows * d);
    PONS_ALLOC(st, D, rows * d);
    PONS_ALLOC(st, G, rows * d);
    PONS_ALLOC(st, scale, 2 * d);
    PONS_ALLOC(st, lists, omp_get_max_threads() * d);
    for (int64_t j = 0; j < d; j++) {
        scale[j] = (float)((double)shared->column[j] * shared->column[j] / shared->kept);
        scale[d + j] = (float)(1.0 / (shared->pruned * (double)f->H[j * (d + 1)]));
    }
    if (rule.n > 0) kept = d / rule.m * (rule.m - rule.n);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t most = (int64_t)(FIRST_SHARE * (1.0 - (double)round / ROUNDS) * (double)kept);
        PONS_TRY(st, pons_subproblem_solve(shared->whole, &own, X, metrics));
        for (int64_t i = 0; i < rows * d; i++)
            D[i] = X[i] - panel->W[i];
        PONS_TRY(st, pons_panel_multiply(panel->row, rows, d, D, f->H, G));
#pragma omp parallel for
        for (int64_t i = 0; i < rows; i++) {
            prices p = {scale, scale + d, X + i * d, G + i * d};
            candidate *list = lists + omp_get_thread_num() * d;
            if (rule.n > 0)
                swap_groups(&p, d, rule.m, most > 0 ? most : 1, list, mask + i * d);
            else
                swap_row(&p, d, most > 0 ? most : 1, list, mask + i * d);
        }
        metrics->products += (double)rows;
    }
done:
    pons_mem_free(lists);
    pons_mem_free(scale);
    pons_mem_free(G);
    pons_mem_free(D);
    pons_mem_free(X);
    return st;
}
