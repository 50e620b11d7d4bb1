/* Exactly reproducible sums of X^T X. Owns pons_gram_add.
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

struct pons_gram_work {
    int64_t bytes;
    void *operands;
};

typedef struct gram {
    int64_t S, d, width, tiles;
    int64_t top, bottom; /* rows of tiles that are wanted: [top, bottom) */
    int64_t ld;          /* of H, which begins at the corner of tile (top, top) */
    const float *X, *scale;
    double quantum, *H;
} gram;

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

/* At least so many bytes for the operands of a window. */
static pons_status reserve(pons_gram_work **work, int64_t bytes)
{
    pons_status st = PONS_OK;
    if (!*work) PONS_CALLOC(st, *work, 1);
    if (bytes <= (*work)->bytes) goto done;
    pons_mem_free((*work)->operands);
    (*work)->bytes = 0;
    (*work)->operands = pons_mem_alloc(bytes, 1);
    if (!(*work)->operands) return PONS_ERR_NOMEM;
    (*work)->bytes = bytes;
done:
    return st;
}

void pons_gram_work_destroy(pons_gram_work **work)
{
    if (!*work) return;
    pons_mem_free((*work)->operands);
    pons_mem_free(*work);
    *work = NULL;
}

static pons_status add_fp32(const gram *g, pons_gram_work **work)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), ld = (int)g->d;
    int64_t count = count_tiles(g);
    float *products = NULL;
    PONS_ALLOC(st, products, threads * g->width * g->width);
    PONS_TRY(st, reserve(work, g->S * g->d * (int64_t)sizeof(float)));
    float *X = (*work)->operands; /* its columns scaled */
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t s = 0; s < g->S; s++)
        for (int64_t j = 0; j < g->d; j++)
            X[s * g->d + j] = g->X[s * g->d + j] * g->scale[j];
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t n = 0; n < count; n++) {
        int64_t i, j;
        float *tile = products + omp_get_thread_num() * g->width * g->width;
        find_tile(g, n, &i, &j);
        int64_t rows = g->d - i * g->width, cols = g->d - j * g->width;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans,
                    (int)(rows < g->width ? rows : g->width),
                    (int)(cols < g->width ? cols : g->width), (int)g->S, 1.0f, X + i * g->width, ld,
                    X + j * g->width, ld, 0.0f, tile, (int)g->width);
        add_tile(g, i, j, tile);
    }
done:
    pons_mem_free(products);
    return st;
}

static pons_status add_bf16(const gram *g, pons_gram_work **work)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), failed = 0;
    int64_t count = count_tiles(g), parts = (g->S + DEEPEST - 1) / DEEPEST;
    int64_t depth = ((g->S + parts - 1) / parts + DEPTH_STEP - 1) / DEPTH_STEP * DEPTH_STEP;
    int64_t columns = g->tiles - g->top; /* tiles of X that are needed */
    pons_bf16_kernel *kernel = NULL;
    pons_bf16_worker **workers = NULL;
    float *products = NULL;
    PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_GRAM, g->width, g->width, depth, &kernel));
    int64_t bytes = (int64_t)pons_bf16_left_bytes(kernel); /* of either operand */
    PONS_CALLOC(st, workers, threads);
    PONS_TRY(st, reserve(work, 2 * columns * parts * bytes));
    uint8_t *left = (*work)->operands,
            *right = left + columns * parts * bytes; /* [columns, parts] */
    PONS_ALLOC(st, products, threads * g->width * g->width);
    PONS_TRY(st, pons_bf16_workers_create(kernel, threads, workers));
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        int self = omp_get_thread_num();
        float *tile = products + self * g->width * g->width;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < columns * parts; n++) {
            int64_t s = n % parts * depth, j = (g->top + n / parts) * g->width;
            int64_t tokens = g->S - s < depth ? g->S - s : depth;
            pons_bf16_take(kernel, tokens, g->d - j < g->width ? g->d - j : g->width,
                           g->X + s * g->d + j, g->d, g->scale + j, left + n * bytes,
                           right + n * bytes);
        }
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < count; n++) {
            int64_t i, j;
            find_tile(g, n, &i, &j);
            const uint8_t *a = left + (i - g->top) * parts * bytes;
            const uint8_t *b = right + (j - g->top) * parts * bytes;
            for (int64_t k = 0; k < parts; k++)
                if (!pons_bf16_run_gram(workers[self], k > 0, i == j, a + k * bytes, b + k * bytes,
                                        tile))
                    failed = 1;
            if (!failed) add_tile(g, i, j, tile);
        }
    }
    if (failed) st = pons_bf16_refused();
done:
    if (workers) pons_bf16_workers_destroy(threads, workers);
    pons_bf16_kernel_destroy(&kernel);
    pons_mem_free(products);
    pons_mem_free(workers);
    return st;
}

int64_t pons_gram_width(int64_t d)
{
    int64_t tiles = (d + WIDEST - 1) / WIDEST, width = (d + tiles - 1) / tiles;
    return (width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
}

pons_status pons_gram_add(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                          double quantum, double *H)
{
    pons_gram_work *work = NULL;
    pons_status st = pons_gram_add_rows(S, d, X, scale, bf16, quantum, 0, d, &work, H);
    pons_gram_work_destroy(&work);
    return st;
}

pons_status pons_gram_add_rows(int64_t S, int64_t d, const float *X, const float *scale, bool bf16,
                               double quantum, int64_t first, int64_t last, pons_gram_work **work,
                               double *H)
{
    PONS_ASSERT(d > 0 && d <= INT_MAX && S <= INT_MAX && quantum > 0);
    gram g = {.S = S, .d = d, .X = X, .scale = scale, .quantum = quantum, .H = H};
    g.tiles = (d + WIDEST - 1) / WIDEST;
    g.width = pons_gram_width(d);
    g.top = first / g.width;
    g.bottom = last == d ? g.tiles : last / g.width;
    g.ld = d - first;
    PONS_ASSERT(g.top * g.width == first && (last == d || g.bottom * g.width == last));
    if (S <= 0 || first >= last) return PONS_OK;
    return bf16 ? add_bf16(&g, work) : add_fp32(&g, work);
}
