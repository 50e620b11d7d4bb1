/* Products on AMX tiles. Owns the forms of operands and the order of blocks; who computes what with
 * them is bf16.c's callers'.
 *
 * A block of C is 2 x 2 tiles in registers. It runs over as much of the depth as leaves its operands in L2: tiles
 * come from there at three quarters of the rate at which they meet, but storing a block and loading it again
 * costs as much as 200 entries of depth. Where B comes from beyond L2, the blocks that meet 32 columns of it bring the
 * next ones, each its share. */
#include "kern/amx.h"

#include <string.h>

#include "kern/round_bf16.h"
#include "kern/simd.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512F__)
#include <immintrin.h>

/* Rows of a tile; entries along the depth of a step, a row of a tile; rows and columns of a block. */
enum { ROWS = 16, STEP = 32, BLOCK = 2 * ROWS };

/* Bytes of A that a stream of B meets at a time: they stay in L2 beside the columns of B that they are at. */
enum { LEFT_BYTES = 1 << 20 };

/* Entries of a tile of an operand. */
enum { TILE = ROWS * STEP };

static int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));

/* pons_bf16_peel of sixteen numbers; the term is in the upper halves. */
static inline words peel16(pons_vec *rest)
{
    words u = (words)*rest, nan = (words)((u & 0x7fffffffu) > 0x7f800000u);
    words near = (u + 0x7fffu + ((u >> 16) & 1u)) & ~nan, quiet = (u | 0x400000u) & nan;
    words term = (near | quiet) & 0xffff0000u;
    *rest -= (pons_vec)term;
    return term;
}

/* 32 entries of a row as bf16, in their order. */
static inline void peel32(pons_vec rest[2], uint16_t *to)
{
    for (int k = 0; k < 2; k++) {
        halves h = __builtin_convertvector(peel16(&rest[k]) >> 16, halves);
        memcpy(to + k * PONS_LANES, &h, sizeof h);
    }
}

size_t pons_amx_bytes(int64_t n, int64_t K)
{
    return (size_t)(round_up(n, BLOCK) * round_up(K, STEP)) * sizeof(uint16_t);
}

size_t pons_amx_work_bytes(void) { return BLOCK * BLOCK * sizeof(float); }

/* ---- Operands, what meets what side by side: [n / 32] for each step, and for each term of A, two tiles. Left and A:
 * tiles of [16 rows, 32 of the depth]; right and B: of [16 pairs of the depth, 16 columns]. */

/* A 16 x 16 block of pairs of bf16, transposed. */
static void transpose(const uint32_t *from, int64_t ld, uint32_t *to)
{
    pons_vec x[PONS_LANES];
    for (int i = 0; i < PONS_LANES; i++)
        memcpy(&x[i], from + i * ld, sizeof x[i]);
    pons_transpose(x);
    memcpy(to, x, sizeof x);
}

/* `rows` rows of `depth` entries, ld apart, zero-padded to [BLOCK, steps STEP] as tiles of a left
 * operand of that depth. */
static void gather(int64_t rows, int64_t depth, int64_t steps, const uint16_t *A, int64_t ld,
                   uint16_t *to)
{
    for (int64_t r = 0; r < BLOCK; r++) {
        uint16_t *tile = to + r / ROWS * steps * TILE + r % ROWS * STEP;
        for (int64_t s = 0; s < steps; s++) {
            int64_t n = r < rows ? depth - s * STEP : 0;
            if (n >= STEP) {
                memcpy(tile + s * TILE, A + r * ld + s * STEP, STEP * sizeof *A);
                continue;
            }
            memset(tile + s * TILE, 0, STEP * sizeof *A);
            if (n > 0) memcpy(tile + s * TILE, A + r * ld + s * STEP, (size_t)n * sizeof *A);
        }
    }
}

void pons_amx_pack(int64_t N, int64_t K, const uint16_t *B, uint16_t *packed)
{
    uint32_t rows[BLOCK * STEP / 2]; /* two tiles before they are transposed */
    for (int64_t j = 0; j < N; j += BLOCK)
        for (int64_t k = 0; k < K; k += STEP, packed += 2 * TILE) {
            gather(N - j < BLOCK ? N - j : BLOCK, K - k, 1, B + j * K + k, K, (uint16_t *)rows);
            for (int half = 0; half < 2; half++)
                transpose(rows + half * TILE / 2, ROWS, (uint32_t *)packed + half * TILE / 2);
        }
}

/* 16 rows of 32 numbers of T, zero past the last ones. */
static void take_rows(int64_t rows, int64_t depth, const float *T, int64_t ld, pons_vec x[][2])
{
    if (rows >= ROWS && depth >= STEP) {
        for (int64_t r = 0; r < ROWS; r++)
            memcpy(x[r], T + r * ld, sizeof x[r]);
        return;
    }
    if (depth > STEP) depth = STEP;
    memset(x, 0, ROWS * sizeof *x);
    for (int64_t r = 0; depth > 0 && r < ROWS && r < rows; r++)
        memcpy(x[r], T + r * ld, (size_t)depth * sizeof *T);
}

void pons_amx_pack_terms(int64_t N, int64_t K, int terms, int64_t rows, int64_t depth,
                         const float *T, int64_t ld, int64_t apart, uint16_t *packed)
{
    for (int64_t j = 0; j < N; j += BLOCK)
        for (int64_t k = 0; k < K; k += STEP)
            for (int64_t i = j; i < j + BLOCK; i += ROWS, packed += TILE) {
                pons_vec rest[ROWS][2];
                uint16_t term[TILE];
                take_rows(rows - i, depth - k, T + i * ld + k, ld, rest);
                for (int t = 0; t < terms; t++) {
                    for (int64_t r = 0; r < ROWS; r++)
                        peel32(rest[r], term + r * STEP);
                    transpose((const uint32_t *)(const void *)term, ROWS,
                              (uint32_t *)(void *)(packed + t * apart));
                }
            }
}

/* 32 entries of a row into each term of a step. */
static inline void put_terms(const float *x, int terms, uint16_t *to)
{
    pons_vec rest[2];
    memcpy(rest, x, sizeof rest);
    for (int t = 0; t < terms; t++, to += 2 * TILE)
        peel32(rest, to);
}

/* A row of bits, zero past its last one, into its places in the steps. */
static inline void bring_bits(int64_t K, const uint16_t *x, uint16_t *to)
{
    int64_t k = 0;
    for (; k + STEP <= K; k += STEP, to += 2 * TILE)
        memcpy(to, x + k, STEP * sizeof *to);
    if (k == K) return;
    memset(to, 0, STEP * sizeof *to);
    memcpy(to, x + k, (size_t)(K - k) * sizeof *to);
}

/* The same of numbers, all terms. */
static inline void bring_terms(int64_t K, int terms, const float *x, uint16_t *to)
{
    int64_t k = 0;
    float last[STEP] = {0};
    for (; k + STEP <= K; k += STEP, to += terms * 2 * TILE)
        put_terms(x + k, terms, to);
    if (k == K) return;
    memcpy(last, x + k, (size_t)(K - k) * sizeof *last);
    put_terms(last, terms, to);
}

void pons_amx_bring(int64_t K, int terms, bool rounded, const void *X, uint16_t *left)
{
    for (int64_t r = 0; r < BLOCK; r++) {
        uint16_t *to = left + r / ROWS * TILE + r % ROWS * STEP;
        if (rounded)
            bring_bits(K, (const uint16_t *)X + r * K, to);
        else
            bring_terms(K, terms, (const float *)X + r * K, to);
    }
}

void pons_amx_put_row(int64_t K, int64_t i, const float *x, uint16_t *left)
{
    int64_t steps = (K + STEP - 1) / STEP;
    uint16_t *to = left + (i / BLOCK * steps * 2 + i / ROWS % 2) * TILE + i % ROWS * STEP;
    for (int64_t s = 0; s < steps; s++, to += 2 * TILE) {
        int64_t n = !x ? 0 : K - s * STEP < STEP ? K - s * STEP : STEP;
        if (n < STEP) memset(to, 0, STEP * sizeof *to);
        if (n) pons_bf16_convert(n, x + s * STEP, to);
    }
}

/* Sixteen columns of a token as the upper halves of words. */
static inline words take16(const float *x, const float *scale)
{
    words u = (words)(pons_load(x) * pons_load(scale));
    return (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u;
}

/* Tile of pairs of tokens: 32 tokens of X, 16 columns. */
static void take_tile(int64_t tokens, int64_t columns, const float *X, int64_t ldx,
                      const float *scale, uint32_t *to)
{
    float some[STEP * ROWS], factor[ROWS];
    if (tokens < STEP || columns < ROWS) {
        memset(some, 0, sizeof some);
        memset(factor, 0, sizeof factor);
        if (columns > ROWS) columns = ROWS;
        for (int64_t s = 0; columns > 0 && s < tokens && s < STEP; s++)
            memcpy(some + s * ROWS, X + s * ldx, (size_t)columns * sizeof *X);
        if (columns > 0) memcpy(factor, scale, (size_t)columns * sizeof *scale);
        X = some;
        ldx = ROWS;
        scale = factor;
    }
    for (int64_t s = 0; s < ROWS; s++) {
        words pair = take16(X + 2 * s * ldx, scale) >> 16 | take16(X + (2 * s + 1) * ldx, scale);
        memcpy(to + s * ROWS, &pair, sizeof pair);
    }
}

void pons_amx_take(int64_t n, int64_t K, int64_t tokens, int64_t columns, const float *X,
                   int64_t ldx, const float *scale, uint16_t *left, uint16_t *right)
{
    int64_t steps = (K + STEP - 1) / STEP;
    uint32_t own[TILE / 2];
    for (int64_t s = 0; s < steps; s++)
        for (int64_t j = 0; j < round_up(n, BLOCK); j += ROWS) {
            int64_t at = ((j / BLOCK * steps + s) * 2 + j / ROWS % 2) * TILE;
            uint32_t *pairs = right ? (uint32_t *)(right + at) : own;
            take_tile(tokens - s * STEP, columns - j, X + s * STEP * ldx + j, ldx, scale + j,
                      pairs);
            if (left) transpose(pairs, ROWS, (uint32_t *)(left + at));
        }
}

void pons_amx_turn(int64_t bytes, const uint16_t *right, uint16_t *left)
{
    for (int64_t at = 0; at < bytes / (int64_t)sizeof *right; at += TILE)
        transpose((const uint32_t *)(right + at), ROWS, (uint32_t *)(left + at));
}

/* 32 tokens, 16 columns as floats, zero past the last ones. */
static void take_floats(int64_t tokens, int64_t columns, const float *X, int64_t ldx, pons_vec *to)
{
    if (tokens >= STEP && columns >= ROWS) {
        for (int64_t s = 0; s < STEP; s++)
            to[s] = pons_load(X + s * ldx);
        return;
    }
    memset(to, 0, STEP * sizeof *to);
    if (columns > ROWS) columns = ROWS;
    for (int64_t s = 0; columns > 0 && s < tokens && s < STEP; s++)
        memcpy(to + s, X + s * ldx, (size_t)columns * sizeof *X);
}

/* A term of them as a tile of pairs; what it leaves stays. */
static inline void peel_tile(pons_vec *rest, uint32_t *to)
{
    for (int64_t s = 0; s < ROWS; s++) {
        words pair = peel16(rest + 2 * s) >> 16 | peel16(rest + 2 * s + 1);
        memcpy(to + s * ROWS, &pair, sizeof pair);
    }
}

void pons_amx_take_terms(int64_t n, int64_t K, int terms, int64_t tokens, int64_t columns,
                         const float *X, int64_t ldx, uint16_t *left, uint16_t *const *right)
{
    int64_t steps = (K + STEP - 1) / STEP;
    for (int64_t s = 0; s < steps; s++)
        for (int64_t j = 0; j < round_up(n, BLOCK); j += ROWS) {
            pons_vec rest[STEP];
            uint32_t pairs[TILE / 2];
            int64_t block = j / BLOCK * steps + s, half = j / ROWS % 2;
            take_floats(tokens - s * STEP, columns - j, X + s * STEP * ldx + j, ldx, rest);
            for (int t = 0; t < terms; t++) {
                peel_tile(rest, pairs);
                if (left)
                    transpose(pairs, ROWS,
                              (uint32_t *)(left + ((block * terms + t) * 2 + half) * TILE));
                else
                    memcpy(right[t] + (block * 2 + half) * TILE, pairs, sizeof pairs);
            }
        }
}

/* ---- Products */

void pons_amx_configure(void)
{
    static const struct {
        uint8_t palette, start, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } whole = {.palette = 1,
               .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
               .rows = {ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS}};
    _Static_assert(sizeof whole == 64, "layout of the tile configuration");
    _tile_loadconfig(&whole);
}

/* What C [m, n] holds so far into a whole block, and back. */
static void bring_part(int64_t m, int64_t n, int64_t ldc, const float *C, float *own)
{
    for (int64_t i = 0; i < m; i++)
        memcpy(own + i * BLOCK, C + i * ldc, (size_t)n * sizeof *C);
}

static void take_part(int64_t m, int64_t n, int64_t ldc, const float *own, float *C)
{
    for (int64_t i = 0; i < m; i++)
        memcpy(C + i * ldc, own + i * BLOCK, (size_t)n * sizeof *C);
}

/* gcc's tile loads and stores do not say that they touch memory. */
static void settle(void) { __asm__ volatile("" ::: "memory"); }

static void finish(void)
{
    _tile_release();
    settle();
}

static void start(void)
{
    settle();
    pons_amx_configure();
}

/* The block's tiles of registers 4 to 7 meet. */
static inline __attribute__((always_inline)) void meet(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

static inline __attribute__((always_inline)) void load_left(const uint16_t *a)
{
    _tile_loadd(4, a, STEP * sizeof *a);
    _tile_loadd(5, a + TILE, STEP * sizeof *a);
}

static inline __attribute__((always_inline)) void load_right(const uint16_t *b)
{
    _tile_loadd(6, b, STEP * sizeof *b);
    _tile_loadd(7, b + TILE, STEP * sizeof *b);
}

/* One step of `p` and `q` terms, constants: a pair is loaded anew only where both sides change. */
static inline __attribute__((always_inline)) void
step(int p, int q, const uint16_t *a, const uint16_t *b, const uint16_t *b1, const uint16_t *b2)
{
    load_right(b);
    load_left(a);
    meet();
    if (q > 1) {
        load_right(b1);
        meet();
    }
    if (q > 2) {
        load_right(b2);
        meet();
    }
    if (p > 1) {
        load_left(a + 2 * TILE);
        if (q > 2) {
            load_right(b1);
            meet();
        }
        load_right(b);
        meet();
    }
    if (p > 2) {
        load_left(a + 4 * TILE);
        meet();
    }
}

/* What a block of C runs over. */
typedef struct run {
    int64_t tiles, steps; /* of the depth */
    int64_t skip_a, skip; /* entries between the end of a tile of A, of B and the next one */
    const uint16_t *b[3];
    int64_t ahead; /* entries from a step of b to what is brought to L2 meanwhile */
    int lines;     /* of that */
    bool add;
} run;

/* Most cache lines that a step brings. */
enum { LINE = 32, MOST_LINES = 8 };

static inline __attribute__((always_inline)) void bring_lines(int lines, const uint16_t *from)
{
    for (int l = 0; l < lines; l++)
        __builtin_prefetch(from + l * LINE, 0, 2);
}

/* A whole block of C, in a function of its own for each number of terms. */
typedef void run_block(const run *r, const uint16_t *a, float *C, int64_t ldc);

#define RUN_BLOCK(p, q)                                                                            \
    __attribute__((noinline)) static void run_##p##q(const run *r, const uint16_t *a, float *C,    \
                                                     int64_t ldc)                                  \
    {                                                                                              \
        const int64_t out = ldc * (int64_t)sizeof *C, skip = r->skip, ahead = r->ahead;            \
        const int lines = r->lines;                                                                \
        const uint16_t *b = r->b[0], *b1 = r->b[(q) > 1], *b2 = r->b[(q) > 2 ? 2 : 0];             \
        float *D = C + ROWS * ldc;                                                                 \
        if (r->add) {                                                                              \
            _tile_loadd(0, C, out);                                                                \
            _tile_loadd(1, C + ROWS, out);                                                         \
            _tile_loadd(2, D, out);                                                                \
            _tile_loadd(3, D + ROWS, out);                                                         \
        } else {                                                                                   \
            _tile_zero(0);                                                                         \
            _tile_zero(1);                                                                         \
            _tile_zero(2);                                                                         \
            _tile_zero(3);                                                                         \
        }                                                                                          \
        for (int64_t k = 0; k < r->tiles; k++, a += r->skip_a, b += skip, b1 += skip, b2 += skip)  \
            for (int64_t n = 0; n < r->steps;                                                      \
                 n++, a += (p)*2 * TILE, b += 2 * TILE, b1 += 2 * TILE, b2 += 2 * TILE) {          \
                bring_lines(lines, b + ahead);                                                     \
                if ((q) > 1) bring_lines(lines, b1 + ahead);                                       \
                if ((q) > 2) bring_lines(lines, b2 + ahead);                                       \
                step(p, q, a, b, b1, b2);                                                          \
            }                                                                                      \
        _tile_stored(0, C, out);                                                                   \
        _tile_stored(1, C + ROWS, out);                                                            \
        _tile_stored(2, D, out);                                                                   \
        _tile_stored(3, D + ROWS, out);                                                            \
    }

RUN_BLOCK(1, 1)
RUN_BLOCK(1, 2)
RUN_BLOCK(2, 2)
RUN_BLOCK(3, 3)

static run_block *run_for(const pons_amx_sum *s)
{
    return s->of_a == 3 ? run_33 : s->of_a == 2 ? run_22 : s->of_b == 2 ? run_12 : run_11;
}

/* Lines of the next strip's step that each of so many blocks brings; few blocks wait for it either way. */
static int lines_of(int64_t blocks)
{
    int64_t lines = (2 * TILE / LINE + blocks - 1) / blocks;
    return lines <= MOST_LINES ? (int)lines : 0;
}

/* Steps [first, first + r->steps) of each of r->tiles tiles from `tile` on. */
static void run_part(const pons_amx_sum *s, run *r, int64_t tile, int64_t first, float *C,
                     float *own)
{
    const uint16_t *left = s->left + tile * s->left_stride + first * s->of_a * 2 * TILE;
    int64_t from = tile * s->stride + first * 2 * TILE;
    run_block *whole = run_for(s);
    r->skip_a = s->left_stride - r->steps * s->of_a * 2 * TILE;
    r->skip = s->stride - r->steps * 2 * TILE;
    const int64_t strip = s->steps * 2 * TILE;
    for (int64_t j = 0; j < s->N; j += BLOCK) {
        int64_t last = s->upper && j + BLOCK < s->M ? j + BLOCK : s->M;
        int64_t at = j / BLOCK * strip, ahead = j + BLOCK < s->N ? strip : s->next - at;
        bool more = j + BLOCK < s->N || s->next != 0;
        r->lines = s->far && more ? lines_of((last + BLOCK - 1) / BLOCK) : 0;
        for (int q = 0; q < s->of_b; q++)
            r->b[q] = s->B[q] + from + at;
        for (int64_t i = 0; i < last; i += BLOCK) {
            r->ahead = ahead + i / BLOCK * r->lines * LINE;
            const uint16_t *a = left + i / BLOCK * s->block_stride;
            int64_t m = s->M - i < BLOCK ? s->M - i : BLOCK,
                    n = s->N - j < BLOCK ? s->N - j : BLOCK;
            float *c = C + i * s->ldc + j;
            if (m == BLOCK && n == BLOCK) {
                whole(r, a, c, s->ldc);
                continue;
            }
            if (r->add) bring_part(m, n, s->ldc, c, own);
            settle();
            whole(r, a, own, BLOCK);
            settle();
            take_part(m, n, s->ldc, own, c);
        }
    }
}

void pons_amx_run(const pons_amx_sum *s, float *C, void *work)
{
    int64_t fit =
        LEFT_BYTES / ((s->M + BLOCK - 1) / BLOCK * s->of_a * 2 * TILE * (int64_t)sizeof *s->left);
    run r = {.tiles = 1, .add = s->add};
    start();
    if (fit >= s->steps) { /* whole tiles */
        r.steps = s->steps;
        for (int64_t k = 0; k < s->tiles; k += r.tiles, r.add = true) {
            r.tiles = s->tiles - k < fit / s->steps ? s->tiles - k : fit / s->steps;
            run_part(s, &r, k, 0, C, work);
        }
    } else {
        int64_t parts = fit > 0 ? (s->steps + fit - 1) / fit : s->steps;
        int64_t most = (s->steps + parts - 1) / parts;
        for (int64_t k = 0; k < s->tiles; k++)
            for (int64_t n = 0; n < s->steps; n += most, r.add = true) {
                r.steps = s->steps - n < most ? s->steps - n : most;
                run_part(s, &r, k, n, C, work);
            }
    }
    finish();
}

#else

void pons_amx_configure(void) {}

size_t pons_amx_bytes(int64_t n, int64_t K)
{
    (void)n, (void)K;
    return 0;
}

size_t pons_amx_work_bytes(void) { return 0; }

void pons_amx_pack(int64_t N, int64_t K, const uint16_t *B, uint16_t *packed)
{
    (void)N, (void)K, (void)B, (void)packed;
}

void pons_amx_pack_terms(int64_t N, int64_t K, int terms, int64_t rows, int64_t depth,
                         const float *T, int64_t ld, int64_t apart, uint16_t *packed)
{
    (void)N, (void)K, (void)terms, (void)rows, (void)depth, (void)T, (void)ld, (void)apart;
    (void)packed;
}

void pons_amx_take(int64_t n, int64_t K, int64_t tokens, int64_t columns, const float *X,
                   int64_t ldx, const float *scale, uint16_t *left, uint16_t *right)
{
    (void)n, (void)K, (void)tokens, (void)columns, (void)X, (void)ldx, (void)scale;
    (void)left, (void)right;
}

void pons_amx_turn(int64_t bytes, const uint16_t *right, uint16_t *left)
{
    (void)bytes, (void)right, (void)left;
}

void pons_amx_put_row(int64_t K, int64_t i, const float *x, uint16_t *left)
{
    (void)K, (void)i, (void)x, (void)left;
}

void pons_amx_bring(int64_t K, int terms, bool rounded, const void *X, uint16_t *left)
{
    (void)K, (void)terms, (void)rounded, (void)X, (void)left;
}

void pons_amx_take_terms(int64_t n, int64_t K, int terms, int64_t tokens, int64_t columns,
                         const float *X, int64_t ldx, uint16_t *left, uint16_t *const *right)
{
    (void)n, (void)K, (void)terms, (void)tokens, (void)columns, (void)X, (void)ldx, (void)left;
    (void)right;
}

void pons_amx_run(const pons_amx_sum *s, float *C, void *work) { (void)s, (void)C, (void)work; }

#endif
