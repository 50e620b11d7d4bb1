/* Sums over windows of L^T R. Owns the windows that wait, their packing and the rounding; which columns and tiles are
 * wanted is the user's. */
#include "kern/window_sum.h"

#include <cblas.h>

#include "base/mem.h"
#include "kern/threads.h"

/* Largest width of a tile, and the multiple it is rounded to; in bf16, tokens of a product, the most whose
 * copies in the kernel stay in cache, and the multiple of their number. */
enum { WIDEST = 256, WIDTH_STEP = 32, DEEPEST = 512, DEPTH_STEP = 32 };

/* Windows that are added together, at most, and the memory of their operands that allows more than one. A tile of the
 * sum in fp64 is then read and written once for all of them: with one, that takes as long as the product. */
enum { TOGETHER = 2, TOGETHER_BYTES = 1 << 28 };

pons_window_tiling pons_window_tiling_of(int64_t d)
{
    int64_t tiles = (d + WIDEST - 1) / WIDEST, width = (d + tiles - 1) / tiles;
    return (pons_window_tiling){
        .d = d, .width = (width + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP, .end = tiles};
}

int64_t pons_window_sum_together(double window)
{
    int64_t count = (int64_t)(TOGETHER_BYTES / window);
    return count < 1 ? 1 : count > TOGETHER ? TOGETHER : count;
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
    pons_mem_free(w->products);
    pons_mem_free(w->operands);
}

/* [tiles, parts] of an operand. */
static int64_t count_parts(const pons_window_sum *w, const pons_window_tiling *t)
{
    return (t->end - t->first) * w->parts;
}

static pons_status create_kernel(pons_window_sum *w)
{
    pons_status st = PONS_OK;
    w->parts = (w->S + DEEPEST - 1) / DEEPEST;
    w->depth = ((w->S + w->parts - 1) / w->parts + DEPTH_STEP - 1) / DEPTH_STEP * DEPTH_STEP;
    PONS_TRY(st, pons_bf16_kernel_create(PONS_BF16_GRAM, w->left.width, w->right.width, w->depth,
                                         &w->kernel));
    w->l = (int64_t)pons_bf16_left_bytes(w->kernel);
    w->r = (int64_t)pons_bf16_stride(w->kernel);
    w->right_at = count_parts(w, &w->left) * w->l;
    w->window = w->right_at + count_parts(w, &w->right) * w->r;
    PONS_CALLOC(st, w->workers, w->threads);
    PONS_TRY(st, pons_bf16_workers_create(w->kernel, w->threads, w->workers));
done:
    return st;
}

pons_status pons_window_sum_begin(pons_window_sum *w, int64_t windows)
{
    pons_status st = PONS_OK;
    w->threads = pons_kern_threads();
    w->right_at = w->upper ? 0 : w->S * w->left.d * (int64_t)sizeof(float);
    w->window = w->right_at + w->S * w->right.d * (int64_t)sizeof(float);
    if (w->bf16) PONS_TRY(st, create_kernel(w));
    w->capacity = pons_window_sum_together((double)w->window);
    if (w->capacity > windows) w->capacity = windows;
    PONS_ALLOC(st, w->products, w->threads * w->left.width * w->right.width);
    PONS_ALLOC(st, w->operands, w->capacity * w->window);
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

static void hold_bf16(const pons_window_sum *w, pons_cross_side left, pons_cross_side right,
                      uint8_t *to)
{
    int64_t lefts = count_parts(w, &w->left), rights = w->upper ? 0 : count_parts(w, &w->right);
#pragma omp parallel for schedule(static) num_threads(w->threads)
    for (int64_t n = 0; n < lefts + rights; n++) {
        bool is_left = n < lefts, is_right = w->upper || !is_left; /* both from one reading */
        const pons_window_tiling *t = is_left ? &w->left : &w->right;
        pons_cross_side side = is_left ? left : right;
        int64_t at = is_left ? n : n - lefts, s = at % w->parts * w->depth;
        int64_t i = t->first + at / w->parts, column = i * t->width;
        pons_bf16_take(w->kernel, w->S - s < w->depth ? w->S - s : w->depth, extent(t, i),
                       side.X + s * t->d + column, t->d, side.scale + column,
                       is_left ? to + at * w->l : NULL,
                       is_right ? to + w->right_at + at * w->r : NULL);
    }
}

/* Tile (i, j) of the product of a window. @return false when the library refused */
static bool multiply(const pons_window_sum *w, int self, int64_t window, int64_t i, int64_t j,
                     float *product)
{
    const uint8_t *left = w->operands + window * w->window, *right = left + w->right_at;
    if (!w->bf16) {
        const float *L = (const float *)left, *R = (const float *)right;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)extent(&w->left, i),
                    (int)extent(&w->right, j), (int)w->S, 1.0f, L + i * w->left.width,
                    (int)w->left.d, R + j * w->right.width, (int)w->right.d, 0.0f, product,
                    (int)w->right.width);
        return true;
    }
    left += (i - w->left.first) * w->parts * w->l;
    right += (j - w->right.first) * w->parts * w->r;
    return pons_bf16_run_gram(w->workers[self], w->parts, w->upper && i == j, left, right, product);
}

pons_status pons_window_sum_flush(pons_window_sum *w)
{
    int failed = 0;
    if (w->held == 0) return PONS_OK;
    int64_t across = w->right.end - w->right.first, count = (w->bottom - w->left.first) * across;
#pragma omp parallel for schedule(dynamic) num_threads(w->threads) reduction(| : failed)
    for (int64_t n = 0; n < count; n++) {
        int64_t i = w->left.first + n / across, j = w->right.first + n % across;
        int self = omp_get_thread_num();
        float *product = w->products + self * w->left.width * w->right.width;
        if (w->upper && j < i) continue;
        for (int64_t k = 0; k < w->held; k++) {
            if (!multiply(w, self, k, i, j, product)) failed = 1;
            if (!failed) add_tile(w, i, j, product);
        }
    }
    w->held = 0;
    return failed ? pons_bf16_refused() : PONS_OK;
}

pons_status pons_window_sum_add(pons_window_sum *w, pons_cross_side left, pons_cross_side right)
{
    uint8_t *to = w->operands + w->held * w->window;
    if (w->bf16) {
        hold_bf16(w, left, right, to);
    } else {
        hold_fp32(w, left, w->left.d, to);
        if (!w->upper) hold_fp32(w, right, w->right.d, to + w->right_at);
    }
    return ++w->held == w->capacity ? pons_window_sum_flush(w) : PONS_OK;
}
