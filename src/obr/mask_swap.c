/* Swaps of pruned and kept weights on the solved problem. Owns their prices and their choice;
 * solving is in subproblem.c. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/panel.h"
#include "kern/vector.h"
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

static double inverse_diagonal(const pons_hessian_factor *f, int64_t j)
{
    double sum = 0.0;
    for (int64_t i = 0; i <= j; i++)
        sum += (double)f->U[i * f->d + j] * (double)f->U[i * f->d + j];
    return sum;
}

/* b (H_SS)^-1 b^T = |U b^T|^2 for the rows b of B [samples, n]. @param part [n, samples] work */
static void inverse_forms(const pons_hessian_factor *set, int64_t samples, const float *B,
                          double *part, double *form)
{
    int64_t n = set->d;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++)
        for (int64_t s = 0; s < samples; s++)
            part[i * samples + s] = pons_vector_dot(n - i, set->U + i * n + i, B + s * n + i);
    for (int64_t s = 0; s < samples; s++) {
        form[s] = 0.0;
        for (int64_t i = 0; i < n; i++)
            form[s] += part[i * samples + s] * part[i * samples + s];
    }
}

/* Means over samples of the set S and of the other columns E, m of them:
 * [(H^-1)_EE^-1]_ii = H_ii - H_iS (H_SS)^-1 H_Si. @param set the factor of H_SS */
static pons_status average(const pons_hessian_factor *f, const pons_hessian_factor *set,
                           const int64_t *S, int64_t m, const int64_t *E, pons_row_shared *shared)
{
    pons_status st = PONS_OK;
    double form[SAMPLES], *part = NULL;
    float *B = NULL;
    int64_t d = f->d, n = set->d, samples = n < SAMPLES ? n : SAMPLES;
    PONS_ALLOC(st, B, n * SAMPLES);
    PONS_ALLOC(st, part, n * SAMPLES);
    shared->kept = shared->pruned = 0.0;
    for (int64_t s = 0; s < samples; s++) {
        int64_t j = s * n / samples;
        shared->kept += inverse_diagonal(set, j) / inverse_diagonal(f, S[j]) / (double)samples;
    }
    samples = m < SAMPLES ? m : SAMPLES;
    for (int64_t s = 0; s < samples; s++)
        for (int64_t i = 0; i < n; i++)
            B[s * n + i] = f->H[E[s * m / samples] * d + S[i]];
    inverse_forms(set, samples, B, part, form);
    for (int64_t s = 0; s < samples; s++) {
        double h = f->H[E[s * m / samples] * (d + 1)];
        shared->pruned += (h - form[s]) / h / (double)samples;
    }
done:
    pons_mem_free(part);
    pons_mem_free(B);
    return st;
}

static pons_status refuse(int64_t columns)
{
    return pons_fail(PONS_ERR_NUMERIC,
                     "prune.mask dual_swap: the Hessian of a set of %lld columns is not positive "
                     "definite; raise obr.damping",
                     (long long)columns);
}

pons_status pons_mask_swap_prepare(const pons_hessian_factor *f, double sparsity,
                                   pons_row_shared *shared)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *kept = NULL;
    int64_t d = f->d, n = d - pons_mask_pruned_per_row(d, sparsity), info = 0, *set = NULL;
    shared->kept = shared->pruned = 1.0;
    if (n == 0 || n == d) return PONS_OK; /* nothing to swap */
    set = pons_mem_alloc(d, sizeof *set);
    PONS_TRY_ALL(st, f->comm, set ? PONS_OK : PONS_ERR_NOMEM);
    draw_set(d, n, set, set + n);
    PONS_TRY(st, pons_hessian_factor_ordered(f, n, set, 0.0, &info, &kept));
    if (info == 0 && pons_comm_rank(f->comm) == 0)
        st = average(f, kept, set, d - n, set + n, shared);
    PONS_TRY_ALL(st, f->comm, st);
    pons_comm_bcast(f->comm, &shared->kept, sizeof shared->kept, 0);
    pons_comm_bcast(f->comm, &shared->pruned, sizeof shared->pruned, 0);
    if (info != 0 || !(shared->kept > 0.0) || !(shared->pruned > 0.0)) st = refuse(n);
done:
    pons_hessian_factor_destroy(&kept);
    pons_mem_free(set);
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

/* Swap the best pair of a group, in the groups with the largest gains. @param list [d / m] work */
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
