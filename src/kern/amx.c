/* Products on AMX tiles. Owns the forms of operands and the order of blocks; who computes what with
 * them is bf16.c's callers'.
 *
 * A block of C is 2 x 2 tiles in registers. It runs over a slice of the depth, so short that the slice
 * of its rows of A stays in L1 while those of B pass by from L2. */
#include "kern/amx.h"

#include <string.h>

#include "kern/bf16.h"
#include "kern/simd.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#define TILES __attribute__((target("amx-tile,amx-bf16")))

/* Rows of a tile; entries along the depth of a step, a row of a tile; those of a slice; rows and columns
 * of a block. */
enum { ROWS = 16, STEP = 32, SLICE = 320, BLOCK = 2 * ROWS };

/* Entries of a tile of an operand. */
enum { TILE = ROWS * STEP };

static once_flag asked = ONCE_FLAG_INIT;
static bool granted;

static void ask(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    granted = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
              syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}

bool pons_amx_works(void)
{
    call_once(&asked, ask);
    return granted;
}

static int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

size_t pons_amx_bytes(int64_t n, int64_t K)
{
    return (size_t)(round_up(n, BLOCK) * round_up(K, STEP)) * sizeof(uint16_t);
}

/* What a thread works in. */
typedef struct scratch {
    uint16_t rows[BLOCK * SLICE]; /* of A, where they cannot be read in place */
    float c[BLOCK * BLOCK];       /* a block that C holds a part of */
} scratch;

size_t pons_amx_work_bytes(void) { return sizeof(scratch); }

/* ---- Operands. Left and A: [n / 16] tiles of [16 rows, 32 of the depth] for each step; right and B:
 * [n / 32] for each step two tiles of [16 pairs of the depth, 16 columns], what meets what side by side. */

/* A 16 x 16 block of pairs of bf16, transposed. */
static void transpose(const uint32_t *from, int64_t ld, uint32_t *to)
{
    pons_v16 x[PONS_LANES];
    for (int i = 0; i < PONS_LANES; i++)
        memcpy(&x[i], from + i * ld, sizeof x[i]);
    pons_transpose16(x);
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

void pons_amx_put_row(int64_t K, int64_t i, const float *x, uint16_t *left)
{
    int64_t steps = (K + STEP - 1) / STEP;
    uint16_t *to = left + i / ROWS * steps * TILE + i % ROWS * STEP;
    for (int64_t s = 0; s < steps; s++, to += TILE) {
        int64_t n = !x ? 0 : K - s * STEP < STEP ? K - s * STEP : STEP;
        if (n < STEP) memset(to, 0, STEP * sizeof *to);
        if (n) pons_bf16_convert(n, x + s * STEP, to);
    }
}

typedef uint32_t words __attribute__((vector_size(64)));

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
            uint32_t *pairs = own;
            if (right)
                pairs = (uint32_t *)(right + ((j / BLOCK * steps + s) * 2 + j / ROWS % 2) * TILE);
            take_tile(tokens - s * STEP, columns - j, X + s * STEP * ldx + j, ldx, scale + j,
                      pairs);
            if (left) transpose(pairs, ROWS, (uint32_t *)(left + (j / ROWS * steps + s) * TILE));
        }
}

/* ---- Products */

/* A slice of the depth for the rows of a block of C. */
typedef struct slice {
    const uint16_t *upper, *lower; /* the first and the second tile of rows of A */
    int64_t lda, next;             /* entries between its rows, between its steps */
    int64_t steps, m;              /* m: rows of C */
    int64_t ldc;
    bool add;
} slice;

TILES void pons_amx_configure(void)
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

/* A whole block of C. A function of its own, rolled up: the compiler would spill addresses. */
TILES __attribute__((noinline)) static void multiply(const slice *a, const uint16_t *b, float *C,
                                                     int64_t ldc)
{
    const int64_t lda = a->lda * (int64_t)sizeof *b, next = a->next, row = STEP * sizeof *b;
    const int64_t out = ldc * (int64_t)sizeof *C;
    const uint16_t *upper = a->upper, *lower = a->lower;
    float *D = C + ROWS * ldc;
    if (a->add) {
        _tile_loadd(0, C, out);
        _tile_loadd(1, C + ROWS, out);
        _tile_loadd(2, D, out);
        _tile_loadd(3, D + ROWS, out);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
#pragma GCC unroll 1
    for (int64_t s = 0; s < a->steps; s++) {
        _tile_loadd(6, b, row);
        _tile_loadd(4, upper, lda);
        _tile_loadd(7, b + TILE, row);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, lower, lda);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        upper += next;
        lower += next;
        b += 2 * TILE;
    }
    _tile_stored(0, C, out);
    _tile_stored(1, C + ROWS, out);
    _tile_stored(2, D, out);
    _tile_stored(3, D + ROWS, out);
}

/* A block of which C has only m x n entries. */
static void multiply_part(const slice *a, int64_t n, const uint16_t *b, float *C, float *own)
{
    if (a->add)
        for (int64_t i = 0; i < a->m; i++)
            memcpy(own + i * BLOCK, C + i * a->ldc, (size_t)n * sizeof *C);
    multiply(a, b, own, BLOCK);
    for (int64_t i = 0; i < a->m; i++)
        memcpy(C + i * a->ldc, own + i * BLOCK, (size_t)n * sizeof *C);
}

/* Columns [j, N) of a block's rows. @param b the slice of the right operand, `stride` entries between
 * its blocks of columns */
static void multiply_row(const slice *a, int64_t j, int64_t N, const uint16_t *b, int64_t stride,
                         float *C, float *own)
{
    b += j / BLOCK * stride;
    for (; N - j >= BLOCK && a->m == BLOCK; j += BLOCK, b += stride)
        multiply(a, b, C + j, a->ldc);
    for (; j < N; j += BLOCK, b += stride)
        multiply_part(a, N - j < BLOCK ? N - j : BLOCK, b, C + j, own);
}

/* gcc's tile loads and stores do not say that they touch memory. */
static void settle(void) { __asm__ volatile("" ::: "memory"); }

TILES static void finish(void)
{
    _tile_release();
    settle();
}

static void start(void)
{
    settle();
    pons_amx_configure();
}

/* Steps of a slice: all of about the same length. */
static int64_t slice_of(int64_t steps)
{
    int64_t slices = (steps * STEP + SLICE - 1) / SLICE;
    return (steps + slices - 1) / slices;
}

void pons_amx_product(int64_t M, int64_t N, int64_t K, const uint16_t *A, const uint16_t *packed,
                      float *C, bool add, void *work)
{
    scratch *own = work;
    int64_t steps = (K + STEP - 1) / STEP, depth = slice_of(steps) * STEP;
    slice a = {.ldc = N, .add = add};
    start();
    for (int64_t k = 0; k < K; k += depth, a.add = true) {
        int64_t here = K - k < depth ? K - k : depth;
        a.steps = (here + STEP - 1) / STEP;
        for (int64_t i = 0; i < M; i += BLOCK) {
            a.m = M - i < BLOCK ? M - i : BLOCK;
            a.upper = A + i * K + k;
            a.lower = a.upper + ROWS * K;
            a.lda = K;
            a.next = STEP;
            if (a.m < BLOCK || here % STEP) {
                gather(a.m, here, a.steps, a.upper, K, own->rows);
                a.upper = own->rows;
                a.lower = own->rows + a.steps * TILE;
                a.lda = STEP;
                a.next = TILE;
                settle();
            }
            multiply_row(&a, 0, N, packed + k * BLOCK, steps * 2 * TILE, C + i * N, own->c);
        }
    }
    finish();
}

void pons_amx_gram(int64_t M, int64_t N, int64_t K, const uint16_t *left, const uint16_t *right,
                   float *C, bool add, bool upper, void *work)
{
    scratch *own = work;
    int64_t steps = (K + STEP - 1) / STEP, most = slice_of(steps);
    slice a = {.lda = STEP, .next = TILE, .ldc = N, .add = add};
    start();
    for (int64_t s = 0; s < steps; s += most, a.add = true) {
        a.steps = steps - s < most ? steps - s : most;
        for (int64_t i = 0; i < M; i += BLOCK) {
            a.m = M - i < BLOCK ? M - i : BLOCK;
            a.upper = left + (i / ROWS * steps + s) * TILE;
            a.lower = a.upper + steps * TILE;
            multiply_row(&a, upper ? i : 0, N, right + s * 2 * TILE, steps * 2 * TILE, C + i * N,
                         own->c);
        }
    }
    finish();
}

#else

bool pons_amx_works(void) { return false; }

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

void pons_amx_take(int64_t n, int64_t K, int64_t tokens, int64_t columns, const float *X,
                   int64_t ldx, const float *scale, uint16_t *left, uint16_t *right)
{
    (void)n, (void)K, (void)tokens, (void)columns, (void)X, (void)ldx, (void)scale;
    (void)left, (void)right;
}

void pons_amx_put_row(int64_t K, int64_t i, const float *x, uint16_t *left)
{
    (void)K, (void)i, (void)x, (void)left;
}

void pons_amx_product(int64_t M, int64_t N, int64_t K, const uint16_t *A, const uint16_t *packed,
                      float *C, bool add, void *work)
{
    (void)M, (void)N, (void)K, (void)A, (void)packed, (void)C, (void)add, (void)work;
}

void pons_amx_gram(int64_t M, int64_t N, int64_t K, const uint16_t *left, const uint16_t *right,
                   float *C, bool add, bool upper, void *work)
{
    (void)M, (void)N, (void)K, (void)left, (void)right, (void)C, (void)add, (void)upper, (void)work;
}

#endif
