/* Products with a prepared weight matrix. Owns the packed matrix, the packed input and the tiles of
 * X W^T; a tile itself is one BLAS call (fp32) or one kernel (bf16). What is made of tiles
 * beyond storing them is fused.c and loss.c.
 *
 * The product is cut into panels of PANEL tokens from the first one on and into tiles of equal width
 * along the rows of W. A last panel that is not full is padded with zero tokens to the same shape,
 * so the bits of a token depend neither on T nor on the threads. */
#include <cblas.h>
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "kern/bf16.h"
#include "kern/gemm.h"
#include "kern/round_bf16.h"
#include "kern/threads.h"
#include "kern/tiles.h"

/* Tokens of a panel; largest width of a tile of W, and the multiple it is rounded to. */
enum { PANEL = 128, WIDEST = 256, WIDTH_STEP = 16 };

/* Bytes of packed W that one work item runs over; work items wanted for each thread. */
enum { PACKED_IN_CACHE = 2 << 20, ITEMS_PER_THREAD = 4 };

/* Bytes of packed tiles of W that do not stay in L2 from one panel to the next; panels that then share a pass over
 * them. */
enum { PACKED_BEYOND = 1 << 20, TOGETHER = 4 };

_Static_assert(sizeof(float[PONS_TILES][TOGETHER][PANEL][WIDEST]) == PONS_MATMUL_THREAD_BYTES,
               "what the planner counts");

struct pons_matmul {
    int64_t rows, d;
    int64_t width, tiles; /* rows of W in a tile; tiles * width >= rows */
    float *W;             /* fp32: [rows, d]; NULL in bf16 */
    pons_bf16_kernel *kernel;
    uint8_t *packed; /* bf16: [tiles] of packed_bytes */
    size_t packed_bytes;
    float *bias; /* [rows] or NULL */
};

struct pons_matmul_input {
    bool bf16;
    int64_t T, d;
    size_t bytes; /* of the memory at x */
    size_t panel; /* bytes of a panel */
    char *x;      /* panels [PANEL, d]: floats, or bf16 by pons_bf16_put_row; zero past T */
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
        m->packed_bytes = pons_bf16_stride(m->kernel);
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
    pons_mem_free(m->bias);
    pons_mem_free(m->packed);
    pons_mem_free(m->W);
    pons_mem_free(m);
    *W = NULL;
}

pons_status pons_matmul_set_bias(pons_matmul *W, const float *bias)
{
    pons_status st = PONS_OK;
    float *copy = NULL;
    if (bias) {
        PONS_ALLOC(st, copy, W->rows);
        memcpy(copy, bias, (size_t)W->rows * sizeof *bias);
    }
    pons_mem_free(W->bias);
    W->bias = copy;
done:
    return st;
}

void pons_matmul_input_destroy(pons_matmul_input **input)
{
    pons_matmul_input *in = *input;
    if (!in) return;
    pons_mem_free(in->x);
    pons_mem_free(in);
    *input = NULL;
}

static pons_status reserve(pons_matmul_input *in, size_t bytes)
{
    if (bytes <= in->bytes) return PONS_OK;
    pons_mem_free(in->x);
    in->bytes = 0;
    in->x = pons_mem_alloc((int64_t)bytes, 1);
    if (!in->x) return PONS_ERR_NOMEM;
    in->bytes = bytes;
    return PONS_OK;
}

pons_status pons_matmul_pack(bool bf16, int64_t T, int64_t d, const float *X, int64_t ldx,
                             pons_matmul_input **input)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads();
    int64_t panels = (T + PANEL - 1) / PANEL;
    size_t row = (size_t)d * sizeof *X;
    if (!*input) PONS_CALLOC(st, *input, 1);
    pons_matmul_input *in = *input;
    in->panel = bf16 ? pons_bf16_rows_bytes(PANEL, d) : PANEL * row;
    PONS_TRY(st, reserve(in, (size_t)panels * in->panel));
    in->bf16 = bf16;
    in->T = T;
    in->d = d;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < panels * PANEL; t++) {
        const float *from = t < T ? X + t * ldx : NULL;
        char *panel = in->x + (size_t)(t / PANEL) * in->panel, *to = panel + t % PANEL * row;
        if (bf16)
            pons_bf16_put_row(d, t % PANEL, from, panel);
        else if (from)
            memcpy(to, from, row);
        else
            memset(to, 0, row);
    }
done:
    return st;
}

/* Matrices whose tiles are made together, and what each thread has for that. */
typedef struct job {
    int count;
    const pons_matmul *const *W;
    const pons_matmul_input *X;
    pons_bf16_worker **workers[PONS_TILES]; /* [threads] in bf16 */
    float *tiles;                           /* [threads, count, together, PANEL, width] */
    int64_t panels, together;               /* of X; in a work item, at most */
    int64_t step;                           /* tiles along W in a work item, at most */
} job;

/* Tile t of `panels` panels from p on, bias added; false when the library refused. */
static bool make_tile(const job *j, int n, int self, int64_t p, int64_t panels, int64_t t,
                      float *tile)
{
    const pons_matmul *m = j->W[n];
    int64_t d = m->d, left = m->rows - t * m->width, rows = left < m->width ? left : m->width;
    const char *x = j->X->x + (size_t)p * j->X->panel;
    if (m->kernel) {
        if (!pons_bf16_run_rows(j->workers[n][self], panels, x,
                                m->packed + (size_t)t * m->packed_bytes, tile))
            return false;
    } else {
        PONS_ASSERT(panels == 1);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, PANEL, (int)rows, (int)d, 1.0f,
                    (const float *)(const void *)x, (int)d, m->W + t * m->width * d, (int)d, 0.0f,
                    tile, (int)m->width);
    }
    for (int64_t i = 0; m->bias && i < panels * PANEL; i++)
        for (int64_t r = 0; r < rows; r++)
            tile[i * m->width + r] += m->bias[t * m->width + r];
    return true;
}

/* At least one and at most `all` of what `fit` together, fewer when the threads would be left without work. */
static int64_t in_item(const job *j, int64_t fit, int64_t all, int threads)
{
    int64_t share = j->W[0]->tiles * j->panels / (ITEMS_PER_THREAD * threads);
    int64_t count = fit < share ? fit : share;
    return count < 1 ? 1 : count < all ? count : all;
}

/* What one work item takes: as many tiles along W as stay in L2 beside the panel, or several panels for one that does
 * not, where the kernel makes one product of them. Changes no bits. */
static void choose_item(job *j, int threads)
{
    const pons_matmul *m = j->W[0];
    int64_t bytes = m->kernel ? (int64_t)m->packed_bytes : m->width * m->d * (int64_t)sizeof *m->W;
    bool beyond = m->kernel && pons_bf16_on_tiles() && j->count * bytes >= PACKED_BEYOND;
    j->step = in_item(j, PACKED_IN_CACHE / (j->count * bytes), m->tiles, threads);
    j->together = beyond ? in_item(j, TOGETHER, j->panels, threads) : 1;
}

/* Work item i: all tiles that it takes. */
static bool run_item(const job *j, int64_t i, pons_tile_use *use, void *user)
{
    const pons_matmul *m = j->W[0];
    int self = omp_get_thread_num();
    int64_t across = (j->panels + j->together - 1) / j->together, size = j->together * PANEL;
    int64_t p = i % across * j->together, first = i / across * j->step, end = first + j->step;
    int64_t panels = j->panels - p < j->together ? j->panels - p : j->together;
    float *mine = j->tiles + self * j->count * size * m->width;
    int64_t tokens = j->X->T - p * PANEL;
    for (int64_t t = first; t < end && t < m->tiles; t++) {
        int64_t rows = m->rows - t * m->width;
        pons_tile tile = {.token = p * PANEL,
                          .tokens = tokens < size ? tokens : size,
                          .number = t,
                          .row = t * m->width,
                          .rows = rows < m->width ? rows : m->width,
                          .ld = m->width};
        for (int n = 0; n < j->count; n++) {
            float *y = mine + n * size * m->width;
            if (!make_tile(j, n, self, p, panels, t, y)) return false;
            tile.y[n] = y;
        }
        use(user, &tile);
    }
    return true;
}

int64_t pons_matmul_tokens(const pons_matmul_input *X) { return X->T; }

int64_t pons_matmul_tiles(const pons_matmul *W) { return W->tiles; }

pons_status pons_matmul_run(int count, const pons_matmul *const *W, const pons_matmul_input *X,
                            pons_tile_use *use, void *user)
{
    pons_status st = PONS_OK;
    const pons_matmul *m = W[0];
    int threads = pons_kern_threads(), failed = 0;
    job j = {.count = count, .W = W, .X = X, .panels = (X->T + PANEL - 1) / PANEL};
    choose_item(&j, threads);
    int64_t items = (j.panels + j.together - 1) / j.together * ((m->tiles + j.step - 1) / j.step);
    PONS_ALLOC(st, j.tiles, threads * count * j.together * PANEL * m->width);
    for (int n = 0; n < count; n++) {
        PONS_ASSERT(W[n]->rows == m->rows && W[n]->d == X->d && !W[n]->kernel == !X->bf16);
        if (!X->bf16) continue;
        PONS_CALLOC(st, j.workers[n], threads);
        PONS_TRY(st, pons_bf16_workers_create(W[n]->kernel, threads, j.workers[n]));
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : failed)
    for (int64_t i = 0; i < items; i++)
        if (!run_item(&j, i, use, user)) failed = 1;
    if (failed) st = pons_bf16_refused();
done:
    for (int n = 0; n < count; n++) {
        if (j.workers[n]) pons_bf16_workers_destroy(threads, j.workers[n]);
        pons_mem_free(j.workers[n]);
    }
    pons_mem_free(j.tiles);
    return st;
}

typedef struct target {
    float *Y;
    int64_t ldy;
} target;

static void store_tile(void *user, const pons_tile *t)
{
    const target *to = user;
    for (int64_t i = 0; i < t->tokens; i++)
        memcpy(to->Y + (t->token + i) * to->ldy + t->row, t->y[0] + i * t->ld,
               (size_t)t->rows * sizeof *to->Y);
}

pons_status pons_matmul_put(const pons_matmul *W, const pons_matmul_input *X, float *Y, int64_t ldy)
{
    return pons_matmul_run(1, &W, X, store_tile, &(target){Y, ldy});
}

pons_status pons_matmul_apply(const pons_matmul *W, int64_t T, const float *X, int64_t ldx,
                              float *Y, int64_t ldy)
{
    pons_status st = PONS_OK;
    pons_matmul_input *input = NULL;
    PONS_TRY(st, pons_matmul_pack(W->kernel, T, W->d, X, ldx, &input));
    PONS_TRY(st, pons_matmul_put(W, input, Y, ldy));
done:
    pons_matmul_input_destroy(&input);
    return st;
}

pons_status pons_matmul_apply_unbiased(const pons_matmul *W, int64_t T, const float *X, int64_t ldx,
                                       float *Y, int64_t ldy)
{
    pons_matmul unbiased = *W;
    unbiased.bias = NULL;
    return pons_matmul_apply(&unbiased, T, X, ldx, Y, ldy);
}
