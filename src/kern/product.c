/* Products of a thread's rows with a shared matrix. Owns packing and the order of tiles; the arithmetic
 * is the micro-kernels' (fp32) or bf16.h's. */
#include "kern/product.h"

#include <string.h>

#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/strips.h"
#include "kern/threads.h"
#include "par/shared.h"

/* Widest tile: a tile of B in bf16 and the rows it meets lie in L2. */
enum { WIDEST = 576, WIDTH_STEP = 16 };

/* Rows in bf16 that a stream of B meets at a time, at most so many, and over so much of the depth as
 * PONS_PRODUCT_SPACE takes: L2 holds them beside the columns of B that they are at. */
enum { GROUP = 192 };

/* Bytes of a term of B that stay in L2 from one group to the next. */
enum { NEAR = 1 << 20 };

_Static_assert(PONS_PRODUCT_SPACE >= GROUP * WIDEST * 3 * sizeof(uint16_t),
               "a tile of the depth fits");

struct pons_product {
    pons_product_kind kind;
    int64_t K, N;
    pons_product_tiles depth, of; /* of K, of N */
    const float *B;               /* fp32; not owned */
    int64_t ld;
    pons_bf16_kernel *kernel; /* bf16: blocks of X with a tile of B */
    int terms;                /* bf16: that B is split into */
    uint8_t *term[3];         /* each [of.tiles, depth.tiles] of packed_bytes */
    size_t packed_bytes, term_bytes;
    pons_shared *shared; /* where the terms lie, one behind the other */
};

struct pons_product_worker {
    const pons_product *product; /* not owned */
    int64_t capacity;
    pons_bf16_worker *bf16;
    uint8_t *group; /* bf16: rows of X; not owned */
    float *panel;   /* fp32: a tile of B in strips */
};

/* Terms of X and of B. */
typedef struct terms {
    int of_x, of_b;
} terms;

static terms terms_of(pons_product_kind kind)
{
    switch (kind) {
    case PONS_PRODUCT_FP32: break;
    case PONS_PRODUCT_BF16: return (terms){1, 1};
    case PONS_PRODUCT_MIXED: return (terms){1, 2};
    case PONS_PRODUCT_SPLIT: return (terms){2, 2};
    case PONS_PRODUCT_TRIPLE: return (terms){3, 3};
    }
    return (terms){0, 0};
}

/* Some rank of some communicator has no tiles. */
static bool unlike;

void pons_product_agree(pons_comm *comm)
{
    if (!pons_comm_all(comm, pons_bf16_on_tiles())) unlike = true;
}

pons_product_kind pons_product_exact(bool bf16)
{
    return bf16                              ? PONS_PRODUCT_SPLIT
           : pons_bf16_on_tiles() && !unlike ? PONS_PRODUCT_TRIPLE
                                             : PONS_PRODUCT_FP32;
}

pons_product_tiles pons_product_tiles_of(int64_t n)
{
    pons_product_tiles t;
    t.tiles = (n + WIDEST - 1) / WIDEST;
    t.width = (n + t.tiles - 1) / t.tiles;
    t.width = (t.width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
    t.padded = t.tiles * t.width;
    return t;
}

/* This rank's tiles of B, whose transpose is T, into the kernel's layout. */
static pons_status pack_own(pons_product *p, const float *T, int64_t ld)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads(), failed = 0;
    int rank = pons_shared_rank(p->shared), ranks = pons_shared_size(p->shared);
    int64_t bytes = (int64_t)pons_bf16_terms_bytes(p->kernel);
    pons_bf16_worker **workers = NULL;
    uint8_t *work = NULL;
    PONS_CALLOC(st, workers, threads);
    PONS_ALLOC(st, work, threads * bytes);
    PONS_TRY(st, pons_bf16_workers_create(p->kernel, threads, workers));
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : failed)
    for (int64_t t = rank; t < p->of.tiles * p->depth.tiles; t += ranks) {
        int self = omp_get_thread_num();
        int64_t n = t / p->depth.tiles * p->of.width, k = t % p->depth.tiles * p->depth.width;
        if (!pons_bf16_pack_terms(workers[self], p->terms, p->N - n, p->K - k, T + n * ld + k, ld,
                                  work + self * bytes, p->term_bytes,
                                  p->term[0] + (size_t)t * p->packed_bytes))
            failed = 1;
    }
    if (failed) st = pons_bf16_refused();
done:
    if (workers) pons_bf16_workers_destroy(threads, workers);
    pons_mem_free(work);
    pons_mem_free(workers);
    return st;
}

/* Collective: B copied in bf16. */
static pons_status make_packed(pons_comm *comm, pons_product *p, const float *T, int64_t ld)
{
    pons_status st = PONS_OK;
    p->terms = terms_of(p->kind).of_b;
    PONS_TRY_ALL(st, comm,
                 pons_bf16_kernel_create(PONS_BF16_SUMMED, PONS_PRODUCT_ROWS, p->of.width,
                                         p->depth.width, &p->kernel));
    p->packed_bytes = pons_bf16_stride(p->kernel);
    p->term_bytes = (size_t)(p->of.tiles * p->depth.tiles) * p->packed_bytes;
    PONS_TRY(st, pons_shared_create(comm, (size_t)p->terms * p->term_bytes, &p->shared));
    for (int term = 0; term < p->terms; term++)
        p->term[term] = (uint8_t *)pons_shared_data(p->shared) + (size_t)term * p->term_bytes;
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

size_t pons_product_space(const pons_product *product)
{
    return product->kernel ? PONS_PRODUCT_SPACE : 0;
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
    w->group = space;
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

/* The tiles [k, k + count) of the depth for `rows` rows from row i on. X is taken apart once and meets all of B
 * there; sums stay in registers over all of it. */
static bool run_group(pons_product_worker *w, terms of, bool rounded, int64_t i, int64_t rows,
                      int64_t k, int64_t count, const void *X, float *Y)
{
    const pons_product *p = w->product;
    pons_bf16_sum s = {.blocks = rows / PONS_PRODUCT_ROWS,
                       .tiles = count,
                       .of_a = of.of_x,
                       .of_b = of.of_b,
                       .left = w->group,
                       .far = p->term_bytes > NEAR,
                       .add = k > 0};
    size_t entry = rounded ? sizeof(uint16_t) : sizeof(float);
    size_t bytes = pons_bf16_brought_bytes(p->kernel, of.of_x);
    uint8_t *to = w->group;
    bool good = true;
    for (int64_t r = i; r < i + rows; r += PONS_PRODUCT_ROWS)
        for (int64_t t = k; t < k + count; t++, to += bytes) {
            int64_t at = (t * w->capacity + r) * p->depth.width;
            pons_bf16_bring(p->kernel, of.of_x, rounded, (const uint8_t *)X + (size_t)at * entry,
                            to);
        }
    for (int64_t t = 0; t < p->of.tiles; t++) {
        s.next = t + 1 < p->of.tiles ? (size_t)p->depth.tiles * p->packed_bytes : 0;
        for (int q = 0; q < of.of_b; q++)
            s.B[q] = p->term[q] + (size_t)(t * p->depth.tiles + k) * p->packed_bytes;
        good &= pons_bf16_run_sum(w->bf16, &s, Y + (t * w->capacity + i) * p->of.width);
    }
    return good;
}

/* Groups of rows of about the same size, each over as much of the depth at a time as leaves it in L2. */
static bool run_bf16(pons_product_worker *w, pons_product_kind kind, int64_t rows, const void *X,
                     float *Y)
{
    const pons_product *p = w->product;
    terms of = terms_of(kind);
    bool rounded = kind == PONS_PRODUCT_BF16 || kind == PONS_PRODUCT_MIXED, good = true;
    int64_t blocks = rows / PONS_PRODUCT_ROWS, groups = (rows + GROUP - 1) / GROUP;
    PONS_ASSERT(of.of_b <= p->terms);
    int64_t each = (blocks + groups - 1) / groups * PONS_PRODUCT_ROWS;
    int64_t bytes = (int64_t)pons_bf16_brought_bytes(p->kernel, of.of_x) * each / PONS_PRODUCT_ROWS;
    for (int64_t k = 0, count; k < p->depth.tiles; k += count) {
        count = PONS_PRODUCT_SPACE / bytes;
        if (count > p->depth.tiles - k) count = p->depth.tiles - k;
        for (int64_t i = 0; i < rows; i += each)
            good &= run_group(w, of, rounded, i, rows - i < each ? rows - i : each, k, count, X, Y);
    }
    return good;
}

static void run_fp32(pons_product_worker *w, int64_t rows, const float *X, float *Y)
{
    const pons_product *p = w->product;
    int64_t width = p->of.width, ldx = p->depth.width;
    /* rows of B outermost, as they lie: a matrix on disk is read once, from its begin to its end */
    for (int64_t tile = 0; tile < p->depth.tiles; tile++)
        for (int64_t t = 0; t < p->of.tiles; t++) {
            int64_t k = tile * ldx, depth = p->K - k < ldx ? p->K - k : ldx;
            pons_strips_pack(depth, width, p->N - t * width, p->B + k * p->ld + t * width, p->ld,
                             w->panel);
            pons_strips_run(rows, depth, width, X + tile * w->capacity * ldx, ldx, w->panel,
                            Y + t * w->capacity * width, tile > 0);
        }
}

bool pons_product_run(pons_product_worker *w, pons_product_kind kind, int64_t rows, const void *X,
                      float *Y)
{
    PONS_ASSERT(rows <= w->capacity && (kind == PONS_PRODUCT_FP32) == !w->product->kernel);
    if (rows == 0) return true;
    rows = (rows + PONS_PRODUCT_ROWS - 1) / PONS_PRODUCT_ROWS * PONS_PRODUCT_ROWS;
    if (kind != PONS_PRODUCT_FP32) return run_bf16(w, kind, rows, X, Y);
    run_fp32(w, rows, X, Y);
    return true;
}
