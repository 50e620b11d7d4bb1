/* Exactly reproducible sums of X^T X. Owns pons_gram_add and the windows that wait to be added.
 *
 * The tiles of one window depend on d alone; each entry is rounded to a multiple of the quantum
 * before it is added, which makes the additions exact and so their order irrelevant. */
#include <cblas.h>
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/gemm.h"
#include "kern/threads.h"

/* Largest width of a tile, and the multiple it is rounded to; in bf16, tokens of a product, the most whose
 * copies in the kernel stay in cache, and the multiple of their number. */
enum { WIDEST = 256, WIDTH_STEP = 32, DEEPEST = 512, DEPTH_STEP = 32 };

/* Windows that are added together, at most, and the memory of their operands that allows more than one. A tile of H in
 * fp64 is then read and written once for all of them: with one, that takes as long as the product. */
enum { TOGETHER = 2, TOGETHER_BYTES = 1 << 28 };

typedef struct gram {
    bool bf16;
    int64_t S, d, width, tiles;
    int64_t top, bottom; /* rows of tiles that are wanted: [top, bottom) */
    int64_t ld;          /* of H, which begins at the corner of tile (top, top) */
    double quantum, *H;
} gram;

struct pons_gram_work {
    gram of;
    int threads;
    int64_t held, capacity; /* windows */
    int64_t window;         /* bytes of one's operands */
    uint8_t *
        operands; /* [capacity] fp32: its columns scaled; bf16: left and right, each [columns, parts] */
    float *products;      /* [threads] of a tile */
    int64_t parts, depth; /* bf16: a window's tokens, cut */
    int64_t operand;      /* bf16: bytes of one tile's part */
    pons_bf16_kernel *kernel;
    pons_bf16_worker **workers;
};

/* Tiles of the upper triangle in the wanted rows. */
static int64_t count_tiles(const gram *g)
{
    int64_t above = g->tiles - g->top, below = g->tiles - g->bottom;
    return above * (above + 1) / 2 - below * (below + 1) / 2;
}

/* Wanted tile number n, row by row. */
static void find_tile(const gram *g, int64_t n, int64_t *i, int64_t *j)
{
    for (*i = g->top; n >= g->tiles - *i; (*i)++)
        n -= g->tiles - *i;
    *j = *i + n;
}

/* Entries of tile (i, j) that lie in the upper triangle: rounded, then added. */
static void add_tile(const gram *g, int64_t i, int64_t j, const float *tile)
{
    /* v + magic - magic is v rounded to the quantum: the last bit of a double near 1.5 * 2^52 quanta
     * is one quantum */
    const double magic = 0x1.8p52 * g->quantum;
    int64_t i0 = i * g->width, j0 = j * g->width, first = g->top * g->width;
    int64_t rows = g->d - i0 < g->width ? g->d - i0 : g->width;
    int64_t cols = g->d - j0 < g->width ? g->d - j0 : g->width;
    for (int64_t r = 0; r < rows; r++) {
        double *h = g->H + (i0 + r - first) * g->ld + j0 - first;
        const float *v = tile + r * g->width;
        for (int64_t c = i == j ? r : 0; c < cols; c++)
            h[c] += ((double)v[c] + magic) - magic;
    }
}

void pons_gram_work_destroy(pons_gram_work **work)
{
    pons_gram_work *w = *work;
    if (!w) return;
    if (w->workers) pons_bf16_workers_destroy(w->threads, w->workers);
    pons_bf16_kernel_destroy(&w->kernel);
    pons_mem_free(w->workers);
    pons_mem_free(w->products);
    pons_mem_free(w->operands);
    pons_mem_free(w);
    *work = NULL;
}

static pons_status create_kernel(pons_gram_work *w)
{
    pons_status st = PONS_OK;
    const gram *g = &w->of;
    w->parts = (g->S + DEEPEST - 1) / DEEPEST;
    w->depth = ((g->S + w->parts - 1) / w->parts + DEPTH_STEP - 1) / DEPTH_STEP * DEPTH_STEP;
    PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_GRAM, g->width, g->width, w->depth, &w->kernel));
    w->operand = (int64_t)pons_bf16_left_bytes(w->kernel); /* of either */
    w->window = 2 * (g->tiles - g->top) * w->parts * w->operand;
    PONS_CALLOC(st, w->workers, w->threads);
    PONS_TRY(st, pons_bf16_workers_create(w->kernel, w->threads, w->workers));
done:
    return st;
}

static int64_t together(int64_t window)
{
    int64_t count = TOGETHER_BYTES / window;
    return count < 1 ? 1 : count > TOGETHER ? TOGETHER : count;
}

static pons_status create_work(const gram *g, pons_gram_work **out)
{
    pons_status st = PONS_OK;
    pons_gram_work *w = NULL;
    PONS_CALLOC(st, w, 1);
    w->of = *g;
    w->threads = pons_kern_threads();
    w->window = g->S * g->d * (int64_t)sizeof(float);
    if (g->bf16) PONS_TRY(st, create_kernel(w));
    w->capacity = together(w->window);
    PONS_ALLOC(st, w->products, w->threads * g->width * g->width);
    PONS_ALLOC(st, w->operands, w->capacity * w->window);
    *out = w;
    w = NULL;
done:
    pons_gram_work_destroy(&w);
    return st;
}

static void hold_fp32(pons_gram_work *w, const float *window, const float *scale)
{
    int64_t S = w->of.S, d = w->of.d;
    float *X = (float *)(w->operands + w->held * w->window);
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t s = 0; s < S; s++)
        for (int64_t j = 0; j < d; j++)
            X[s * d + j] = window[s * d + j] * scale[j];
}

static void hold_bf16(pons_gram_work *w, const float *X, const float *scale)
{
    const gram *g = &w->of;
    int64_t count = (g->tiles - g->top) * w->parts;
    uint8_t *left = w->operands + w->held * w->window, *right = left + count * w->operand;
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t n = 0; n < count; n++) {
        int64_t s = n % w->parts * w->depth, j = (g->top + n / w->parts) * g->width;
        pons_bf16_take(w->kernel, g->S - s < w->depth ? g->S - s : w->depth,
                       g->d - j < g->width ? g->d - j : g->width, X + s * g->d + j, g->d, scale + j,
                       left + n * w->operand, right + n * w->operand);
    }
}

static void multiply_fp32(const pons_gram_work *w, int64_t window, int64_t i, int64_t j,
                          float *tile)
{
    const gram *g = &w->of;
    const float *X = (const float *)(w->operands + window * w->window);
    int64_t rows = g->d - i * g->width, cols = g->d - j * g->width;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)(rows < g->width ? rows : g->width),
                (int)(cols < g->width ? cols : g->width), (int)g->S, 1.0f, X + i * g->width,
                (int)g->d, X + j * g->width, (int)g->d, 0.0f, tile, (int)g->width);
}

static bool multiply_bf16(const pons_gram_work *w, int self, int64_t window, int64_t i, int64_t j,
                          float *tile)
{
    const gram *g = &w->of;
    bool good = true;
    const uint8_t *left = w->operands + window * w->window, *right = left + w->window / 2;
    left += (i - g->top) * w->parts * w->operand;
    right += (j - g->top) * w->parts * w->operand;
    for (int64_t k = 0; k < w->parts; k++)
        good &= pons_bf16_run_gram(w->workers[self], k > 0, i == j, left + k * w->operand,
                                   right + k * w->operand, tile);
    return good;
}

pons_status pons_gram_flush(pons_gram_work *w)
{
    int failed = 0;
    if (!w || w->held == 0) return PONS_OK;
    const gram *g = &w->of;
    int64_t count = count_tiles(g);
#pragma omp parallel for schedule(dynamic) num_threads(w->threads) reduction(| : failed)
    for (int64_t n = 0; n < count; n++) {
        int64_t i, j;
        int self = omp_get_thread_num();
        float *tile = w->products + self * g->width * g->width;
        find_tile(g, n, &i, &j);
        for (int64_t k = 0; k < w->held; k++) {
            if (!g->bf16) multiply_fp32(w, k, i, j, tile);
            if (g->bf16 && !multiply_bf16(w, self, k, i, j, tile)) failed = 1;
            if (!failed) add_tile(g, i, j, tile);
        }
    }
    w->held = 0;
    return failed ? pons_bf16_refused() : PONS_OK;
}

int64_t pons_gram_width(int64_t d)
{
    int64_t tiles = (d + WIDEST - 1) / WIDEST, width = (d + tiles - 1) / tiles;
    return (width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
}

int64_t pons_gram_together(int64_t S, int64_t d) { return together(4 * S * d); }

pons_status pons_gram_add(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                          double quantum, double *H)
{
    pons_gram_work *work = NULL;
    pons_status st = pons_gram_add_rows(S, d, X, scale, bf16, quantum, 0, d, &work, H);
    if (st == PONS_OK) st = pons_gram_flush(work);
    pons_gram_work_destroy(&work);
    return st;
}

static bool same(const gram *a, const gram *b)
{
    return a->bf16 == b->bf16 && a->S == b->S && a->d == b->d && a->top == b->top &&
           a->bottom == b->bottom && a->quantum == b->quantum && a->H == b->H;
}

pons_status pons_gram_add_rows(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                               double quantum, int64_t first, int64_t last, pons_gram_work **work,
                               double *H)
{
    pons_status st = PONS_OK;
    PONS_ASSERT(d > 0 && d <= INT_MAX && S <= INT_MAX && quantum > 0);
    gram g = {.bf16 = bf16, .S = S, .d = d, .quantum = quantum, .H = H};
    g.tiles = (d + WIDEST - 1) / WIDEST;
    g.width = pons_gram_width(d);
    g.top = first / g.width;
    g.bottom = last == d ? g.tiles : last / g.width;
    g.ld = d - first;
    PONS_ASSERT(g.top * g.width == first && (last == d || g.bottom * g.width == last));
    if (S <= 0 || first >= last) return PONS_OK;
    if (*work && !same(&(*work)->of, &g)) {
        PONS_TRY(st, pons_gram_flush(*work));
        pons_gram_work_destroy(work);
    }
    if (!*work) PONS_TRY(st, create_work(&g, work));
    if (bf16)
        hold_bf16(*work, X, scale);
    else
        hold_fp32(*work, X, scale);
    if (++(*work)->held == (*work)->capacity) st = pons_gram_flush(*work);
done:
    return st;
}
