/* Greedy pruning and rounding of single weights. Owns the order of weights and the inverse of the
 * remaining columns. */
#include "obr/exact_obs.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/mem.h"
#include "quant/weight.h"

/* [H_RR^-1]_jj is at least 1 / H_jj whatever R is. A pivot below this share of that bound has lost
 * its digits to rounding. */
#define PIVOT_SHARE 0.5f

/* What is left of one row: `n` columns, in any order. */
typedef struct left {
    int64_t n, d;
    const float *H;  /* [d, d] */
    float *A;        /* [n, n] inverse of H at those columns, row stride d */
    float *w;        /* [n] their values */
    int32_t *column; /* [n] */
    int32_t *over;   /* [d / m] n:m: entries that each group still has to lose */
    float *row;      /* [d] work */
} left;

/* Eliminate entry p, whose value changes by -move: the other values compensate, and the inverse is
 * reduced. false: no entry was found (p < 0, costs are NaN), or the inverse is no longer positive
 * definite. */
static bool eliminate(left *s, int64_t p, float move)
{
    int64_t last = s->n - 1, d = s->d;
    float *A = s->A, *a = s->row;
    if (p < 0) return false;
    float pivot = A[p * d + p];
    if (!(pivot * s->H[s->column[p] * (d + 1)] >= PIVOT_SHARE && pivot <= FLT_MAX)) return false;
    s->n = last;
    memcpy(a, A + p * d, (size_t)(last + 1) * sizeof *a);
    if (p != last) { /* the last one takes its place */
        memcpy(A + p * d, A + last * d, (size_t)(last + 1) * sizeof *A);
        for (int64_t i = 0; i <= last; i++)
            A[i * d + p] = A[i * d + last];
        a[p] = a[last];
        s->w[p] = s->w[last];
        s->column[p] = s->column[last];
    }
    float f = move / pivot;
    for (int64_t i = 0; i < last; i++)
        s->w[i] -= f * a[i];
    for (int64_t i = 0; i < last; i++) {
        float g = a[i] / pivot;
        float *to = A + i * d;
        for (int64_t j = 0; j < last; j++)
            to[j] -= g * a[j];
    }
    return true;
}

static bool prune_row(const pons_exact_obs *obs, left *s, uint8_t *mask)
{
    pons_mask_rule rule = obs->rule;
    int64_t d = s->d;
    int64_t count = rule.n > 0 ? d / rule.m * rule.n : pons_mask_pruned_per_row(d, rule.sparsity);
    for (int64_t g = 0; rule.n > 0 && g < d / rule.m; g++)
        s->over[g] = rule.n;
    memset(mask, 1, (size_t)d);
    for (int64_t k = 0; k < count; k++) {
        int64_t best = -1;
        float minimum = FLT_MAX;
        for (int64_t i = 0; i < s->n; i++) {
            float cost = s->w[i] * s->w[i] / s->A[i * (d + 1)];
            if (!(cost < minimum) || (rule.n > 0 && s->over[s->column[i] / rule.m] == 0)) continue;
            minimum = cost;
            best = i;
        }
        int32_t j = best < 0 ? 0 : s->column[best];
        if (!eliminate(s, best, best < 0 ? 0.0f : s->w[best])) return false;
        mask[j] = 0;
        if (rule.n > 0) s->over[j / rule.m]--;
    }
    return true;
}

static bool round_row(const pons_exact_obs *obs, left *s, const float *scale, const int8_t *zero,
                      int8_t *codes)
{
    int64_t d = s->d, size = pons_weight_group_size(obs->quant, d);
    while (s->n > 0) {
        int64_t best = -1;
        float minimum = FLT_MAX, move = 0.0f;
        int8_t code = 0;
        for (int64_t i = 0; i < s->n; i++) {
            int64_t g = s->column[i] / size;
            int8_t q = pons_weight_code(obs->bits, s->w[i], scale[g], zero[g]);
            float error = s->w[i] - pons_weight_value(q, scale[g], zero[g]);
            bool outside = fabsf(error) > 0.5f * scale[g] * (1.0f + 1e-5f);
            float cost = outside ? -fabsf(error) : error * error / s->A[i * (d + 1)];
            if (!(cost < minimum)) continue;
            minimum = cost;
            best = i;
            move = error;
            code = q;
        }
        int32_t j = best < 0 ? 0 : s->column[best];
        if (!eliminate(s, best, move)) return false;
        codes[j] = code;
    }
    return true;
}

/* All of row i. Returns the number of eliminated columns; below d the inverse lost definiteness.
 * @param V [d] work */
static int64_t compress_row(const pons_exact_obs *obs, const pons_solve_panel *panel,
                            const float *K, int64_t i, left *s, float *V)
{
    int64_t d = panel->d, groups = pons_weight_groups(obs->quant, d);
    int64_t size = pons_weight_group_size(obs->quant, d);
    float *scale = obs->scale + i * groups;
    int8_t *zero = obs->zero + i * groups, *codes = obs->codes + i * d;
    s->n = d;
    for (int64_t r = 0; r < d; r++)
        for (int64_t c = r; c < d; c++)
            s->A[r * d + c] = s->A[c * d + r] = K[r * d + c];
    for (int64_t j = 0; j < d; j++) {
        s->w[j] = panel->W[i * d + j];
        s->column[j] = (int32_t)j;
    }
    if (!prune_row(obs, s, obs->mask + i * d)) return d - s->n;
    if (obs->compensated) {
        memset(V, 0, (size_t)d * sizeof *V);
        for (int64_t k = 0; k < s->n; k++)
            V[s->column[k]] = s->w[k];
        pons_weight_scales(obs->quant, obs->bits, 1, d, V, d, scale, zero);
    }
    for (int64_t j = 0; j < d; j++)
        codes[j] = zero[j / size];
    round_row(obs, s, scale, zero, codes);
    return d - s->n;
}

pons_status pons_exact_obs_rows(const pons_exact_obs *obs, const pons_solve_panel *panel,
                                const float *K)
{
    pons_status st = PONS_OK;
    int64_t d = panel->d, own = d * d + 3 * d, threads = omp_get_max_threads();
    int64_t bad_row = panel->rows, bad_step = 0;
    float *space = NULL;
    int32_t *lists = NULL;
    PONS_TRY(st, pons_mask_check(obs->rule, d));
    PONS_ALLOC(st, space, threads * own);
    PONS_ALLOC(st, lists, threads * 2 * d);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < panel->rows; i++) {
        float *work = space + omp_get_thread_num() * own;
        int32_t *list = lists + omp_get_thread_num() * 2 * d;
        left s = {.d = d,
                  .H = panel->factor->H,
                  .w = work,
                  .row = work + d,
                  .A = work + 3 * d,
                  .column = list,
                  .over = list + d};
        int64_t done = compress_row(obs, panel, K, i, &s, work + 2 * d);
#pragma omp critical(pons_exact_obs)
        if (done < d && i < bad_row) {
            bad_row = i;
            bad_step = done;
        }
    }
    if (bad_row < panel->rows)
        st = pons_fail(PONS_ERR_NUMERIC,
                       "%s: row %lld: the inverse Hessian is not positive definite in fp32 after "
                       "%lld of %lld columns; raise obr.damping",
                       panel->name, (long long)(panel->row + bad_row), (long long)bad_step,
                       (long long)d);
done:
    pons_mem_free(lists);
    pons_mem_free(space);
    return st;
}
