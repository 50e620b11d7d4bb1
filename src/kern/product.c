/* Products of a thread's rows with a shared matrix. Owns packing and the order of tiles; the arithmetic
 * is the micro-kernels' (fp32) or oneDNN's (bf16). */
#include "kern/product.h"

#include <string.h>

#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/block.h"
#include "kern/threads.h"

/* Widest tile, the multiple its width is rounded to; columns and depth of an fp32 block in L1. */
enum { WIDEST = 256, WIDTH_STEP = 16, STRIP = 64, DEPTH = 128 };

struct pons_product {
    int64_t K, N;
    pons_product_tiles of;
    const float *B; /* fp32; not owned */
    int64_t ldb;
    pons_bf16_kernel *kernel; /* bf16 */
    uint8_t *packed;          /* bf16: [tiles] of packed_bytes */
    size_t packed_bytes;
};

struct pons_product_worker {
    const pons_product *product; /* not owned */
    pons_bf16_worker *bf16;
    float *strip; /* fp32: [DEPTH, STRIP] of B */
};

pons_product_tiles pons_product_tiles_of(int64_t n)
{
    pons_product_tiles t;
    t.tiles = (n + WIDEST - 1) / WIDEST;
    t.width = (n + t.tiles - 1) / t.tiles;
    t.width = (t.width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
    t.padded = t.tiles * t.width;
    return t;
}

/* B into the kernel's layout, tile by tile, zero past its last row and column. */
static pons_status pack_all(pons_product *p, const float *B, int64_t ldb)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), failed = 0;
    int64_t width = p->of.width, depth = p->of.padded, n = p->N;
    pons_bf16_worker **workers = NULL;
    uint16_t *plain = NULL;
    PONS_CALLOC(st, workers, threads);
    PONS_CALLOC(st, plain, threads * width * depth);
    PONS_TRY(st, pons_bf16_workers_create(p->kernel, threads, workers));
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : failed)
    for (int64_t t = 0; t < p->of.tiles; t++) {
        int self = omp_get_thread_num();
        uint16_t *mine = plain + self * width * depth;
        for (int64_t i = 0; i < width; i++) {
            int64_t row = t * width + i;
            if (row < n)
                pons_bf16_convert(n, B + row * ldb, mine + i * depth);
            else
                memset(mine + i * depth, 0, (size_t)depth * sizeof *mine);
        }
        if (!pons_bf16_pack(workers[self], mine, p->packed + (size_t)t * p->packed_bytes))
            failed = 1;
    }
    if (failed) st = pons_bf16_refused();
done:
    if (workers) pons_bf16_workers_destroy(threads, workers);
    pons_mem_free(plain);
    pons_mem_free(workers);
    return st;
}

pons_status pons_product_create(int64_t K, int64_t N, const float *B, int64_t ldb, bool bf16,
                                pons_product **out)
{
    pons_status st = PONS_OK;
    pons_product *p = NULL;
    PONS_ASSERT(K > 0 && N > 0 && (!bf16 || K == N));
    PONS_CALLOC(st, p, 1);
    p->K = K;
    p->N = N;
    p->of = pons_product_tiles_of(N);
    p->B = B;
    p->ldb = ldb;
    if (bf16) {
        PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_PACKED, PONS_PRODUCT_ROWS, p->of.width,
                                             p->of.padded, &p->kernel));
        p->packed_bytes = (pons_bf16_packed_bytes(p->kernel) + 63) / 64 * 64;
        PONS_ALLOC(st, p->packed, p->of.tiles * (int64_t)p->packed_bytes);
        PONS_TRY(st, pack_all(p, B, ldb));
        p->B = NULL;
    }
    *out = p;
    p = NULL;
done:
    pons_product_destroy(&p);
    return st;
}

void pons_product_destroy(pons_product **product)
{
    pons_product *p = *product;
    if (!p) return;
    pons_bf16_kernel_destroy(&p->kernel);
    pons_mem_free(p->packed);
    pons_mem_free(p);
    *product = NULL;
}

bool pons_product_is_bf16(const pons_product *product) { return product->kernel != NULL; }

pons_status pons_product_worker_create(const pons_product *product, pons_product_worker **out)
{
    pons_status st = PONS_OK;
    pons_product_worker *w = NULL;
    PONS_CALLOC(st, w, 1);
    w->product = product;
    if (product->kernel)
        PONS_TRY(st, pons_bf16_workers_create(product->kernel, 1, &w->bf16));
    else
        PONS_ALLOC(st, w->strip, DEPTH * STRIP);
    *out = w;
    w = NULL;
done:
    pons_product_worker_destroy(&w);
    return st;
}

void pons_product_worker_destroy(pons_product_worker **worker)
{
    pons_product_worker *w = *worker;
    if (!w) return;
    pons_bf16_workers_destroy(1, &w->bf16);
    pons_mem_free(w->strip);
    pons_mem_free(w);
    *worker = NULL;
}

static bool run_bf16(pons_product_worker *w, int64_t rows, const uint16_t *X, float *Y)
{
    const pons_product *p = w->product;
    int64_t step = PONS_PRODUCT_ROWS, width = p->of.width, depth = p->of.padded;
    bool good = true;
    for (int64_t t = 0; t < p->of.tiles; t++)
        for (int64_t i = 0; i < rows; i += step)
            good &= pons_bf16_run(w->bf16, X + i * depth, p->packed + (size_t)t * p->packed_bytes,
                                  Y + (t * rows + i) * width);
    return good;
}

/* B[k.., column..] of `depth` rows and `width` columns into the strip, zero past N. */
static void pack_strip(const pons_product *p, int64_t k, int64_t depth, int64_t column,
                       int64_t width, float *strip)
{
    int64_t inside = p->N - column < width ? p->N - column : width;
    if (inside < 0) inside = 0;
    for (int64_t i = 0; i < depth; i++) {
        memcpy(strip + i * width, p->B + (k + i) * p->ldb + column, (size_t)inside * sizeof *strip);
        memset(strip + i * width + inside, 0, (size_t)(width - inside) * sizeof *strip);
    }
}

static void run_fp32(pons_product_worker *w, int64_t rows, const float *X, float *Y)
{
    const pons_product *p = w->product;
    int64_t width = p->of.width, ldx = pons_product_tiles_of(p->K).padded;
    for (int64_t t = 0; t < p->of.tiles; t++)
        for (int64_t j = 0; j < width; j += STRIP) {
            int64_t columns = width - j < STRIP ? width - j : STRIP;
            for (int64_t k = 0; k < p->K; k += DEPTH) {
                int64_t depth = p->K - k < DEPTH ? p->K - k : DEPTH;
                pack_strip(p, k, depth, t * width + j, columns, w->strip);
                pons_block_nn(rows, columns, depth, X + k, ldx, w->strip, columns,
                              Y + t * rows * width + j, width, k > 0);
            }
        }
}

bool pons_product_run(pons_product_worker *w, int64_t rows, const void *X, float *Y)
{
    rows = (rows + PONS_PRODUCT_ROWS - 1) / PONS_PRODUCT_ROWS * PONS_PRODUCT_ROWS;
    if (w->bf16) return run_bf16(w, rows, X, Y);
    run_fp32(w, rows, X, Y);
    return true;
}
