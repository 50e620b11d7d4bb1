/* Exactly reproducible sums of L^T R. Owns pons_cross_add; the symmetric case is gram.c's.
 *
 * The tiles depend on the two widths alone; each entry is rounded to a multiple of the quantum before
 * it is added, which makes the additions exact and so their order irrelevant. */
#include "kern/cross.h"

#include <cblas.h>
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/threads.h"

/* Largest width of a tile, and the multiple it is rounded to. */
enum { WIDEST = 256, WIDTH_STEP = 32 };

typedef struct tiled {
    pons_cross_side of;
    int64_t width, tiles;
} tiled;

typedef struct cross {
    int64_t S;
    tiled left, right;
    double quantum, *C;
} cross;

static tiled tile(pons_cross_side side)
{
    int64_t tiles = (side.d + WIDEST - 1) / WIDEST, width = (side.d + tiles - 1) / tiles;
    return (tiled){side, (width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP, tiles};
}

/* Columns of tile i that there are: its width, fewer in the last one. */
static int64_t extent(const tiled *t, int64_t i)
{
    int64_t left = t->of.d - i * t->width;
    return left < t->width ? left : t->width;
}

/* Tile (i, j) of the product, [left.width, right.width], rounded and added. */
static void add_tile(const cross *g, int64_t i, int64_t j, const float *product)
{
    /* v + magic - magic is v rounded to the quantum: the last bit of a double near 1.5 * 2^52 quanta
     * is one quantum */
    const double magic = 0x1.8p52 * g->quantum;
    int64_t rows = extent(&g->left, i), cols = extent(&g->right, j);
    for (int64_t r = 0; r < rows; r++) {
        double *c = g->C + (i * g->left.width + r) * g->right.of.d + j * g->right.width;
        const float *v = product + r * g->right.width;
        for (int64_t k = 0; k < cols; k++)
            c[k] += ((double)v[k] + magic) - magic;
    }
}

static pons_status scale_columns(int64_t S, pons_cross_side side, float **out)
{
    pons_status st = PONS_OK;
    PONS_ALLOC(st, *out, S * side.d);
    float *X = *out;
#pragma omp parallel for schedule(static) num_threads(pons_kern_threads())
    for (int64_t s = 0; s < S; s++)
        for (int64_t j = 0; j < side.d; j++)
            X[s * side.d + j] = side.X[s * side.d + j] * side.scale[j];
done:
    return st;
}

static pons_status add_fp32(const cross *g)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads();
    int64_t area = g->left.width * g->right.width, count = g->left.tiles * g->right.tiles;
    float *products = NULL, *L = NULL, *R = NULL;
    PONS_ALLOC(st, products, threads * area);
    PONS_TRY(st, scale_columns(g->S, g->left.of, &L));
    PONS_TRY(st, scale_columns(g->S, g->right.of, &R));
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t n = 0; n < count; n++) {
        int64_t i = n / g->right.tiles, j = n % g->right.tiles;
        float *product = products + omp_get_thread_num() * area;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)extent(&g->left, i),
                    (int)extent(&g->right, j), (int)g->S, 1.0f, L + i * g->left.width,
                    (int)g->left.of.d, R + j * g->right.width, (int)g->right.of.d, 0.0f, product,
                    (int)g->right.width);
        add_tile(g, i, j, product);
    }
done:
    pons_mem_free(R);
    pons_mem_free(L);
    pons_mem_free(products);
    return st;
}

static pons_status add_bf16(const cross *g)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), failed = 0;
    int64_t area = g->left.width * g->right.width, count = g->left.tiles * g->right.tiles;
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker **workers = NULL;
    uint8_t *L = NULL, *R = NULL; /* [tiles] operands */
    float *products = NULL;
    PONS_TRY(st,
             pons_bf16_kernel_create(PONS_BF16_GRAM, g->left.width, g->right.width, g->S, &kernel));
    int64_t l = (int64_t)pons_bf16_left_bytes(kernel), r = (int64_t)pons_bf16_packed_bytes(kernel);
    PONS_CALLOC(st, workers, threads);
    PONS_ALLOC(st, L, g->left.tiles * l);
    PONS_ALLOC(st, R, g->right.tiles * r);
    PONS_ALLOC(st, products, threads * area);
    PONS_TRY(st, pons_bf16_workers_create(kernel, threads, workers));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int self = omp_get_thread_num();
        float *product = products + self * area;
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < g->left.tiles + g->right.tiles; n++) {
            int64_t j = n - g->left.tiles;
            const tiled *t = j < 0 ? &g->left : &g->right;
            int64_t i = j < 0 ? n : j, first = i * t->width;
            pons_bf16_take(kernel, g->S, extent(t, i), t->of.X + first, t->of.d,
                           t->of.scale + first, j < 0 ? L + i * l : NULL, j < 0 ? NULL : R + i * r);
        }
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < count; n++) {
            int64_t i = n / g->right.tiles, j = n % g->right.tiles;
            if (pons_bf16_run_gram(workers[self], false, false, L + i * l, R + j * r, product))
                add_tile(g, i, j, product);
            else
                failed = 1;
        }
    }
    if (failed) st = pons_bf16_refused();
done:
    if (workers) pons_bf16_workers_destroy(threads, workers);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(products);
    pons_mem_free(R);
    pons_mem_free(L);
    pons_mem_free(workers);
    return st;
}

pons_status pons_cross_add(int64_t S, pons_cross_side left, pons_cross_side right, bool bf16,
                           double quantum, double *C)
{
    PONS_ASSERT(left.d > 0 && left.d <= INT_MAX && right.d > 0 && right.d <= INT_MAX);
    PONS_ASSERT(S <= INT_MAX && quantum > 0);
    cross g = {.S = S, .left = tile(left), .right = tile(right), .quantum = quantum, .C = C};
    if (S <= 0) return PONS_OK;
    return bf16 ? add_bf16(&g) : add_fp32(&g);
}
