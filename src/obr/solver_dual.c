/* The masked solves through the inverse Hessian, all rows at once. Owns the conjugate gradients, their
 * stopping rule and their verification; what they cannot do it hands to pons_solve_direct.
 *
 * With K = H^-1, target y and pruned set E of a row, the minimiser of (x - y) H (x - y)^T with x zero on
 * E is x = y - l K where K_EE l = y_E. K_EE is well conditioned where H_II is not, and K is the same for
 * every row: an iteration is one product of [rows, n] with [n, n]. K is scaled to unit diagonal first.
 *   A: y = w over all columns
 *   B: the correction of the trailing columns T after rounding the left ones, e = w'_L - Q(w'_L):
 *      y = e H_LT K_T, K_T = (H_TT)^-1 = U_TT^T U_TT, pruned set within T
 * The increments of the dual objective add up to the optimum from below, the masked x bounds it from
 * above: the stopping rule compares the last increment with the sum, the verification compares the two
 * bounds. A row stops by its own numbers alone, so its bits do not depend on the others. */
#include "obr/solver.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "obr/panel.h"

#define TILE 256        /* columns of a product */
#define CHUNK_PANELS 16 /* panels in flight: bounds the work space */
#define LANES 8
#define ITERATIONS 60
#define TOLERANCE 1e-8   /* last increment over their sum */
#define LARGEST_GAP 1e-4 /* of the two bounds, relative */

/* One least-squares problem per row over n columns that share a Hessian. */
typedef struct stage {
    int64_t n;
    const float *H; /* [n, n], leading dimension ldh */
    int64_t ldh;
    float *K;    /* [n, n] inverse of H scaled to unit diagonal */
    float *unit; /* [n] square roots of the inverse's diagonal */
} stage;

/* State of up to CHUNK_PANELS panels; arrays are [panels * PONS_ROW_PANEL, n], zero in the padding. */
typedef struct state {
    float *Y;     /* targets y, then the minimiser x */
    float *V;     /* (l K) over unit */
    float *R;     /* residual on E */
    float *P, *Q; /* direction, its product */
    double *rr, *sum;
    bool *active, *failed; /* per row */
    int64_t iterations;
} state;

static double dot(int64_t n, const float *a, const float *b)
{
    double lane[LANES] = {0}, total = 0.0;
    int64_t whole = n / LANES * LANES;
    for (int64_t j = 0; j < whole; j += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += (double)a[j + l] * (double)b[j + l];
    for (int64_t j = whole; j < n; j++)
        total += (double)a[j] * (double)b[j];
    for (int l = 0; l < LANES; l++)
        total += lane[l];
    return total;
}

/* stage->K, stage->unit from the n x n upper triangle U: K = U^T U, tile by tile. */
static void invert(stage *s, const float *U, int64_t ldu)
{
    int64_t n = s->n, tiles = (n + TILE - 1) / TILE;
    float *K = s->K;
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < tiles * tiles; item++) {
        int64_t i = item % tiles * TILE, j = item / tiles * TILE;
        int64_t ni = n - i < TILE ? n - i : TILE, nj = n - j < TILE ? n - j : TILE;
        if (i > j) continue;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)ni, (int)nj, (int)(i + ni), 1.0f,
                    U + i, (int)ldu, U + j, (int)ldu, 0.0f, K + i * n + j, (int)n);
    }
    for (int64_t j = 0; j < n; j++)
        s->unit[j] = sqrtf(K[j * n + j]);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++)
            K[i * n + j] = K[i * n + j] / (s->unit[i] * s->unit[j]);
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            K[i * n + j] = K[j * n + i];
}

/* C = A B for the listed panels: A [panels, PONS_ROW_PANEL, k], B [k, n], C [panels, PONS_ROW_PANEL, n].
 */
static void multiply(int64_t count, const int64_t *panels, int64_t n, int64_t k, const float *A,
                     const float *B, int64_t ldb, float *C)
{
    int64_t tiles = (n + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < count * tiles; item++) {
        int64_t first = panels[item % count] * PONS_ROW_PANEL, j = item / count * TILE;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, PONS_ROW_PANEL,
                    (int)(n - j < TILE ? n - j : TILE), (int)k, 1.0f, A + first * k, (int)k, B + j,
                    (int)ldb, 0.0f, C + first * n + j, (int)n);
    }
}

static void scale_columns(int64_t rows, int64_t n, const float *factor, float *X)
{
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            X[i * n + j] *= factor[j];
}

/* Next CG step of one row after Q = P K. */
static void step(const stage *s, state *t, int64_t i, const uint8_t *mask)
{
    int64_t n = s->n;
    float *p = t->P + i * n, *q = t->Q + i * n, *r = t->R + i * n, *v = t->V + i * n;
    double pq = dot(n, p, q), alpha = t->rr[i] / pq;
    if (!(pq > 0.0) || !isfinite(alpha)) {
        t->failed[i] = true;
        t->active[i] = false;
        return;
    }
    float a = (float)alpha;
    for (int64_t j = 0; j < n; j++) {
        v[j] += a * q[j];
        r[j] = mask[j] ? 0.0f : r[j] - a * q[j];
    }
    double increment = alpha * t->rr[i], rr = dot(n, r, r);
    t->sum[i] += increment;
    t->active[i] = increment > TOLERANCE * t->sum[i] && rr > 0.0;
    float b = (float)(rr / t->rr[i]);
    t->rr[i] = rr;
    for (int64_t j = 0; j < n; j++)
        p[j] = r[j] + b * p[j];
}

/* The panels of which some row is still active; returns how many. */
static int64_t active_panels(const state *t, int64_t panels, int64_t *list)
{
    int64_t count = 0;
    for (int64_t k = 0; k < panels; k++) {
        bool any = false;
        for (int64_t r = 0; r < PONS_ROW_PANEL; r++)
            any |= t->active[k * PONS_ROW_PANEL + r];
        if (any) list[count++] = k;
    }
    return count;
}

/*
 * Solve every row of a chunk. Rows [lead, lead + rows) of the state are real; row i's mask is at
 * mask + (i - lead) * ldm. On entry Y holds y, on exit x.
 */
static void minimise(const stage *s, state *t, int64_t lead, int64_t rows, const uint8_t *mask,
                     int64_t ldm)
{
    int64_t n = s->n, panels = pons_panel_count(lead, rows), list[CHUNK_PANELS];
    memset(t->active, 0, (size_t)(panels * PONS_ROW_PANEL));
    memset(t->V, 0, (size_t)(panels * PONS_ROW_PANEL * n) * sizeof *t->V);
#pragma omp parallel for
    for (int64_t i = lead; i < lead + rows; i++) {
        const uint8_t *keep = mask + (i - lead) * ldm;
        float *r = t->R + i * n;
        int64_t kept = 0;
        for (int64_t j = 0; j < n; j++) {
            r[j] = keep[j] ? 0.0f : t->Y[i * n + j] / s->unit[j];
            kept += keep[j];
        }
        memcpy(t->P + i * n, r, (size_t)n * sizeof *r);
        t->rr[i] = dot(n, r, r);
        t->sum[i] = 0.0;
        t->active[i] = kept > 0 && t->rr[i] > 0.0; /* keeping nothing, x is 0 */
    }
    for (int k = 0; k < ITERATIONS; k++) {
        int64_t count = active_panels(t, panels, list);
        if (count == 0) break;
        multiply(count, list, n, n, t->P, s->K, n, t->Q);
        t->iterations += count;
#pragma omp parallel for schedule(dynamic, 4)
        for (int64_t i = lead; i < lead + rows; i++)
            if (t->active[i]) step(s, t, i, mask + (i - lead) * ldm);
    }

    /* Verification: D = x - y in P, D H in Q. */
#pragma omp parallel for
    for (int64_t i = lead; i < lead + rows; i++) {
        const uint8_t *keep = mask + (i - lead) * ldm;
        float *y = t->Y + i * n, *v = t->V + i * n, *D = t->P + i * n;
        for (int64_t j = 0; j < n; j++) {
            float x = keep[j] ? y[j] - v[j] * s->unit[j] : 0.0f;
            D[j] = x - y[j];
            y[j] = x;
        }
        if (t->active[i] || !isfinite(t->rr[i])) t->failed[i] = true;
    }
    for (int64_t k = 0; k < panels; k++)
        list[k] = k;
    multiply(panels, list, n, n, t->P, s->H, s->ldh, t->Q);
#pragma omp parallel for
    for (int64_t i = lead; i < lead + rows; i++) {
        double above = dot(n, t->P + i * n, t->Q + i * n), below = t->sum[i];
        if (below > 0.0 && !(fabs(above - below) <= LARGEST_GAP * below)) t->failed[i] = true;
    }
}

/* Y <- the targets y = e H_LT K_T of stage B, e what rounding took from columns < split; the rows are
 * those of solve_chunk. On entry Y holds stage A's result, V its rounded copy. */
static void trailing_targets(const pons_solve_panel *panel, int64_t first, int64_t rows,
                             int64_t lead, const stage *B, state *t, const float *V)
{
    int64_t d = panel->d, p = panel->split, n = B->n;
    int64_t panels = pons_panel_count(lead, rows), list[CHUNK_PANELS];
    float *E = t->R, *G = t->Q; /* [panels, PONS_ROW_PANEL, p], [.., n] */
    memset(E, 0, (size_t)(panels * PONS_ROW_PANEL * p) * sizeof *E);
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++) {
        bool full = panel->keep_full_rows;
        for (int64_t j = 0; full && j < d; j++)
            full = panel->mask[(first + i) * d + j] != 0;
        for (int64_t j = 0; !full && j < p; j++)
            E[(lead + i) * p + j] = t->Y[(lead + i) * d + j] - V[(first + i) * d + j];
    }
    for (int64_t k = 0; k < panels; k++)
        list[k] = k;
    multiply(panels, list, n, p, E, panel->factor->H + p, d, G);
    scale_columns(panels * PONS_ROW_PANEL, n, B->unit, G);
    multiply(panels, list, n, n, G, B->K, n, t->Y);
    scale_columns(panels * PONS_ROW_PANEL, n, B->unit, t->Y);
}

/* Both stages of the rows [first, first + rows) of the panel. @param failed [panel->rows] */
static void solve_chunk(const pons_solve_panel *panel, int64_t first, int64_t rows, const stage *A,
                        const stage *B, state *t, pons_quantize_left quantize, void *user, float *V,
                        bool *failed)
{
    int64_t d = panel->d, p = panel->split, n = B->n, lead = (panel->row + first) % PONS_ROW_PANEL;
    size_t padded = (size_t)(pons_panel_count(lead, rows) * PONS_ROW_PANEL);
    const uint8_t *mask = panel->mask + first * d;
    memset(t->Y, 0, padded * (size_t)d * sizeof *t->Y);
    memset(t->P, 0, padded * (size_t)d * sizeof *t->P);
    memset(t->failed, 0, padded);
    memcpy(t->Y + lead * d, panel->W + first * d, (size_t)(rows * d) * sizeof *t->Y);
    minimise(A, t, lead, rows, mask, d);
    memcpy(V + first * d, t->Y + lead * d, (size_t)(rows * d) * sizeof *V);
    if (p > 0) {
#pragma omp parallel for
        for (int64_t i = first; i < first + rows; i++)
            quantize(user, i, V + i * d);
    }
    if (p > 0 && n > 0) {
        trailing_targets(panel, first, rows, lead, B, t, V);
        memset(t->P, 0, padded * (size_t)n * sizeof *t->P);
        minimise(B, t, lead, rows, mask + p, d);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < n; j++)
                V[(first + i) * d + p + j] += t->Y[(lead + i) * n + j];
    }
    memcpy(failed + first, t->failed + lead, (size_t)rows);
}

/* The direct solver sees one row; its callback must still find the row's grid. */
typedef struct shifted {
    pons_quantize_left quantize;
    void *user;
    int64_t row;
} shifted;

static void quantize_shifted(void *user, int64_t row, float *value)
{
    const shifted *s = user;
    s->quantize(s->user, s->row + row, value);
}

static pons_status solve_failed(const pons_solve_panel *panel, int64_t i,
                                pons_quantize_left quantize, void *user, float *V)
{
    pons_solve_panel one = *panel;
    shifted s = {quantize, user, i};
    one.row = panel->row + i;
    one.rows = 1;
    one.W = panel->W + i * panel->d;
    one.mask = panel->mask + i * panel->d;
    return pons_solve_direct(&one, quantize_shifted, &s, V + i * panel->d, NULL);
}

static pons_status stage_create(stage *s, int64_t n, const float *H, const float *U, int64_t ld)
{
    pons_status st = PONS_OK;
    *s = (stage){.n = n, .H = H, .ldh = ld};
    if (n == 0) return PONS_OK;
    PONS_ALLOC(st, s->K, n * n);
    PONS_ALLOC(st, s->unit, n);
    invert(s, U, ld);
done:
    return st;
}

static void stage_destroy(stage *s)
{
    pons_mem_free(s->unit);
    pons_mem_free(s->K);
}

static pons_status state_create(state *t, int64_t rows, int64_t d)
{
    pons_status st = PONS_OK;
    PONS_ALLOC(st, t->Y, rows * d);
    PONS_ALLOC(st, t->V, rows * d);
    PONS_ALLOC(st, t->R, rows * d);
    PONS_ALLOC(st, t->P, rows * d);
    PONS_ALLOC(st, t->Q, rows * d);
    PONS_ALLOC(st, t->rr, rows);
    PONS_ALLOC(st, t->sum, rows);
    PONS_ALLOC(st, t->active, rows);
    PONS_ALLOC(st, t->failed, rows);
done:
    return st;
}

static void state_destroy(state *t)
{
    pons_mem_free(t->failed);
    pons_mem_free(t->active);
    pons_mem_free(t->sum);
    pons_mem_free(t->rr);
    pons_mem_free(t->Q);
    pons_mem_free(t->P);
    pons_mem_free(t->R);
    pons_mem_free(t->V);
    pons_mem_free(t->Y);
}

pons_status pons_solve_dual(const pons_solve_panel *panel, pons_quantize_left quantize, void *user,
                            float *V, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    const pons_hessian_factor *f = panel->factor;
    int64_t d = panel->d, p = panel->split, rows = panel->rows, iterations = 0, fallbacks = 0;
    int64_t panels = pons_panel_count(panel->row, rows), threads = omp_get_max_threads();
    /* Many panels: each thread takes one at a time (the loops inside are then serial). Few: some
     * panels at once, all threads inside. The arithmetic is the same. */
    bool alone = panels >= 2 * threads;
    int64_t chunk = alone ? 1 : panels < CHUNK_PANELS ? panels : CHUNK_PANELS;
    int64_t workers = alone ? threads : 1;
    stage A = {0}, B = {0};
    state *work = NULL;
    bool *failed = NULL;
    double start = pons_clock();
    PONS_TRY(st, stage_create(&A, d, f->H, f->U, d));
    if (p > 0) PONS_TRY(st, stage_create(&B, d - p, f->H + p * d + p, f->U + p * d + p, d));
    PONS_ALLOC(st, failed, rows);
    PONS_CALLOC(st, work, workers);
    for (int64_t k = 0; k < workers; k++)
        PONS_TRY(st, state_create(&work[k], chunk * PONS_ROW_PANEL, d));
#pragma omp parallel for schedule(dynamic) if (alone)
    for (int64_t k = 0; k < panels; k += chunk) {
        pons_panel begin = pons_panel_at(panel->row, rows, k);
        pons_panel end =
            pons_panel_at(panel->row, rows, k + chunk < panels ? k + chunk - 1 : panels - 1);
        solve_chunk(panel, begin.first, end.first + end.count - begin.first, &A, &B,
                    &work[alone ? omp_get_thread_num() : 0], quantize, user, V, failed);
    }
    for (int64_t k = 0; k < workers; k++)
        iterations += work[k].iterations;
    for (int64_t i = 0; i < rows; i++) {
        if (!failed[i]) continue;
        fallbacks++;
        PONS_TRY(st, solve_failed(panel, i, quantize, user, V));
    }
    if (metrics) {
        metrics->solve_seconds += pons_clock() - start;
        metrics->iterations += iterations;
        metrics->fallbacks += fallbacks;
    }
done:
    for (int64_t k = 0; work && k < workers; k++)
        state_destroy(&work[k]);
    pons_mem_free(work);
    pons_mem_free(failed);
    stage_destroy(&B);
    stage_destroy(&A);
    return st;
}
