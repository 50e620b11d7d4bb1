/* Dead columns, damping, and the two matrices that solvers read. The Cholesky factor and its
 * inverse are linalg's; does not accumulate, sum or store Hessians. Specification 2.1, 3.4.
 *
 * With J the reversal of order, J H J = L L^T (L lower) is H = R R^T with R = J L J upper, and
 * U = R^-1 = J L^-1 J is upper with U^T U = H^-1. So entry (i, j) of H is (d-1-i, d-1-j) of the
 * tiles, and their lower triangle is H's upper one. */
#include "hessian/factor.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "linalg/tiles.h"

struct pons_hessian_factor_making {
    pons_tiles *tiles;
    double *diagonal; /* [d] of H */
    bool finite;
};

static void making_destroy(struct pons_hessian_factor_making **making)
{
    if (!*making) return;
    pons_tiles_destroy(&(*making)->tiles);
    pons_mem_free((*making)->diagonal);
    pons_mem_free(*making);
    *making = NULL;
}

/* Memory for width d on every node of comm; `zero` below U's diagonal. Collective. */
static pons_status create_empty(pons_comm *comm, int64_t d, bool zero, pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    size_t bytes = (size_t)(d * d) * sizeof(float);
    pons_hessian_factor *f = pons_mem_calloc(1, sizeof *f);
    if (f) {
        f->comm = comm;
        f->d = d;
        f->norm = pons_mem_alloc(d, sizeof *f->norm);
        f->dead = pons_mem_calloc(d, sizeof *f->dead);
    }
    PONS_TRY_ALL(st, comm, f && f->norm && f->dead ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_shared_create(comm, bytes, &f->shared[0]));
    PONS_TRY(st,
             (zero ? pons_shared_create_zeroed : pons_shared_create)(comm, bytes, &f->shared[1]));
    f->H = pons_shared_data(f->shared[0]);
    f->U = pons_shared_data(f->shared[1]);
    *out = f;
    f = NULL;
done:
    pons_hessian_factor_destroy(&f);
    return st;
}

pons_status pons_hessian_factor_begin(pons_comm *comm, int64_t d, pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *f = NULL;
    struct pons_hessian_factor_making *m = pons_mem_calloc(1, sizeof *m);
    *out = NULL;
    if (m) *m = (struct pons_hessian_factor_making){.finite = true};
    if (m) m->diagonal = pons_mem_alloc(d, sizeof *m->diagonal);
    PONS_TRY_ALL(st, comm, m && m->diagonal ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, create_empty(comm, d, true, &f));
    PONS_TRY(st, pons_tiles_create(comm, d, &m->tiles));
    f->making = m;
    *out = f;
    f = NULL;
    m = NULL;
done:
    making_destroy(&m);
    pons_hessian_factor_destroy(&f);
    return st;
}

/* The part of the rows that lies in one of this rank's tiles. @param H entry (first, first) */
static void fill_tile(int64_t d, int64_t b, int64_t ti, int64_t tj, double *tile, int64_t first,
                      int64_t rows, const double *H, int64_t ld)
{
    for (int64_t r = 0; r < b; r++) {
        int64_t i = d - 1 - ti * b - r;
        if (i < first || i >= first + rows) continue;
        for (int64_t c = 0; c < b; c++) {
            int64_t j = d - 1 - tj * b - c;
            if (j >= i) tile[r * b + c] = H[(i - first) * ld + j - first];
        }
    }
}

/* This rank's part of the node's H in fp32: the ranks that share it take squares in turn. */
static void fill_shared(pons_hessian_factor *f, int64_t first, int64_t rows, const double *H,
                        int64_t ld)
{
    enum { SQUARE = 64 };
    int64_t d = f->d, across = (d - first + SQUARE - 1) / SQUARE;
    int64_t squares = (rows + SQUARE - 1) / SQUARE * across;
    int rank = pons_shared_rank(f->shared[0]), size = pons_shared_size(f->shared[0]);
#pragma omp parallel for schedule(dynamic)
    for (int64_t s = rank; s < squares; s += size) {
        int64_t i0 = s / across * SQUARE, j0 = s % across * SQUARE;
        int64_t i1 = i0 + SQUARE < rows ? i0 + SQUARE : rows;
        int64_t j1 = j0 + SQUARE < d - first ? j0 + SQUARE : d - first;
        for (int64_t i = i0; i < i1; i++)
            for (int64_t j = j0 > i ? j0 : i; j < j1; j++) {
                float h = (float)H[i * ld + j];
                f->H[(first + i) * d + first + j] = h;
                f->H[(first + j) * d + first + i] = h;
            }
    }
}

void pons_hessian_factor_take(pons_hessian_factor *f, int64_t first, int64_t rows, const double *H,
                              int64_t ld)
{
    struct pons_hessian_factor_making *m = f->making;
    int64_t d = f->d, b = pons_tiles_side(d), n = (d + b - 1) / b;
    bool finite = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : finite)
    for (int64_t i = 0; i < rows; i++) {
        bool good = true;
        for (int64_t j = i; j < d - first; j++)
            good &= isfinite(H[i * ld + j]) != 0;
        finite = finite && good;
        m->diagonal[first + i] = H[i * ld + i];
    }
    m->finite &= finite;
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < n * n; item++) {
        int64_t ti = item / n, tj = item % n;
        double *tile = tj <= ti ? pons_tiles_at(m->tiles, ti, tj) : NULL;
        if (tile) fill_tile(d, b, ti, tj, tile, first, rows, H, ld);
    }
    fill_shared(f, first, rows, H, ld);
}

/* Dead columns, norms, damping; false when something is not a number. */
static bool damp(pons_hessian_factor *f, const double *norm, double percdamp)
{
    struct pons_hessian_factor_making *m = f->making;
    int64_t d = f->d, b = pons_tiles_side(d);
    int rank = pons_shared_rank(f->shared[0]), size = pons_shared_size(f->shared[0]);
    double mean = 0.0;
    for (int64_t j = 0; j < d; j++) {
        m->finite &= isfinite(norm[j]) != 0;
        f->norm[j] = (float)norm[j];
        f->dead[j] = m->diagonal[j] == 0.0;
        f->dead_count += f->dead[j];
        mean += f->dead[j] ? 1.0 : m->diagonal[j];
    }
    if (!m->finite) return false;
    f->damping = percdamp * (mean / (double)d);
    for (int64_t j = 0; j < d; j++) {
        double h = (f->dead[j] ? 1.0 : m->diagonal[j]) + f->damping;
        int64_t at = d - 1 - j, k = at / b;
        double *tile = pons_tiles_at(m->tiles, k, k);
        if (tile) tile[at % b * b + at % b] = h;
        if (j % size == rank) f->H[j * d + j] = (float)h;
    }
    return true;
}

/* pons_tiles_take: what this rank writes of the node's U. */
static void put_tile(void *user, int64_t ti, int64_t tj, const double *X)
{
    pons_hessian_factor *f = user;
    int64_t d = f->d, b = pons_tiles_side(d);
    if ((ti + tj) % pons_shared_size(f->shared[1]) != pons_shared_rank(f->shared[1])) return;
    for (int64_t r = 0; r < b && ti * b + r < d; r++) {
        int64_t i = d - 1 - ti * b - r;
        for (int64_t c = 0; c < b && tj * b + c <= ti * b + r; c++)
            f->U[i * d + d - 1 - tj * b - c] = (float)X[r * b + c];
    }
}

pons_status pons_hessian_factor_finish(pons_hessian_factor *f, const double *norm, double percdamp,
                                       int64_t *info)
{
    pons_status st = PONS_OK;
    pons_shared_settle(f->shared[0]); /* before the diagonal is written by another rank */
    *info = damp(f, norm, percdamp) ? 0 : -1;
    if (*info == 0) PONS_TRY(st, pons_tiles_invert_factor(f->making->tiles, put_tile, f, info));
    pons_shared_settle(f->shared[0]);
    pons_shared_settle(f->shared[1]);
    for (int64_t j = 0; j < f->d && *info == 0; j++)
        if (!isfinite(f->U[j * f->d + j])) *info = -1;
done:
    making_destroy(&f->making);
    return st;
}

pons_status pons_hessian_factor_create(int64_t d, const double *H, const double *norm,
                                       double percdamp, int64_t *info, pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *f = NULL;
    *out = NULL;
    *info = 0;
    PONS_TRY(st, pons_hessian_factor_begin(pons_par_alone(), d, &f));
    pons_hessian_factor_take(f, 0, d, H, d);
    PONS_TRY(st, pons_hessian_factor_finish(f, norm, percdamp, info));
    if (*info) goto done;
    *out = f;
    f = NULL;
done:
    pons_hessian_factor_destroy(&f);
    return st;
}

/* This rank's rows of the trailing matrices. H and U may be shared by different ranks of a node. */
static void copy_trailing(const pons_hessian_factor *factor, int64_t from, pons_hessian_factor *f)
{
    int64_t d = factor->d, n = f->d;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = (from + i) * d + from;
        f->norm[i] = factor->norm[from + i];
        f->dead[i] = factor->dead[from + i];
        f->dead_count += f->dead[i];
        if (i % pons_shared_size(f->shared[0]) == pons_shared_rank(f->shared[0]))
            memcpy(f->H + i * n, factor->H + at, (size_t)n * sizeof *f->H);
        if (i % pons_shared_size(f->shared[1]) == pons_shared_rank(f->shared[1]))
            memcpy(f->U + i * n, factor->U + at, (size_t)n * sizeof *f->U);
    }
}

pons_status pons_hessian_factor_trailing(const pons_hessian_factor *factor, int64_t from,
                                         pons_hessian_factor **out)
{
    pons_status st = PONS_OK;
    pons_hessian_factor *f = NULL;
    PONS_ASSERT(from >= 0 && from < factor->d);
    PONS_TRY(st, create_empty(factor->comm, factor->d - from, false, &f));
    f->damping = factor->damping;
    copy_trailing(factor, from, f);
    pons_shared_settle(f->shared[0]);
    pons_shared_settle(f->shared[1]);
    *out = f;
done:
    return st;
}

/* The factor of n columns of H + rho I. @param column [n]; NULL: columns 0 to n - 1 */
static pons_status factor_again(const pons_hessian_factor *factor, pons_comm *comm, int64_t n,
                                const int64_t *column, double rho, int64_t *info,
                                pons_hessian_factor **out)
{
    enum { ROWS = 64 }; /* converted at a time */
    pons_status st = PONS_OK;
    pons_hessian_factor *f = NULL;
    double *rows = pons_mem_alloc(ROWS * n, sizeof *rows), *norm = pons_mem_calloc(n, sizeof *norm);
    *out = NULL;
    PONS_TRY_ALL(st, comm, rows && norm ? PONS_OK : PONS_ERR_NOMEM);
    PONS_TRY(st, pons_hessian_factor_begin(comm, n, &f));
    for (int64_t first = 0; first < n; first += ROWS) {
        int64_t count = n - first < ROWS ? n - first : ROWS;
        for (int64_t i = 0; i < count; i++) {
            int64_t row = column ? column[first + i] : first + i;
            for (int64_t j = i; j < n - first; j++) {
                int64_t at = row * factor->d + (column ? column[first + j] : first + j);
                rows[i * n + j] = factor->H[at] + (i == j ? rho : 0.0);
            }
        }
        pons_hessian_factor_take(f, first, count, rows, n);
    }
    PONS_TRY(st, pons_hessian_factor_finish(f, norm, 0.0, info));
    if (*info) goto done;
    *out = f;
    f = NULL;
done:
    pons_hessian_factor_destroy(&f);
    pons_mem_free(norm);
    pons_mem_free(rows);
    return st;
}

pons_status pons_hessian_factor_shifted(const pons_hessian_factor *factor, pons_comm *comm,
                                        double rho, int64_t *info, pons_hessian_factor **out)
{
    return factor_again(factor, comm, factor->d, NULL, rho, info, out);
}

pons_status pons_hessian_factor_ordered(const pons_hessian_factor *factor, int64_t n,
                                        const int64_t *column, double rho, int64_t *info,
                                        pons_hessian_factor **out)
{
    return factor_again(factor, factor->comm, n, column, rho, info, out);
}

void pons_hessian_factor_destroy(pons_hessian_factor **factor)
{
    pons_hessian_factor *f = *factor;
    if (!f) return;
    making_destroy(&f->making);
    pons_shared_destroy(&f->shared[1]);
    pons_shared_destroy(&f->shared[0]);
    pons_mem_free(f->dead);
    pons_mem_free(f->norm);
    pons_mem_free(f);
    *factor = NULL;
}
