/* Products with a prepared weight matrix. Owns the tiles of Y = X W^T; a tile itself is one BLAS
 * call (fp32) or one oneDNN kernel (bf16).
 *
 * Y is cut into panels of PANEL tokens from the first one on and into tiles of equal width along
 * the rows of W. A last panel that is not full is padded with zero tokens to the same shape, so the
 * bits of a token depend neither on T nor on the threads. */
#include <cblas.h>
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/gemm.h"
#include "kern/threads.h"

/* Tokens of a panel; largest width of a tile of W, and the multiple it is rounded to. */
enum { PANEL = 128, WIDEST = 256, WIDTH_STEP = 16 };

/* Bytes of packed W that one work item runs over; work items wanted for each thread. */
enum { PACKED_IN_CACHE = 2 << 20, ITEMS_PER_THREAD = 4 };

struct pons_matmul {
    int64_t rows, d;
    int64_t width, tiles; /* rows of W in a tile; tiles * width >= rows */
    float *W;             /* fp32: [rows, d]; NULL in bf16 */
    pons_bf16_kernel *kernel;
    uint8_t *packed; /* bf16: [tiles] of packed_bytes */
    size_t packed_bytes;
};

/* W into the kernel's layout, tile by tile; rows past the last are zero. */
static pons_status pack_all(pons_matmul *m, const float *W)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), failed = 0;
    int64_t entries = m->width * m->d;
    pons_bf16_worker **workers = NULL;
    uint16_t *plain = NULL;
    PONS_CALLOC(st, workers, threads);
    PONS_ALLOC(st, plain, threads * entries);
    PONS_TRY(st, pons_bf16_workers_create(m->kernel, threads, workers));
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : failed)
    for (int64_t t = 0; t < m->tiles; t++) {
        int self = omp_get_thread_num();
        int64_t first = t * m->width;
        int64_t rows = m->rows - first < m->width ? m->rows - first : m->width;
        uint16_t *mine = plain + self * entries;
        pons_bf16_convert(rows * m->d, W + first * m->d, mine);
        memset(mine + rows * m->d, 0, (size_t)((m->width - rows) * m->d) * sizeof *mine);
        if (!pons_bf16_pack(workers[self], mine, m->packed + (size_t)t * m->packed_bytes))
            failed = 1;
    }
    if (failed) st = pons_bf16_refused();
done:
    if (workers) pons_bf16_workers_destroy(threads, workers);
    pons_mem_free(plain);
    pons_mem_free(workers);
    return st;
}

pons_status pons_matmul_create(int64_t rows, int64_t d, const float *W, bool bf16,
                               pons_matmul **out)
{
    pons_status st = PONS_OK;
    pons_matmul *m = NULL;
    PONS_ASSERT(rows > 0 && d > 0 && d <= INT_MAX);
    PONS_CALLOC(st, m, 1);
    m->rows = rows;
    m->d = d;
    m->tiles = (rows + WIDEST - 1) / WIDEST;
    m->width = (rows + m->tiles - 1) / m->tiles;
    m->width = (m->width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
    if (bf16) {
        PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_PACKED, PANEL, m->width, d, &m->kernel));
        m->packed_bytes = (pons_bf16_packed_bytes(m->kernel) + 63) / 64 * 64;
        PONS_ALLOC(st, m->packed, m->tiles * (int64_t)m->packed_bytes);
        PONS_TRY(st, pack_all(m, W));
    } else {
        PONS_ALLOC(st, m->W, rows * d);
        memcpy(m->W, W, (size_t)(rows * d) * sizeof *W);
    }
    *out = m;
    m = NULL;
done:
    pons_matmul_destroy(&m);
    return st;
}

void pons_matmul_destroy(pons_matmul **W)
{
    pons_matmul *m = *W;
    if (!m) return;
    pons_bf16_kernel_destroy(&m->kernel);
    pons_mem_free(m->packed);
    pons_mem_free(m->W);
    pons_mem_free(m);
    *W = NULL;
}

/* Tile [PANEL, width] of panel p and tile t into Y, without what is padding. */
static void put_tile(const pons_matmul *m, int64_t T, int64_t p, int64_t t, const float *tile,
                     float *Y, int64_t ldy)
{
    int64_t tokens = T - p * PANEL < PANEL ? T - p * PANEL : PANEL;
    int64_t rows = m->rows - t * m->width < m->width ? m->rows - t * m->width : m->width;
    for (int64_t i = 0; i < tokens; i++)
        memcpy(Y + (p * PANEL + i) * ldy + t * m->width, tile + i * m->width,
               (size_t)rows * sizeof *Y);
}

static pons_status apply_fp32(const pons_matmul *m, int64_t T, const float *X, int64_t ldx,
                              float *Y, int64_t ldy)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), d = (int)m->d, width = (int)m->width;
    int64_t panels = (T + PANEL - 1) / PANEL, whole = T / PANEL;
    float *last = NULL, *tiles = NULL; /* the padded panel; one tile per thread */
    PONS_ASSERT(ldx <= INT_MAX);
    PONS_CALLOC(st, last, panels > whole ? PANEL * m->d : 0);
    PONS_ALLOC(st, tiles, threads * PANEL * m->width);
    for (int64_t i = whole * PANEL; i < T; i++)
        memcpy(last + (i - whole * PANEL) * m->d, X + i * ldx, (size_t)m->d * sizeof *X);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t n = 0; n < panels * m->tiles; n++) {
        int64_t p = n % panels, t = n / panels, rows = m->rows - t * m->width;
        float *tile = tiles + omp_get_thread_num() * PANEL * m->width;
        const float *from = p < whole ? X + p * PANEL * ldx : last;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, PANEL,
                    rows < m->width ? (int)rows : width, d, 1.0f, from, p < whole ? (int)ldx : d,
                    m->W + t * m->width * m->d, d, 0.0f, tile, width);
        put_tile(m, T, p, t, tile, Y, ldy);
    }
done:
    pons_mem_free(tiles);
    pons_mem_free(last);
    return st;
}

/* Tiles of W that one work item takes: as many as stay in L2 beside the panel, fewer when the
 * threads would be left without work. Changes no bits. */
static int64_t tiles_of_item(const pons_matmul *m, int64_t panels, int threads)
{
    int64_t fit = PACKED_IN_CACHE / (int64_t)m->packed_bytes;
    int64_t share = m->tiles * panels / (ITEMS_PER_THREAD * threads);
    int64_t count = fit < share ? fit : share;
    return count < 1 ? 1 : count < m->tiles ? count : m->tiles;
}

static pons_status apply_bf16(const pons_matmul *m, int64_t T, const float *X, int64_t ldx,
                              float *Y, int64_t ldy)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), failed = 0;
    int64_t panels = (T + PANEL - 1) / PANEL, step = tiles_of_item(m, panels, threads);
    int64_t items = panels * ((m->tiles + step - 1) / step);
    pons_bf16_worker **workers = NULL;
    uint16_t *x = NULL; /* a panel per thread */
    float *tiles = NULL;
    PONS_CALLOC(st, workers, threads);
    PONS_ALLOC(st, x, threads * PANEL * m->d);
    PONS_ALLOC(st, tiles, threads * PANEL * m->width);
    PONS_TRY(st, pons_bf16_workers_create(m->kernel, threads, workers));
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : failed)
    for (int64_t n = 0; n < items; n++) {
        int self = omp_get_thread_num();
        float *tile = tiles + self * PANEL * m->width;
        uint16_t *panel = x + self * PANEL * m->d;
        int64_t p = n % panels, first = n / panels * step;
        int64_t tokens = T - p * PANEL < PANEL ? T - p * PANEL : PANEL;
        for (int64_t i = 0; i < tokens; i++)
            pons_bf16_convert(m->d, X + (p * PANEL + i) * ldx, panel + i * m->d);
        memset(panel + tokens * m->d, 0, (size_t)((PANEL - tokens) * m->d) * sizeof *panel);
        for (int64_t t = first; t < first + step && t < m->tiles; t++) {
            if (!pons_bf16_run(workers[self], panel, m->packed + (size_t)t * m->packed_bytes, tile))
                failed = 1;
            put_tile(m, T, p, t, tile, Y, ldy);
        }
    }
    if (failed) st = pons_bf16_refused();
done:
    if (workers) pons_bf16_workers_destroy(threads, workers);
    pons_mem_free(tiles);
    pons_mem_free(x);
    pons_mem_free(workers);
    return st;
}

pons_status pons_matmul_apply(const pons_matmul *W, int64_t T, const float *X, int64_t ldx,
                              float *Y, int64_t ldy)
{
    return W->kernel ? apply_bf16(W, T, X, ldx, Y, ldy) : apply_fp32(W, T, X, ldx, Y, ldy);
}
