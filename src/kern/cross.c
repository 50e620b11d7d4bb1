/* Exactly reproducible sums of L^T R. Owns the windows that wait to be added; the symmetric case is gram.c's.
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

/* Largest width of a tile, and the multiple it is rounded to; in bf16, tokens of a product and the multiple of their number:
 * as in gram.c. */
enum { WIDEST = 256, WIDTH_STEP = 32, DEEPEST = 512, DEPTH_STEP = 32 };

/* Windows that are added together, at most, and the memory of their operands that allows more than one. */
enum { TOGETHER = 2, TOGETHER_BYTES = 1 << 28 };

typedef struct tiled {
    int64_t d, width, tiles;
} tiled;

struct pons_cross_sum {
    bool bf16;
    int64_t S;
    tiled left, right;
    double quantum, *C;
    int threads;
    int64_t held, capacity; /* windows */
    int64_t parts, depth;   /* bf16: a window's tokens, cut */
    int64_t l, r;      /* bytes of a tile's part of either side; fp32: of all its columns, scaled */
    int64_t window;    /* bytes of one's operands */
    uint8_t *operands; /* [capacity] left, then right; bf16: each [tiles, parts] */
    float *products;   /* [threads] of a tile */
    pons_bf16_kernel *kernel;
    pons_bf16_worker **workers;
};

static tiled tile(int64_t d)
{
    int64_t tiles = (d + WIDEST - 1) / WIDEST, width = (d + tiles - 1) / tiles;
    return (tiled){d, (width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP, tiles};
}

/* Columns of tile i that there are: its width, fewer in the last one. */
static int64_t extent(const tiled *t, int64_t i)
{
    int64_t left = t->d - i * t->width;
    return left < t->width ? left : t->width;
}

/* Tile (i, j) of the product, [left.width, right.width], rounded and added. */
static void add_tile(const pons_cross_sum *g, int64_t i, int64_t j, const float *product)
{
    /* v + magic - magic is v rounded to the quantum: the last bit of a double near 1.5 * 2^52 quanta
     * is one quantum */
    const double magic = 0x1.8p52 * g->quantum;
    int64_t rows = extent(&g->left, i), cols = extent(&g->right, j);
    for (int64_t r = 0; r < rows; r++) {
        double *c = g->C + (i * g->left.width + r) * g->right.d + j * g->right.width;
        const float *v = product + r * g->right.width;
        for (int64_t k = 0; k < cols; k++)
            c[k] += ((double)v[k] + magic) - magic;
    }
}

void pons_cross_sum_destroy(pons_cross_sum **sum)
{
    pons_cross_sum *g = *sum;
    if (!g) return;
    if (g->workers) pons_bf16_workers_destroy(g->threads, g->workers);
    pons_bf16_kernel_destroy(&g->kernel);
    pons_mem_free(g->workers);
    pons_mem_free(g->products);
    pons_mem_free(g->operands);
    pons_mem_free(g);
    *sum = NULL;
}

static pons_status create_kernel(pons_cross_sum *g)
{
    pons_status st = PONS_OK;
    g->parts = (g->S + DEEPEST - 1) / DEEPEST;
    g->depth = ((g->S + g->parts - 1) / g->parts + DEPTH_STEP - 1) / DEPTH_STEP * DEPTH_STEP;
    PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_GRAM, g->left.width, g->right.width, g->depth,
                                         &g->kernel));
    g->l = (int64_t)pons_bf16_left_bytes(g->kernel);
    g->r = (int64_t)pons_bf16_packed_bytes(g->kernel);
    g->window = g->parts * (g->left.tiles * g->l + g->right.tiles * g->r);
    PONS_CALLOC(st, g->workers, g->threads);
    PONS_TRY(st, pons_bf16_workers_create(g->kernel, g->threads, g->workers));
done:
    return st;
}

int64_t pons_cross_sum_together(double window)
{
    int64_t count = (int64_t)(TOGETHER_BYTES / window);
    return count < 1 ? 1 : count > TOGETHER ? TOGETHER : count;
}

pons_status pons_cross_sum_create(int64_t S, int64_t p, int64_t d, int64_t windows, bool bf16,
                                  double quantum, double *C, pons_cross_sum **out)
{
    pons_status st = PONS_OK;
    pons_cross_sum *g = NULL;
    PONS_ASSERT(p > 0 && p <= INT_MAX && d > 0 && d <= INT_MAX);
    PONS_ASSERT(S > 0 && S <= INT_MAX && quantum > 0);
    PONS_CALLOC(st, g, 1);
    *g = (pons_cross_sum){.bf16 = bf16,
                          .S = S,
                          .left = tile(p),
                          .right = tile(d),
                          .quantum = quantum,
                          .C = C,
                          .threads = pons_kern_threads()};
    g->l = S * p * (int64_t)sizeof(float);
    g->r = S * d * (int64_t)sizeof(float);
    g->window = g->l + g->r;
    if (bf16) PONS_TRY(st, create_kernel(g));
    g->capacity = pons_cross_sum_together((double)g->window);
    if (g->capacity > windows) g->capacity = windows;
    PONS_ALLOC(st, g->products, g->threads * g->left.width * g->right.width);
    PONS_ALLOC(st, g->operands, g->capacity * g->window);
    *out = g;
    g = NULL;
done:
    pons_cross_sum_destroy(&g);
    return st;
}

static void hold_fp32(const pons_cross_sum *g, pons_cross_side side, int64_t d, uint8_t *to)
{
    float *X = (float *)to;
#pragma omp parallel for schedule(static) num_threads(g->threads)
    for (int64_t s = 0; s < g->S; s++)
        for (int64_t j = 0; j < d; j++)
            X[s * d + j] = side.X[s * d + j] * side.scale[j];
}

static void hold_bf16(const pons_cross_sum *g, pons_cross_side left, pons_cross_side right,
                      uint8_t *to)
{
    int64_t lefts = g->left.tiles * g->parts, rights = g->right.tiles * g->parts;
#pragma omp parallel for schedule(static) num_threads(g->threads)
    for (int64_t n = 0; n < lefts + rights; n++) {
        bool is_left = n < lefts;
        const tiled *t = is_left ? &g->left : &g->right;
        pons_cross_side side = is_left ? left : right;
        int64_t at = is_left ? n : n - lefts, s = at % g->parts * g->depth, i = at / g->parts;
        int64_t tokens = g->S - s < g->depth ? g->S - s : g->depth, first = i * t->width;
        pons_bf16_take(g->kernel, tokens, extent(t, i), side.X + s * t->d + first, t->d,
                       side.scale + first, is_left ? to + at * g->l : NULL,
                       is_left ? NULL : to + lefts * g->l + at * g->r);
    }
}

/* Tile (i, j) of the product of a window. @return false when the library refused */
static bool multiply(const pons_cross_sum *g, int self, int64_t window, int64_t i, int64_t j,
                     float *product)
{
    const uint8_t *operands = g->operands + window * g->window;
    const uint8_t *left = operands + i * g->parts * g->l;
    const uint8_t *right = operands + (g->left.tiles * g->l + j * g->r) * g->parts;
    bool good = true;
    for (int64_t k = 0; k < g->parts; k++)
        good &= pons_bf16_run_gram(g->workers[self], k > 0, false, left + k * g->l,
                                   right + k * g->r, product);
    if (g->bf16) return good;
    const float *L = (const float *)operands, *R = (const float *)(operands + g->l);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)extent(&g->left, i),
                (int)extent(&g->right, j), (int)g->S, 1.0f, L + i * g->left.width, (int)g->left.d,
                R + j * g->right.width, (int)g->right.d, 0.0f, product, (int)g->right.width);
    return true;
}

pons_status pons_cross_sum_flush(pons_cross_sum *g)
{
    int failed = 0;
    int64_t count = g->left.tiles * g->right.tiles;
#pragma omp parallel for schedule(dynamic) num_threads(g->threads) reduction(| : failed)
    for (int64_t n = 0; n < count; n++) {
        int64_t i = n / g->right.tiles, j = n % g->right.tiles;
        int self = omp_get_thread_num();
        float *product = g->products + self * g->left.width * g->right.width;
        for (int64_t k = 0; k < g->held; k++) {
            if (!multiply(g, self, k, i, j, product)) failed = 1;
            if (!failed) add_tile(g, i, j, product);
        }
    }
    g->held = 0;
    return failed ? pons_bf16_refused() : PONS_OK;
}

pons_status pons_cross_sum_add(pons_cross_sum *g, pons_cross_side left, pons_cross_side right)
{
    uint8_t *to = g->operands + g->held * g->window;
    if (g->bf16) {
        hold_bf16(g, left, right, to);
    } else {
        hold_fp32(g, left, g->left.d, to);
        hold_fp32(g, right, g->right.d, to + g->l);
    }
    return ++g->held == g->capacity ? pons_cross_sum_flush(g) : PONS_OK;
}
