/* Sums over windows of L^T R. Owns a window's packing, the rounding and who takes which tiles; which columns and tiles are
 * wanted is the user's.
 *
 * In bf16 nearly all of this waits for memory: a row of tiles meets one left side, which stays in L2, and where both
 * sides are the same columns it is turned there from the right one, the only one that is stored. */
#include "kern/window_sum.h"

#include <cblas.h>

#include "base/mem.h"
#include "kern/threads.h"

/* Largest width of a tile, and the multiple it is rounded to; in bf16, tokens of a product, the most whose
 * copies in the kernel stay in cache, and the multiple of their number. */
enum { WIDEST = 256, WIDTH_STEP = 32, DEEPEST = 512, DEPTH_STEP = 32 };

pons_window_tiling pons_window_tiling_of(int64_t d)
{
    int64_t tiles = (d + WIDEST - 1) / WIDEST, width = (d + tiles - 1) / tiles;
    return (pons_window_tiling){
        .d = d, .width = (width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP, .end = tiles};
}

/* Columns of tile i that there are: its width, fewer in the last one. */
static int64_t extent(const pons_window_tiling *t, int64_t i)
{
    int64_t left = t->d - i * t->width;
    return left < t->width ? left : t->width;
}

/* Tile (i, j) of the product, [left.width, right.width]: entries that are wanted are rounded, then added. */
static void add_tile(const pons_window_sum *w, int64_t i, int64_t j, const float *product)
{
    /* v + magic - magic is v rounded to the quantum: the last bit of a double near 1.5 * 2^52 quanta
     * is one quantum */
    const double magic = 0x1.8p52 * w->quantum;
    const pons_window_tiling *left = &w->left, *right = &w->right;
    int64_t rows = extent(left, i), cols = extent(right, j);
    int64_t ld = right->d - right->first * right->width;
    double *to = w->sum + (i - left->first) * left->width * ld + (j - right->first) * right->width;
    for (int64_t r = 0; r < rows; r++) {
        double *row = to + r * ld;
        const float *v = product + r * right->width;
        for (int64_t c = w->upper && i == j ? r : 0; c < cols; c++)
            row[c] += ((double)v[c] + magic) - magic;
    }
}

void pons_window_sum_end(pons_window_sum *w)
{
    if (w->workers) pons_bf16_workers_destroy(w->threads, w->workers);
    pons_bf16_kernel_destroy(&w->kernel);
    pons_mem_free(w->workers);
    pons_mem_free(w->turned);
    pons_mem_free(w->products);
    pons_mem_free(w->operands);
}

/* [tiles, parts] of an operand. */
static int64_t count_parts(const pons_window_sum *w, const pons_window_tiling *t)
{
    return (t->end - t->first) * w->parts;
}

/* Tokens of a product in bf16; how many products there are. */
static void cut_tokens(pons_window_sum *w)
{
    w->parts = (w->S + DEEPEST - 1) / DEEPEST;
    w->depth = ((w->S + w->parts - 1) / w->parts + DEPTH_STEP - 1) / DEPTH_STEP * DEPTH_STEP;
}

double pons_window_sum_bytes(const pons_window_sum *of)
{
    pons_window_sum w = *of;
    double entry = w.bf16 ? sizeof(uint16_t) : sizeof(float), tokens = (double)w.S, turned = 0;
    double columns = (double)(w.right.end * w.right.width);
    if (!w.upper) columns += (double)(w.left.end * w.left.width);
    if (w.bf16) {
        cut_tokens(&w);
        tokens = (double)(w.parts * w.depth);
        if (w.upper) turned = entry * tokens * (double)w.left.width;
    }
    double product = sizeof *w.products * (double)(w.left.width * w.right.width);
    return entry * tokens * columns + w.threads * (turned + product);
}

static pons_status create_kernel(pons_window_sum *w)
{
    pons_status st = PONS_OK;
    cut_tokens(w);
    PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_GRAM, w->left.width, w->right.width, w->depth,
                                         &w->kernel));
    w->l = (int64_t)pons_bf16_left_bytes(w->kernel);
    w->r = (int64_t)pons_bf16_stride(w->kernel);
    PONS_CALLOC(st, w->workers, w->threads);
    PONS_TRY(st, pons_bf16_workers_create(w->kernel, w->threads, w->workers));
done:
    return st;
}

pons_status pons_window_sum_begin(pons_window_sum *w)
{
    pons_status st = PONS_OK;
    int64_t size;
    w->threads = pons_kern_threads();
    if (w->bf16) {
        PONS_TRY(st, create_kernel(w));
        w->right_at = w->upper ? 0 : count_parts(w, &w->left) * w->l;
        size = w->right_at + count_parts(w, &w->right) * w->r;
        if (w->upper) PONS_ALLOC(st, w->turned, w->threads * w->parts * w->l);
    } else {
        w->right_at = w->upper ? 0 : w->S * w->left.d * (int64_t)sizeof(float);
        size = w->right_at + w->S * w->right.d * (int64_t)sizeof(float);
    }
    PONS_ALLOC(st, w->products, w->threads * w->left.width * w->right.width);
    PONS_ALLOC(st, w->operands, size);
done:
    return st;
}

static void hold_fp32(const pons_window_sum *w, pons_cross_side side, int64_t d, uint8_t *to)
{
    float *X = (float *)to;
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t s = 0; s < w->S; s++)
        for (int64_t j = 0; j < d; j++)
            X[s * d + j] = side.X[s * d + j] * side.scale[j];
}

static void hold_bf16(const pons_window_sum *w, const pons_window_tiling *t, bool is_left,
                      pons_cross_side side, uint8_t *to)
{
    int64_t count = count_parts(w, t), bytes = is_left ? w->l : w->r;
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t n = 0; n < count; n++) {
        int64_t s = n % w->parts * w->depth, i = t->first + n / w->parts, column = i * t->width;
        uint8_t *part = to + n * bytes;
        pons_bf16_take(w->kernel, w->S - s < w->depth ? w->S - s : w->depth, extent(t, i),
                       side.X + s * t->d + column, t->d, side.scale + column, is_left ? part : NULL,
                       is_left ? NULL : part);
    }
}

/* Tiles of row i. */
static int64_t row_begin(const pons_window_sum *w, int64_t i)
{
    return w->upper ? i : w->right.first;
}

/* What a thread takes at a time: some tiles of a row, about as many in each share. */
typedef struct share {
    int64_t i, begin, end;
} share;

/* Share n of all, or that there are not as many. */
static bool find_share(const pons_window_sum *w, int64_t most, int64_t n, share *out)
{
    for (int64_t i = w->left.first; i < w->bottom; i++) {
        int64_t begin = row_begin(w, i), count = w->right.end - begin;
        int64_t shares = (count + most - 1) / most;
        if (n < shares) {
            *out = (share){i, begin + count * n / shares, begin + count * (n + 1) / shares};
            return true;
        }
        n -= shares;
    }
    return false;
}

/* The left side of row i, where products find it. */
static const uint8_t *bring_left(const pons_window_sum *w, int self, int64_t i)
{
    int64_t row = i - w->left.first;
    if (!w->bf16) return w->operands;
    if (!w->upper) return w->operands + row * w->parts * w->l;
    const uint8_t *right = w->operands + row * w->parts * w->r;
    return pons_bf16_turn(w->kernel, w->parts, right, w->turned + self * w->parts * w->l);
}

/* Tile (i, j) of the product. @return false when the library refused */
static bool multiply(const pons_window_sum *w, int self, const uint8_t *left, int64_t i, int64_t j,
                     float *product)
{
    const uint8_t *right = w->operands + w->right_at;
    if (!w->bf16) {
        const float *L = (const float *)left, *R = (const float *)right;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)extent(&w->left, i),
                    (int)extent(&w->right, j), (int)w->S, 1.0f, L + i * w->left.width,
                    (int)w->left.d, R + j * w->right.width, (int)w->right.d, 0.0f, product,
                    (int)w->right.width);
        return true;
    }
    right += (j - w->right.first) * w->parts * w->r;
    return pons_bf16_run_gram(w->workers[self], w->parts, w->upper && i == j, left, right, product);
}

pons_status pons_window_sum_add(pons_window_sum *w, pons_cross_side left, pons_cross_side right)
{
    int failed = 0;
    int64_t tiles = 0, shares = 0;
    share one;
    if (w->bf16) {
        if (!w->upper) hold_bf16(w, &w->left, true, left, w->operands);
        hold_bf16(w, &w->right, false, w->upper ? left : right, w->operands + w->right_at);
    } else {
        if (!w->upper) hold_fp32(w, left, w->left.d, w->operands);
        hold_fp32(w, w->upper ? left : right, w->right.d, w->operands + w->right_at);
    }
    for (int64_t i = w->left.first; i < w->bottom; i++)
        tiles += w->right.end - row_begin(w, i);
    /* the fewer shares, the fewer left sides to turn, each as long as a fifth of a product */
    int64_t most = w->threads == 1 ? tiles : tiles / (2 * w->threads);
    if (most < 1) most = 1;
    while (find_share(w, most, shares, &one))
        shares++;
#pragma omp parallel for schedule(dynamic) num_threads(w->threads) reduction(| : failed)
    for (int64_t n = 0; n < shares; n++) {
        int self = omp_get_thread_num();
        float *product = w->products + self * w->left.width * w->right.width;
        share mine = {0};
        find_share(w, most, n, &mine);
        const uint8_t *from = bring_left(w, self, mine.i);
        for (int64_t j = mine.begin; j < mine.end; j++) {
            if (!multiply(w, self, from, mine.i, j, product)) failed = 1;
            if (!failed) add_tile(w, mine.i, j, product);
        }
    }
    return failed ? pons_bf16_refused() : PONS_OK;
}
