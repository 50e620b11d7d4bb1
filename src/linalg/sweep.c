/* The sweep that turns a matrix into the inverse of its Cholesky factor. Owns the order of the
 * operations on tiles, which are in kern/cholesky_tile.h; tiles.c owns the tiles.
 *
 * Column k of L below the diagonal and row k of X = L^-1 up to it are together one panel of n
 * tiles, which every rank holds during step k: slot i > k is L_ik, slot j <= k is X_kj. */
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "kern/cholesky_tile.h"
#include "linalg/tiles_impl.h"

typedef struct sweep {
    pons_tiles *t;
    double *panel;  /* [n, side, side] in the order of `slot` */
    int64_t *slot;  /* [n] place of each tile in the panel: those of one rank are adjacent */
    size_t *offset; /* [ranks + 1] bytes at which a rank's tiles begin */
    double *corner; /* [side, side] L_kk */
    double *column; /* [side] work of pons_cholesky_tile_factor */
} sweep;

static double *slot(const sweep *s, int64_t i)
{
    return s->panel + s->slot[i] * s->t->side * s->t->side;
}

/* Collective: tile (k, k) factored on its owner, then L_kk everywhere. */
static int64_t factor_corner(sweep *s, int64_t k)
{
    pons_tiles *t = s->t;
    int64_t bad = 0;
    size_t bytes = (size_t)(t->side * t->side) * sizeof *s->corner;
    double *A = pons_tiles_at(t, k, k);
    int owner = pons_tiles_owner(t, k, k);
    if (A) {
        bad = pons_cholesky_tile_factor(pons_tiles_extent(t, k), A, t->side, s->column);
        memcpy(s->corner, A, bytes);
    }
    pons_comm_bcast(t->comm, &bad, sizeof bad, owner);
    if (!bad) pons_comm_bcast(t->comm, s->corner, bytes, owner);
    return bad ? k * t->side + bad : 0;
}

/* Which panel slots a rank fills in step k, in the order of ranks. */
static void deal_panel(sweep *s, int64_t k)
{
    const pons_tiles *t = s->t;
    int64_t next = 0, ranks = pons_comm_size(t->comm);
    size_t bytes = (size_t)(t->side * t->side) * sizeof(double);
    for (int r = 0; r < ranks; r++) {
        s->offset[r] = (size_t)next * bytes;
        for (int64_t i = 0; i < t->n; i++)
            if (pons_tiles_owner(t, i > k ? i : k, i > k ? k : i) == r) s->slot[i] = next++;
    }
    s->offset[ranks] = (size_t)next * bytes;
}

/* Collective: the panel of step k. L_ik = A_ik L_kk^-T, X_kj = L_kk^-1 B_kj. */
static void make_panel(sweep *s, int64_t k)
{
    pons_tiles *t = s->t;
    int64_t b = t->side;
    int64_t nk = pons_tiles_extent(t, k);
    deal_panel(s, k);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < t->n; i++) {
        double *A = i > k ? pons_tiles_at(t, i, k) : pons_tiles_at(t, k, i);
        if (!A) continue;
        if (i == k)
            pons_cholesky_tile_invert(nk, s->corner, A, b);
        else if (i > k)
            pons_cholesky_tile_divide_right(pons_tiles_extent(t, i), nk, s->corner, A, b);
        else
            pons_cholesky_tile_divide_left(nk, b, s->corner, A, b);
        memcpy(slot(s, i), A, (size_t)(b * b) * sizeof *A);
    }
    pons_comm_allgather_parts(t->comm, s->panel, s->offset);
}

/* Rows below k take their part of step k. Local. */
static void update(sweep *s, int64_t k)
{
    const pons_tiles *t = s->t;
    int64_t n = t->n, rows = n - k - 1;
    int64_t b = t->side, nk = pons_tiles_extent(t, k);
    /* the longest rows first, so that threads end together */
#pragma omp parallel for schedule(dynamic)
    for (int64_t item = 0; item < rows * n; item++) {
        int64_t i = n - 1 - item / n, j = item % n;
        double *C = j <= i ? pons_tiles_at(t, i, j) : NULL;
        if (!C) continue;
        int64_t ni = pons_tiles_extent(t, i), nj = pons_tiles_extent(t, j);
        pons_cholesky_tile_update(ni, nj, nk, slot(s, i), slot(s, j), j > k, j != k, C, b);
    }
}

/* Row k of X, tile by tile. Local. */
static void hand_over(const sweep *s, int64_t k, pons_tiles_take take, void *user)
{
#pragma omp parallel for schedule(dynamic)
    for (int64_t j = 0; j <= k; j++)
        take(user, k, j, slot(s, j));
}

pons_status pons_tiles_invert_factor(pons_tiles *t, pons_tiles_take take, void *user, int64_t *info)
{
    pons_status st = PONS_OK;
    int64_t size = t->side * t->side;
    sweep s = {.t = t};
    *info = 0;
    s.panel = pons_mem_alloc(t->n * size, sizeof *s.panel);
    s.corner = pons_mem_alloc(size, sizeof *s.corner);
    s.column = pons_mem_alloc(t->side, sizeof *s.column);
    s.slot = pons_mem_alloc(t->n, sizeof *s.slot);
    s.offset = pons_mem_alloc(pons_comm_size(t->comm) + 1, sizeof *s.offset);
    bool room = s.panel && s.corner && s.column && s.slot && s.offset;
    PONS_TRY_ALL(st, t->comm, room ? PONS_OK : PONS_ERR_NOMEM);
    for (int64_t k = 0; k < t->n; k++) {
        *info = factor_corner(&s, k);
        if (*info) break;
        make_panel(&s, k);
        update(&s, k);
        if (take) hand_over(&s, k, take, user);
    }
done:
    pons_mem_free(s.offset);
    pons_mem_free(s.slot);
    pons_mem_free(s.column);
    pons_mem_free(s.corner);
    pons_mem_free(s.panel);
    return st;
}
