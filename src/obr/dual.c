/* Owns the two stages of the iterative solvers around a minimiser, how rows are dealt to threads,
 * and what becomes of rows that failed. The memory of a thread is in chunk.c.
 *   A: y = w over all columns
 *   B: the correction of the trailing columns T after rounding the left ones, e = w'_L - Q(w'_L):
 *      y = (e H_LT - g) K_T, g the gradient that stage A left at kept columns
 * Rows that fail are solved by pons_solve_direct. */
#include "obr/chunk.h"

#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { MOST_BYTES = 64 << 20 }; /* of the vectors of one thread, about */

_Static_assert(PONS_ROW_SHARE % PONS_PRODUCT_ROWS == 0,
               "only the last block of a linear is padded");

/* A bf16 matrix of up to NEAR_BYTES stays in cache; then at most NEAR_ROWS rows share a pass over
 * it, so that their vectors stay there too. A larger matrix is read from memory in each pass: as
 * many rows as possible share it, and never fewer than FAR_ROWS. */
enum { NEAR_BYTES = 8 << 20, NEAR_ROWS = 256, FAR_ROWS = 2 * PONS_PRODUCT_ROWS };

/* Relative error of the objective in fp32, per unit of the condition of the inverse. */
#define UNCERTAINTY 0x1p-22

/* Targets of stage B to Y, for a chunk whose first row is `first`. On entry X and G are stage A's,
 * V is rounded. */
static void trailing_targets(pons_chunk *c, const pons_solve_panel *panel, int64_t first,
                             int64_t rows, const float *V)
{
    int64_t d = panel->d, p = panel->split, n = d - p, whole = c->A.inverse->of.padded;
    const pons_hessian_inverse *s = c->B.inverse;
    int64_t padded = s->of.padded;
    float *line = c->line, *change = line + whole;
    c->cg.of = pons_product_tiles_of(p);
    memset(line, 0, (size_t)(2 * whole) * sizeof *line);
    for (int64_t i = 0; i < rows; i++) {
        const float *x = c->X + i * whole, *w = panel->W + (first + i) * d;
        bool full = panel->keep_full_rows && !memchr(panel->mask + (first + i) * d, 0, (size_t)d);
        for (int64_t j = 0; j < p; j++)
            line[j] = full ? 0.0f : x[j] - V[(first + i) * d + j];
        pons_cg_put(&c->cg, false, i, line);
        pons_vector_subtract(d, x, w, change);
        c->change[i] =
            pons_vector_square(c->cg.of.padded, line) + pons_vector_square(whole, change);
    }
    pons_chunk_multiply(c, c->left, s->kind, rows);
    c->cg.of = s->of;
    for (int64_t i = 0; i < rows; i++) {
        float *b = c->b + i * padded;
        pons_cg_get(&c->cg, i, b);
        pons_vector_subtract(n, b, c->G + i * whole + p, b);
        pons_vector_multiply(padded, b, s->unit, line);
        pons_cg_put(&c->cg, false, i, line);
    }
    pons_chunk_multiply(c, c->B.product, s->kind, rows);
    for (int64_t i = 0; i < rows; i++) {
        float *y = c->Y + i * padded;
        pons_cg_get(&c->cg, i, y);
        pons_vector_multiply(padded, y, s->unit, y);
    }
}

static double count_iterations(const pons_chunk *c, int64_t rows)
{
    double sum = 0.0;
    for (int64_t i = 0; i < rows; i++)
        sum += c->cg.count[i];
    return sum;
}

/* Both stages of the rows [first, first + rows) of the panel. */
static void solve_chunk(const pons_dual *dual, pons_chunk_minimise *minimise,
                        const pons_solve_panel *panel, int64_t first, int64_t rows, pons_chunk *c,
                        pons_quantize_left quantize, void *user, float *V)
{
    int64_t d = panel->d, p = panel->split, n = d - p, padded = c->A.inverse->of.padded;
    const uint8_t *mask = panel->mask + first * d;
    for (int64_t i = 0; i < rows; i++) {
        memset(c->Y + i * padded, 0, (size_t)padded * sizeof *c->Y);
        memcpy(c->Y + i * padded, panel->W + (first + i) * d, (size_t)d * sizeof *c->Y);
        c->failed[i] = c->refined[i] = false;
        c->cg.count[i] = 0;
        c->cg.lower_bound[i] = c->rounding_bound[i] = 0.0;
    }
    minimise(c, &c->A, dual->tolerance, rows, mask, d);
    double stage_A = count_iterations(c, rows), size = (double)n / (double)d;
    c->products = stage_A + (double)rows; /* and one to check, at least */
    for (int64_t i = 0; i < rows; i++) {
        memcpy(V + (first + i) * d, c->X + i * padded, (size_t)d * sizeof *V);
        c->cg.lower_bound[i] = c->cg.sum[i];
        if (p > 0 && !c->failed[i]) quantize(user, first + i, V + (first + i) * d);
    }
    if (!c->B.inverse) return;
    trailing_targets(c, panel, first, rows, V);
    minimise(c, &c->B, dual->tolerance, rows, mask + p, d);
    c->products += (count_iterations(c, rows) - stage_A + (double)rows * 2.0) * size * size +
                   (double)rows * size * (1.0 - size);
    padded = c->B.inverse->of.padded;
    for (int64_t i = 0; i < rows; i++)
        pons_vector_add(n, c->X + i * padded, V + (first + i) * d + p);
}

/* The direct solver is given a part of the rows; its callback must still find the grid of a row. */
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

/* Solve runs of failed rows directly. */
static pons_status solve_failed(const pons_solve_panel *panel, const bool *failed,
                                pons_quantize_left quantize, void *user, float *V)
{
    pons_status st = PONS_OK;
    for (int64_t i = 0, end; i < panel->rows && st == PONS_OK; i = end) {
        for (end = i; end < panel->rows && failed[end] == failed[i];)
            end++;
        if (!failed[i]) continue;
        pons_solve_panel some = *panel;
        shifted s = {quantize, user, i};
        some.row = panel->row + i;
        some.rows = end - i;
        some.W = panel->W + i * panel->d;
        some.mask = panel->mask + i * panel->d;
        st = pons_solve_direct(&some, quantize_shifted, &s, V + i * panel->d, NULL);
    }
    return st;
}

int64_t pons_dual_rows(int64_t d, int64_t rows, int64_t threads)
{
    int64_t n = pons_product_tiles_of(d).padded;
    bool near = 2 * n * n <= NEAR_BYTES;
    int64_t limit = near ? NEAR_ROWS : PONS_CHUNK_ROWS;
    int64_t unit = near ? PONS_PRODUCT_ROWS : FAR_ROWS;
    int64_t most = MOST_BYTES / (20 * n) / unit * unit;
    if (most > limit) most = limit;
    if (most < unit) most = unit;
    int64_t chunks = (rows + most - 1) / most;
    if (threads > 1 && chunks < 2 * threads) chunks = 2 * threads;
    int64_t share = (rows + chunks - 1) / chunks;
    return (share + unit - 1) / unit * unit;
}

static void count_rows(const pons_chunk *c, int64_t rows, pons_row_metrics *m)
{
    m->products += c->products;
    m->product_seconds += c->cg.product_seconds;
    for (int64_t i = 0; i < rows; i++) {
        int32_t n = c->cg.count[i], last = PONS_ITERATION_BINS - 1;
        m->iterations += n;
        m->rows_by_iterations[n < last ? n : last]++;
        m->refined += c->refined[i];
        m->fallbacks += c->failed[i];
    }
}

/* Solve all rows in chunks, which the threads take in turn. @param failed [rows] out */
static pons_status solve_chunks(const pons_dual *dual, pons_chunk_minimise *minimise,
                                const pons_solve_panel *panel, pons_quantize_left quantize,
                                void *user, float *V, bool *failed, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    int64_t rows = panel->rows, threads = omp_get_max_threads(), made = 0;
    int64_t size = pons_dual_rows(panel->d, rows, threads);
    int64_t chunks = (rows + size - 1) / size;
    pons_chunk *work = NULL;
    bool refused = false;
    if (threads > chunks) threads = chunks;
    PONS_CALLOC(st, work, threads);
    for (; made < threads; made++)
        PONS_TRY(st, pons_chunk_create(dual, minimise == pons_primal_minimise, size, &work[made]));
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (int64_t k = 0; k < chunks; k++) {
        pons_chunk *c = &work[omp_get_thread_num()];
        int64_t first = k * size, count = rows - first < size ? rows - first : size;
        c->cg.product_seconds = 0.0;
        solve_chunk(dual, minimise, panel, first, count, c, quantize, user, V);
        memcpy(failed + first, c->failed, (size_t)count);
#pragma omp critical(pons_dual_solve)
        count_rows(c, count, metrics);
    }
    for (int64_t k = 0; k < threads; k++)
        refused |= work[k].refused;
    if (refused) st = pons_fail(PONS_ERR_BUG, "%s: a product failed to run", panel->name);
done:
    for (int64_t k = 0; work && k < threads; k++)
        pons_chunk_destroy(&work[k]);
    pons_mem_free(work);
    return st;
}

static pons_status solve(const pons_dual *dual, pons_chunk_minimise *minimise,
                         const pons_solve_panel *panel, pons_quantize_left quantize, void *user,
                         float *V, pons_row_metrics *metrics)
{
    pons_status st = PONS_OK;
    pons_row_metrics unused = {0}, *m = metrics ? metrics : &unused;
    bool *failed = NULL;
    double start = pons_clock();
    PONS_ASSERT(dual->factor == panel->factor && dual->split == panel->split);
    if (panel->rows == 0) return PONS_OK;
    PONS_ALLOC(st, failed, panel->rows);
    if (dual->A) {
        PONS_TRY(st, solve_chunks(dual, minimise, panel, quantize, user, V, failed, m));
    } else {
        memset(failed, 1, (size_t)panel->rows);
        m->fallbacks += panel->rows;
        m->rows_by_iterations[0] += panel->rows;
    }
    PONS_TRY(st, solve_failed(panel, failed, quantize, user, V));
    m->solve_seconds += pons_clock() - start;
done:
    pons_mem_free(failed);
    return st;
}

pons_status pons_dual_solve(const pons_dual *dual, const pons_solve_panel *panel,
                            pons_quantize_left quantize, void *user, float *V,
                            pons_row_metrics *metrics)
{
    return solve(dual, pons_dual_minimise, panel, quantize, user, V, metrics);
}

pons_status pons_primal_solve(const pons_dual *dual, const pons_solve_panel *panel,
                              pons_quantize_left quantize, void *user, float *V,
                              pons_row_metrics *metrics)
{
    return solve(dual, pons_primal_minimise, panel, quantize, user, V, metrics);
}

pons_status pons_dual_create(const pons_hessian_factor *factor, int64_t split, bool bf16,
                             bool exact, double tolerance, pons_dual **out)
{
    pons_status st = PONS_OK;
    pons_dual *s = pons_mem_calloc(1, sizeof *s);
    int64_t d = factor->d;
    PONS_TRY_ALL(st, factor->comm, s ? PONS_OK : PONS_ERR_NOMEM);
    *s = (pons_dual){.factor = factor, .split = split, .tolerance = tolerance};
    PONS_TRY(st, pons_hessian_inverse_create(factor, 0, bf16, exact ? 0.0 : tolerance, &s->A));
    if (!pons_comm_all(factor->comm, s->A->condition * UNCERTAINTY <= tolerance))
        pons_hessian_inverse_destroy(&s->A);
    if (s->A && split > 0 && split < d) {
        PONS_TRY(st, pons_hessian_inverse_create(factor, split, bf16, 0.0, &s->B));
        PONS_TRY(st, pons_product_create_shared(factor->comm, s->A->kind, split, d - split,
                                                factor->H, d, 0, split, &s->left));
    }
    *out = s;
    s = NULL;
done:
    pons_dual_destroy(&s);
    return st;
}

void pons_dual_destroy(pons_dual **dual)
{
    pons_dual *s = *dual;
    if (!s) return;
    pons_product_destroy(&s->left);
    pons_hessian_inverse_destroy(&s->B);
    pons_hessian_inverse_destroy(&s->A);
    pons_mem_free(s);
    *dual = NULL;
}
