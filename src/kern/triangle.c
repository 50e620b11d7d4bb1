/* U^T U of a triangle on AMX tiles. Owns which blocks of U meet: columns of tile i and of tile j >= i over the
 * rows of tiles up to i. The arithmetic is amx.c's. */
#include "kern/triangle.h"

#include <string.h>

#include "base/mem.h"
#include "kern/amx.h"
#include "kern/threads.h"

/* Columns, and rows, of a tile of U; most terms of a number; tiles of the depth that are brought at a time. */
enum { WIDTH = 256, TERMS = 3, PARTS = 2 };

typedef struct triangle {
    int64_t n, tiles;
    int terms; /* of a number */
    const float *U;
    int64_t ldu;
    uint8_t *packed; /* right operands of the tiles (j, t), t <= j, each [terms] */
} triangle;

static size_t operand_bytes(void) { return pons_amx_bytes(WIDTH, WIDTH); }

static int64_t extent(const triangle *u, int64_t tile)
{
    int64_t left = u->n - tile * WIDTH;
    return left < WIDTH ? left : WIDTH;
}

/* Columns of tile j, rows of tile t: the operand's terms, left ones or right ones. */
static void take(const triangle *u, int64_t j, int64_t t, void *left, uint8_t *right)
{
    uint16_t *to[TERMS] = {0};
    for (int q = 0; right && q < u->terms; q++)
        to[q] = (uint16_t *)(right + (size_t)q * operand_bytes());
    pons_amx_take_terms(WIDTH, WIDTH, u->terms, extent(u, t), extent(u, j),
                        u->U + t * WIDTH * u->ldu + j * WIDTH, u->ldu, left, to);
}

static uint8_t *packed_at(const triangle *u, int64_t j, int64_t t)
{
    return u->packed + (size_t)((j * (j + 1) / 2 + t) * u->terms) * operand_bytes();
}

/* Rows of tile i of K. @param left [PARTS] operands */
static void square_rows(const triangle *u, int64_t i, uint8_t *left, void *work, float *K)
{
    int64_t entries = (int64_t)(operand_bytes() / sizeof(uint16_t)), blocks = WIDTH / 32;
    pons_amx_sum s = {.M = extent(u, i),
                      .ldc = u->n,
                      .steps = WIDTH / 32,
                      .of_a = u->terms,
                      .of_b = u->terms,
                      .left = (const uint16_t *)left,
                      .block_stride = entries / blocks * u->terms,
                      .left_stride = entries * u->terms,
                      .stride = entries * u->terms};
    for (int64_t t = 0; t <= i; t += PARTS) {
        s.tiles = i + 1 - t < PARTS ? i + 1 - t : PARTS;
        s.add = t > 0;
        for (int64_t p = 0; p < s.tiles; p++)
            take(u, i, t + p, left + (size_t)(p * u->terms) * operand_bytes(), NULL);
        for (int64_t j = i; j < u->tiles; j++) {
            s.N = extent(u, j);
            s.upper = i == j;
            for (int q = 0; q < u->terms; q++)
                s.B[q] = (const uint16_t *)(packed_at(u, j, t) + (size_t)q * operand_bytes());
            pons_amx_run(&s, K + i * WIDTH * u->n + j * WIDTH, work);
        }
    }
}

pons_status pons_triangle_square(pons_comm *comm, const pons_shared *deal, int64_t n,
                                 const float *U, int64_t ldu, float *K, int terms)
{
    pons_status st = PONS_OK;
    pons_shared *shared = NULL;
    int threads = pons_kern_threads();
    int64_t left = PARTS * terms * (int64_t)operand_bytes(),
            room = left + (int64_t)pons_amx_work_bytes();
    triangle u = {.n = n, .tiles = (n + WIDTH - 1) / WIDTH, .terms = terms, .U = U, .ldu = ldu};
    uint8_t *own = pons_mem_alloc(threads * room, 1);
    PONS_TRY_ALL(st, comm, own ? PONS_OK : PONS_ERR_NOMEM);
    int64_t count = u.tiles * (u.tiles + 1) / 2;
    PONS_TRY(st, pons_shared_create(comm, (size_t)(count * terms) * operand_bytes(), &shared));
    u.packed = pons_shared_data(shared);
    int rank = pons_shared_rank(shared), ranks = pons_shared_size(shared);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t j = rank; j < u.tiles; j += ranks)
        for (int64_t t = 0; t <= j; t++)
            take(&u, j, t, NULL, packed_at(&u, j, t));
    pons_shared_settle(shared);
    rank = pons_shared_rank(deal);
    ranks = pons_shared_size(deal);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = rank; i < u.tiles; i += ranks) {
        uint8_t *mine = own + omp_get_thread_num() * room;
        square_rows(&u, i, mine, mine + left, K);
    }
    pons_shared_settle(shared); /* none frees what another still reads */
done:
    pons_shared_destroy(&shared);
    pons_mem_free(own);
    return st;
}
