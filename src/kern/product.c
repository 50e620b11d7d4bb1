/* Products of a thread's rows with a shared matrix. Owns packing and the order of tiles; the arithmetic
 * is the micro-kernels' (fp32) or bf16.h's. */
#include "kern/product.h"

#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/block.h"
#include "kern/threads.h"
#include "par/shared.h"

/* Widest tile: a tile of B in bf16 and the rows it meets lie in L2. */
enum { WIDEST = 576, WIDTH_STEP = 16 };

/* Bytes of B in bf16 that all rows meet in turn: what L2 holds beside a block of X and Y. */
enum { PACKED_IN_CACHE = 1 << 20 };

/* Columns and depth of an fp32 block of B in L1; rows that meet it in turn. */
enum { STRIP = 64, DEPTH = 128, MOST_ROWS = 2 * PONS_PRODUCT_ROWS };

struct pons_product {
    pons_product_kind kind;
    int64_t K, N;
    pons_product_tiles depth, of; /* of K, of N */
    const float *B;               /* fp32; not owned */
    int64_t ld;
    pons_bf16_kernel *kernel; /* bf16: one tile of X with one of B */
    uint8_t *high, *low;      /* bf16: [of.tiles, depth.tiles] of packed_bytes; low: split */
    size_t packed_bytes;
    pons_shared *shared; /* where high and then low lie */
};

struct pons_product_worker {
    const pons_product *product; /* not owned */
    int64_t capacity;
    pons_bf16_worker *bf16;
    uint16_t *high, *low; /* split: X; not owned */
    float *panel;         /* fp32: a tile of B in strips */
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

/* x as high + low, both bf16; low may be NULL. */
static void split(int64_t n, const float *x, uint16_t *high, uint16_t *low)
{
    pons_bf16_convert(n, x, high);
    if (!low) return;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = pons_float_bits(x[i] - pons_bits_float((uint32_t)high[i] << 16));
        low[i] = (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
}

/* This rank's tiles of B into the kernel's layout, zero past B's last row and column. @param T B's
 * transpose */
static pons_status pack_own(pons_product *p, const float *T, int64_t ld)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), failed = 0;
    int rank = pons_shared_rank(p->shared), ranks = pons_shared_size(p->shared);
    int64_t width = p->of.width, depth = p->depth.width, size = width * depth;
    pons_bf16_worker **workers = NULL;
    uint16_t *plain = NULL;
    PONS_CALLOC(st, workers, threads);
    PONS_ALLOC(st, plain, 2 * threads * size);
    PONS_TRY(st, pons_bf16_workers_create(p->kernel, threads, workers));
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : failed)
    for (int64_t t = rank; t < p->of.tiles * p->depth.tiles; t += ranks) {
        int self = omp_get_thread_num();
        uint16_t *high = plain + 2 * self * size, *low = high + size;
        int64_t n = t / p->depth.tiles * width, k = t % p->depth.tiles * depth;
        int64_t columns = p->K - k < depth ? p->K - k : depth;
        memset(high, 0, (size_t)(2 * size) * sizeof *high);
        for (int64_t i = 0; i < width && n + i < p->N; i++)
            split(columns, T + (n + i) * ld + k, high + i * depth, p->low ? low + i * depth : NULL);
        if (!pons_bf16_pack(workers[self], high, p->high + (size_t)t * p->packed_bytes) ||
            (p->low && !pons_bf16_pack(workers[self], low, p->low + (size_t)t * p->packed_bytes)))
            failed = 1;
    }
    if (failed) st = pons_bf16_refused();
done:
    if (workers) pons_bf16_workers_destroy(threads, workers);
    pons_mem_free(plain);
    pons_mem_free(workers);
    return st;
}

/* Collective: B copied in bf16. */
static pons_status make_packed(pons_comm *comm, pons_product *p, const float *T, int64_t ld)
{
    pons_status st = PONS_OK;
    size_t parts = p->kind == PONS_PRODUCT_SPLIT ? 2 : 1;
    PONS_TRY_ALL(st, comm,
                 pons_bf16_kernel_create(PONS_BF16_SUMMED, PONS_PRODUCT_ROWS, p->of.width,
                                         p->depth.width, &p->kernel));
    p->packed_bytes = (pons_bf16_packed_bytes(p->kernel) + 63) / 64 * 64;
    size_t bytes = (size_t)(p->of.tiles * p->depth.tiles) * p->packed_bytes;
    PONS_TRY(st, pons_shared_create(comm, parts * bytes, &p->shared));
    p->high = pons_shared_data(p->shared);
    if (p->kind == PONS_PRODUCT_SPLIT) p->low = p->high + bytes;
    PONS_TRY_ALL(st, comm, pack_own(p, T, ld));
    pons_shared_settle(p->shared);
done:
    return st;
}

pons_status pons_product_create_shared(pons_comm *comm, pons_product_kind kind, int64_t K,
                                       int64_t N, const float *S, int64_t ld, int64_t k, int64_t n,
                                       pons_product **out)
{
    pons_status st = PONS_OK;
    pons_product *p = pons_mem_calloc(1, sizeof *p);
    PONS_ASSERT(K > 0 && N > 0);
    PONS_TRY_ALL(st, comm, p ? PONS_OK : PONS_ERR_NOMEM);
    p->kind = kind;
    p->K = K;
    p->N = N;
    p->depth = pons_product_tiles_of(K);
    p->of = pons_product_tiles_of(N);
    p->ld = ld;
    if (kind == PONS_PRODUCT_FP32)
        p->B = S + k * ld + n;
    else
        PONS_TRY(st, make_packed(comm, p, S + n * ld + k, ld));
    *out = p;
    p = NULL;
done:
    pons_product_destroy(&p);
    return st;
}

pons_status pons_product_create(pons_product_kind kind, int64_t K, int64_t N, const float *S,
                                int64_t ld, int64_t k, int64_t n, pons_product **out)
{
    return pons_product_create_shared(pons_par_alone(), kind, K, N, S, ld, k, n, out);
}

void pons_product_destroy(pons_product **product)
{
    pons_product *p = *product;
    if (!p) return;
    pons_bf16_kernel_destroy(&p->kernel);
    pons_shared_destroy(&p->shared);
    pons_mem_free(p);
    *product = NULL;
}

size_t pons_product_space(const pons_product *product, int64_t capacity)
{
    return product->low ? 4 * (size_t)(capacity * product->depth.padded) : 0;
}

pons_status pons_product_worker_create(const pons_product *product, int64_t capacity, void *space,
                                       pons_product_worker **out)
{
    pons_status st = PONS_OK;
    pons_product_worker *w = NULL;
    PONS_ASSERT(capacity % PONS_PRODUCT_ROWS == 0);
    PONS_CALLOC(st, w, 1);
    w->product = product;
    w->capacity = capacity;
    if (product->kernel)
        PONS_TRY(st, pons_bf16_workers_create(product->kernel, 1, &w->bf16));
    else
        PONS_ALLOC(st, w->panel, product->depth.width * product->of.width);
    w->high = space;
    if (product->low) w->low = w->high + capacity * product->depth.padded;
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
    if (w->bf16) pons_bf16_workers_destroy(1, &w->bf16);
    pons_mem_free(w->panel);
    pons_mem_free(w);
    *worker = NULL;
}

/* Block (i, t) of Y: the tiles [k, end) of the depth, high high + high low + low high, the last two only
 * when split. */
static bool run_block(pons_product_worker *w, bool both, int64_t t, int64_t i, int64_t k,
                      int64_t end, const uint16_t *high, const uint16_t *low, float *Y)
{
    const pons_product *p = w->product;
    float *C = Y + (t * w->capacity + i) * p->of.width;
    bool good = true;
    for (; k < end; k++) {
        size_t tile = (size_t)(t * p->depth.tiles + k) * p->packed_bytes;
        int64_t at = (k * w->capacity + i) * p->depth.width;
        good &= (k ? pons_bf16_run_add : pons_bf16_run)(w->bf16, high + at, p->high + tile, C);
        if (!both) continue;
        good &= pons_bf16_run_add(w->bf16, high + at, p->low + tile, C);
        good &= pons_bf16_run_add(w->bf16, low + at, p->high + tile, C);
    }
    return good;
}

/* As many tiles of B as stay in L2 meet all rows before the next ones do: sums of Y then travel less. */
static bool run_bf16(pons_product_worker *w, bool both, int64_t rows, const uint16_t *high,
                     const uint16_t *low, float *Y)
{
    const pons_product *p = w->product;
    int64_t stay = PACKED_IN_CACHE / (int64_t)p->packed_bytes / (both ? 2 : 1);
    bool good = true;
    if (stay < 1) stay = 1;
    for (int64_t t = 0; t < p->of.tiles; t++)
        for (int64_t k = 0, end; k < p->depth.tiles; k = end) {
            end = k + stay < p->depth.tiles ? k + stay : p->depth.tiles;
            for (int64_t i = 0; i < rows; i += PONS_PRODUCT_ROWS)
                good &= run_block(w, both, t, i, k, end, high, low, Y);
        }
    return good;
}

static bool run_split(pons_product_worker *w, int64_t rows, const float *X, float *Y)
{
    const pons_product_tiles *depth = &w->product->depth;
    for (int64_t k = 0; k < depth->tiles; k++) {
        int64_t at = k * w->capacity * depth->width;
        split(rows * depth->width, X + at, w->high + at, w->low + at);
    }
    return run_bf16(w, true, rows, w->high, w->low, Y);
}

/* B[k.., column..] of `depth` rows and `width` columns into the strip, zero past N. */
static void pack_strip(const pons_product *p, int64_t k, int64_t depth, int64_t column,
                       int64_t width, float *strip)
{
    int64_t inside = p->N - column < width ? p->N - column : width;
    if (inside < 0) inside = 0;
    for (int64_t i = 0; i < depth; i++) {
        memcpy(strip + i * width, p->B + (k + i) * p->ld + column, (size_t)inside * sizeof *strip);
        memset(strip + i * width + inside, 0, (size_t)(width - inside) * sizeof *strip);
    }
}

/* Tile (k, t) of B, `depth` rows of it, in strips and these in blocks. */
static void pack_panel(const pons_product *p, int64_t k, int64_t depth, int64_t t, float *panel)
{
    int64_t width = p->of.width;
    for (int64_t j = 0; j < width; j += STRIP) {
        int64_t columns = width - j < STRIP ? width - j : STRIP;
        pack_strip(p, k, depth, t * width + j, columns, panel + j * depth);
    }
}

/* Rows that meet a panel of B while they and it are in L2: C += A panel, or C = when it is the first. */
static void run_panel(int64_t rows, int64_t depth, int64_t width, const float *A, int64_t lda,
                      const float *panel, float *C, bool add)
{
    for (int64_t j = 0; j < width; j += STRIP) {
        int64_t columns = width - j < STRIP ? width - j : STRIP;
        const float *strip = panel + j * depth;
        for (int64_t k = 0; k < depth; k += DEPTH)
            pons_block_nn(rows, columns, depth - k < DEPTH ? depth - k : DEPTH, A + k, lda,
                          strip + k * columns, columns, C + j, width, add || k > 0);
    }
}

static void run_fp32(pons_product_worker *w, int64_t rows, const float *X, float *Y)
{
    const pons_product *p = w->product;
    int64_t width = p->of.width, ldx = p->depth.width;
    /* rows of B outermost, as they lie: a matrix on disk is read once, from its begin to its end */
    for (int64_t tile = 0; tile < p->depth.tiles; tile++)
        for (int64_t t = 0; t < p->of.tiles; t++) {
            int64_t k = tile * ldx, depth = p->K - k < ldx ? p->K - k : ldx;
            pack_panel(p, k, depth, t, w->panel);
            for (int64_t i = 0; i < rows; i += MOST_ROWS)
                run_panel(rows - i < MOST_ROWS ? rows - i : MOST_ROWS, depth, width,
                          X + (tile * w->capacity + i) * ldx, ldx, w->panel,
                          Y + (t * w->capacity + i) * width, tile > 0);
        }
}

bool pons_product_run(pons_product_worker *w, pons_product_kind kind, int64_t rows, const void *X,
                      float *Y)
{
    PONS_ASSERT(rows <= w->capacity);
    rows = (rows + PONS_PRODUCT_ROWS - 1) / PONS_PRODUCT_ROWS * PONS_PRODUCT_ROWS;
    switch (kind) {
    case PONS_PRODUCT_BF16: return run_bf16(w, false, rows, X, NULL, Y);
    case PONS_PRODUCT_SPLIT: return run_split(w, rows, X, Y);
    case PONS_PRODUCT_FP32: run_fp32(w, rows, X, Y);
    }
    return true;
}
