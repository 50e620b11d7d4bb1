/* The masked solves by one Cholesky per row. Exact up to fp32 rounding; the oracle of the dual
 * solver. Owns the per-row algebra; knows nothing of grids (the callback rounds) or of GPTQ.
 * Specification 3.2, 3.3.
 *
 * The kept columns are taken in descending order, so the trailing ones I2 come first and the
 * leading block R22 of the factor R of H_II = R^T R is the factor of H_I2I2: stage B costs two
 * triangular products.
 *   A:  dA = H_II^-1 b,  b = (w off the mask) H at I
 *   B:  e = w'_1 - Q(w'_1);  dB = H_22^-1 H_21 e = R22^-1 (R21 e)  since H_21 = R22^T R21 */
#include "obr/solver.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "kern/dense.h"
#include "kern/panel.h"

/* Work space of one thread, for rows with at most k kept columns of d. */
typedef struct row_work {
    float *R;      /* [k, k] upper triangle */
    float *x, *e;  /* [d] */
    int32_t *kept; /* [d] kept columns, descending */
} row_work;

/* Kept columns in descending order; how many, and in *trailing how many are >= split. */
static int64_t list_kept(int64_t d, int64_t split, const uint8_t *mask, int32_t *kept,
                         int64_t *trailing)
{
    int64_t k = 0;
    *trailing = 0;
    for (int64_t j = d - 1; j >= 0; j--) {
        if (mask[j]) kept[k++] = (int32_t)j;
        if (j == split) *trailing = k;
    }
    return k;
}

/* Upper triangle R <- H at the kept columns, factored; 0 or the failing minor. */
static int64_t factor_kept(int64_t k, const int32_t *kept, const float *H, int64_t d, float *R)
{
    for (int64_t a = 0; a < k; a++) {
        const float *h = H + (int64_t)kept[a] * d;
        float *row = R + a * k;
        for (int64_t b = a; b < k; b++)
            row[b] = h[kept[b]];
    }
    return pons_dense_factor(k, R, k);
}

/* Stage A and B of a row with pruned and kept columns. @param b [d] (w off the mask) H */
static int64_t solve_row(const pons_solve_panel *panel, int64_t i, const float *b, row_work *work,
                         pons_quantize_left quantize, void *user, float *v)
{
    int64_t d = panel->d, k2, k;
    const float *w = panel->W + i * d;
    float *x = work->x, *e = work->e;
    k = list_kept(d, panel->split, panel->mask + i * d, work->kept, &k2);
    const int32_t *kept = work->kept;
    int64_t info = factor_kept(k, kept, panel->factor->H, d, work->R);
    if (info) return info;
    for (int64_t a = 0; a < k; a++)
        x[a] = b[kept[a]];
    pons_dense_solve(k, work->R, k, x);
    memset(v, 0, (size_t)d * sizeof *v);
    for (int64_t a = 0; a < k; a++)
        v[kept[a]] = w[kept[a]] + x[a];
    if (panel->split == 0) return 0;

    for (int64_t a = k2; a < k; a++)
        e[a] = v[kept[a]];
    quantize(user, i, v);
    for (int64_t a = k2; a < k; a++)
        e[a] -= v[kept[a]];
    if (k2 == 0 || k2 == k) return 0;
    pons_dense_multiply(k2, k - k2, work->R + k2, k, e + k2, x);
    pons_dense_solve_upper(k2, work->R, k, x);
    for (int64_t a = 0; a < k2; a++)
        v[kept[a]] += x[a];
    return 0;
}

/* A row that keeps everything: stage A does nothing and (H_22)^-1 = U_22^T U_22 is at hand. */
static void solve_full_row(const pons_solve_panel *panel, int64_t i, row_work *work,
                           pons_quantize_left quantize, void *user, float *v)
{
    int64_t d = panel->d, p = panel->split, tail = d - p;
    const float *w = panel->W + i * d, *U = panel->factor->U + p * d + p;
    float *x = work->x, *e = work->e;
    memcpy(v, w, (size_t)d * sizeof *v);
    if (p == 0) return;
    quantize(user, i, v);
    if (tail == 0 || panel->keep_full_rows) return;
    for (int64_t j = 0; j < p; j++)
        e[j] = w[j] - v[j];
    pons_dense_multiply_transposed(p, tail, panel->factor->H + p, d, e, x);
    pons_dense_multiply_gram(tail, U, d, x);
    for (int64_t j = 0; j < tail; j++)
        v[p + j] += x[j];
}

static bool row_finite(int64_t d, const float *v)
{
    bool finite = true;
    for (int64_t j = 0; j < d; j++)
        finite &= isfinite(v[j]) != 0;
    return finite;
}

pons_status pons_solve_direct(const pons_solve_panel *panel, pons_quantize_left quantize,
                              void *user, float *V, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    int64_t rows = panel->rows, d = panel->d, widest = 0, bad_row = rows, threads;
    int64_t bad_info = 0;
    float *b = NULL, *space = NULL;
    int32_t *kept = NULL;
    double start = pons_clock();

    PONS_ALLOC(st, b, rows * d);
    for (int64_t i = 0; i < rows; i++) { /* V holds the pruned entries until their row is solved */
        int64_t k = 0;
        for (int64_t j = 0; j < d; j++) {
            bool keep = panel->mask[i * d + j] != 0;
            V[i * d + j] = keep ? 0.0f : panel->W[i * d + j];
            k += keep;
        }
        if (k < d && k > widest) widest = k;
    }
    PONS_TRY(st, pons_panel_multiply(panel->row, rows, d, V, panel->factor->H, b));

    threads = omp_get_max_threads();
    PONS_ALLOC(st, space, threads * (widest * widest + 2 * d));
    PONS_ALLOC(st, kept, threads * d);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < rows; i++) {
        int thread = omp_get_thread_num();
        float *own = space + thread * (widest * widest + 2 * d);
        row_work work = {own + 2 * d, own, own + d, kept + thread * d};
        float *v = V + i * d;
        int64_t k = 0;
        for (int64_t j = 0; j < d; j++)
            k += panel->mask[i * d + j];
        int64_t info = 0;
        if (k == 0)
            memset(v, 0, (size_t)d * sizeof *v);
        else if (k == d)
            solve_full_row(panel, i, &work, quantize, user, v);
        else
            info = solve_row(panel, i, b + i * d, &work, quantize, user, v);
        if (info == 0 && !row_finite(d, v)) info = -1;
        if (info) {
#pragma omp critical(pons_solve_direct)
            if (i < bad_row) {
                bad_row = i;
                bad_info = info;
            }
        }
    }
    if (bad_row < rows)
        st = bad_info > 0
                 ? pons_fail(PONS_ERR_NUMERIC,
                             "%s: row %lld: the Hessian of its kept columns is not positive "
                             "definite (minor %lld); raise obr.damping",
                             panel->name, (long long)(panel->row + bad_row), (long long)bad_info)
                 : pons_fail(PONS_ERR_NUMERIC, "%s: row %lld: compensated weights are NaN or Inf",
                             panel->name, (long long)(panel->row + bad_row));
    if (metrics) metrics->solve_seconds += pons_clock() - start;
done:
    pons_mem_free(kept);
    pons_mem_free(space);
    pons_mem_free(b);
    return st;
}
