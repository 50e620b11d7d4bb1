/* Owns the tiles and who holds which. The arithmetic is in sweep.c. */
#include "linalg/tiles_impl.h"

#include "base/mem.h"

/* Below this width tiles of 128 give more ranks a share; from it on tiles of 256 make products more
 * efficient. */
enum { WIDE = 4096 };

int64_t pons_tiles_side(int64_t d) { return d < WIDE ? 128 : 256; }

/* The squarest grid of all ranks: rows <= columns. */
static void choose_grid(int ranks, int *rows, int *columns)
{
    *rows = 1;
    for (int p = 1; p * p <= ranks; p++)
        if (ranks % p == 0) *rows = p;
    *columns = ranks / *rows;
}

size_t pons_tiles_bytes(int64_t d, int ranks)
{
    int p, q;
    int64_t b = pons_tiles_side(d), n = (d + b - 1) / b, most = 0;
    choose_grid(ranks, &p, &q);
    for (int r = 0; r < ranks; r++) {
        int64_t count = 0;
        for (int64_t i = r / q; i < n; i += p)
            count += i < r % q ? 0 : (i - r % q) / q + 1;
        most = count > most ? count : most;
    }
    return (size_t)(most * b * b) * sizeof(double);
}

size_t pons_tiles_work_bytes(int64_t d)
{
    int64_t b = pons_tiles_side(d);
    return (size_t)((d + b - 1) / b * b * b) * sizeof(double);
}

pons_status pons_tiles_create(pons_comm *comm, int64_t d, pons_tiles **out)
{
    pons_status st = PONS_OK;
    pons_tiles *t = pons_mem_calloc(1, sizeof *t);
    *out = NULL;
    PONS_TRY_ALL(st, comm, t ? PONS_OK : PONS_ERR_NOMEM);
    t->comm = comm;
    t->d = d;
    t->side = pons_tiles_side(d);
    t->n = (d + t->side - 1) / t->side;
    choose_grid(pons_comm_size(comm), &t->grid_rows, &t->grid_columns);
    t->index = pons_mem_alloc(t->n * t->n, sizeof *t->index);
    PONS_TRY_ALL(st, comm, t->index ? PONS_OK : PONS_ERR_NOMEM);
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < t->n; j++)
            t->index[i * t->n + j] =
                j <= i && pons_tiles_owner(t, i, j) == pons_comm_rank(comm) ? t->count++ : -1;
    t->data = pons_mem_calloc(t->count * t->side * t->side, sizeof *t->data);
    PONS_TRY_ALL(st, comm, t->data ? PONS_OK : PONS_ERR_NOMEM);
    *out = t;
    t = NULL;
done:
    pons_tiles_destroy(&t);
    return st;
}

void pons_tiles_destroy(pons_tiles **tiles)
{
    if (!*tiles) return;
    pons_mem_free((*tiles)->data);
    pons_mem_free((*tiles)->index);
    pons_mem_free(*tiles);
    *tiles = NULL;
}

double *pons_tiles_at(const pons_tiles *t, int64_t i, int64_t j)
{
    int64_t k = t->index[i * t->n + j];
    return k < 0 ? NULL : t->data + k * t->side * t->side;
}
