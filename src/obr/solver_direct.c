/* The masked solves by one Cholesky per row. Exact up to fp32 rounding; the oracle of the dual
 * solver. Owns the per-row algebra; knows nothing of grids (the callback rounds) or of GPTQ.
 * Specification 3.2, 3.3.
 *
 * The kept columns are taken in descending order, so the trailing ones I2 come first and the leading
 * block L11 of the factor L of H_II is the factor of H_I2I2: stage B costs two triangular products.
 *   A:  dA = H_II^-1 b,  b = (w off the mask) H at I
 *   B:  e = w'_1 - Q(w'_1);  dB = H_22^-1 H_21 e = L11^-T (L21^T e)  since H_21 = L11 L21^T */
#include "obr/solver.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "obr/panel.h"

extern void spotrf_(const char *uplo, const int *n, float *A, const int *lda, int *info);

/* What one thread works in, for rows with at most k kept columns of d. */
typedef struct row_work {
    float *L;      /* [k, k] column-major lower */
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

/* L (column-major lower triangle) <- H at the kept columns, factored; 0 or the failing minor. */
static int factor_kept(int64_t k, const int32_t *kept, const float *H, int64_t d, float *L)
{
    for (int64_t a = 0; a < k; a++) {
        const float *h = H + (int64_t)kept[a] * d;
        float *column = L + a * k;
        for (int64_t b = a; b < k; b++)
            column[b] = h[kept[b]];
    }
    int n = (int)k, info = 0;
    spotrf_("L", &n, L, &n, &info);
    for (int64_t a = 0; info == 0 && a < k; a++) /* potrf lets a NaN pivot pass */
        if (!isfinite(L[a * k + a])) info = (int)a + 1;
    return info;
}

/* Stage A and B of a row with pruned and kept columns. @param b [d] (w off the mask) H */
static int solve_row(const pons_solve_panel *panel, int64_t i, const float *b, row_work *work,
                     pons_quantize_left quantize, void *user, float *v)
{
    int64_t d = panel->d, k2, k;
    const float *w = panel->W + i * d;
    float *x = work->x, *e = work->e;
    k = list_kept(d, panel->split, panel->mask + i * d, work->kept, &k2);
    const int32_t *kept = work->kept;
    int info = factor_kept(k, kept, panel->factor->H, d, work->L);
    if (info) return info;
    for (int64_t a = 0; a < k; a++)
        x[a] = b[kept[a]];
    cblas_strsv(CblasColMajor, CblasLower, CblasNoTrans, CblasNonUnit, (int)k, work->L, (int)k, x,
                1);
    cblas_strsv(CblasColMajor, CblasLower, CblasTrans, CblasNonUnit, (int)k, work->L, (int)k, x, 1);
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
    cblas_sgemv(CblasColMajor, CblasTrans, (int)(k - k2), (int)k2, 1.0f, work->L + k2, (int)k,
                e + k2, 1, 0.0f, x, 1);
    cblas_strsv(CblasColMajor, CblasLower, CblasTrans, CblasNonUnit, (int)k2, work->L, (int)k, x,
                1);
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
    cblas_sgemv(CblasRowMajor, CblasTrans, (int)p, (int)tail, 1.0f, panel->factor->H + p, (int)d, e,
                1, 0.0f, x, 1);
    cblas_strmv(CblasRowMajor, CblasUpper, CblasNoTrans, CblasNonUnit, (int)tail, U, (int)d, x, 1);
    cblas_strmv(CblasRowMajor, CblasUpper, CblasTrans, CblasNonUnit, (int)tail, U, (int)d, x, 1);
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
    int bad_info = 0;
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
        int info = 0;
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
                             "definite (minor %d); raise obr.damping",
                             panel->name, (long long)(panel->row + bad_row), bad_info)
                 : pons_fail(PONS_ERR_NUMERIC, "%s: row %lld: compensated weights are NaN or Inf",
                             panel->name, (long long)(panel->row + bad_row));
    if (metrics) metrics->solve_seconds += pons_clock() - start;
done:
    pons_mem_free(kept);
    pons_mem_free(space);
    pons_mem_free(b);
    return st;
}
