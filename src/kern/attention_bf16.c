/* Causal attention with a streaming softmax on bf16 tiles (AMX). Owns pons_attention_causal_bf16;
 * without such tiles that is attention.c.
 *
 * Everything is transposed: scores [keys, queries] = K Q^T, so a query is a lane, its running
 * maximum and sum are lanes, and the weights come out as the second operand of V^T P^T. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kern/transformer.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) &&                   \
    defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__linux__)
#include "base/mem.h"
#include "kern/amx.h"
#include "kern/bf16.h"
#include "kern/simd.h"
#include "kern/threads.h"

/* Queries of a block: two tiles of lanes. Keys of a round: its scores and weights stay near L1. */
enum { QUERIES = 32, ROUND = 256 };

/* Rows of a tile; bf16 entries along K that one tile product sums, which is also the multiple
 * that keys and channels are padded to. */
enum { ROWS = 16, DEPTH = 32, HALVES = QUERIES / PONS_LANES };

typedef struct problem {
    int64_t S, heads, kv_heads, hd, window;
    int64_t span, depth; /* S and hd in whole tiles */
    const float *q;
    const uint16_t *keys;   /* [kv_heads, span, depth] */
    const uint16_t *values; /* [kv_heads, span / DEPTH, depth, DEPTH]: transposed */
    float *out;
} problem;

/* One thread's place for a block of queries. */
typedef struct scratch {
    uint32_t weights[ROUND / 2 * QUERIES]; /* [keys / 2, QUERIES] pairs of bf16 */
    float scores[ROUND * QUERIES];
    uint32_t *query; /* [depth / 2, QUERIES] pairs of bf16 */
    float *gathered; /* [depth, QUERIES] */
    pons_vec top[HALVES], sum[HALVES];
} scratch;

/* C[M, QUERIES] = A[M, K] B, plus C when `add`; M and K in whole DEPTHs. A: rows lda apart, the next
 * DEPTH columns `next` entries on; B: [K / 2, QUERIES] pairs. */
static void product(int64_t M, int64_t K, const uint16_t *A, int64_t lda, int64_t next,
                    const uint32_t *B, float *C, bool add)
{
    const int64_t row = QUERIES * sizeof *C;
    __asm__ volatile("" ::: "memory"); /* gcc's tile loads do not say that they read memory */
    for (int64_t i = 0; i < M; i += 2 * ROWS) {
        float *c = C + i * QUERIES, *d = c + ROWS * QUERIES;
        if (add) {
            _tile_loadd(0, c, row);
            _tile_loadd(1, c + ROWS, row);
            _tile_loadd(2, d, row);
            _tile_loadd(3, d + ROWS, row);
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        for (int64_t k = 0; k < K; k += DEPTH) {
            const uint16_t *a = A + i * lda + k / DEPTH * next;
            const uint32_t *b = B + k / 2 * QUERIES;
            _tile_loadd(4, a, lda * (int64_t)sizeof *a);
            _tile_loadd(6, b, row);
            _tile_loadd(7, b + ROWS, row);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, a + ROWS * lda, lda * (int64_t)sizeof *a);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, c, row);
        _tile_stored(1, c + ROWS, row);
        _tile_stored(2, d, row);
        _tile_stored(3, d + ROWS, row);
    }
}

/* n <= 0 .. 16 or more entries of x, then zeros. */
static __m512 load_some(const float *x, int64_t n)
{
    __mmask16 some = n >= PONS_LANES ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
    return _mm512_maskz_loadu_ps(some, x);
}

/* 32 entries in bf16: a, then b. */
static __m512i join(__m512 a, __m512 b) { return (__m512i)_mm512_cvtne2ps_pbh(b, a); }

/* Pairs of bf16: a's lane in the low half, b's in the high one. */
static __m512i pairs(__m512 a, __m512 b)
{
    __m512i low = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    __m512i order =
        _mm512_or_si512(low, _mm512_slli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(16)), 16));
    return _mm512_permutexvar_epi16(order, join(a, b));
}

/* Transpose 16 x 16 entries of 32 bits: exchange quarters of blocks of 16, 8, 4 and 2. */
static void transpose(__m512i r[PONS_LANES])
{
    __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (int h = PONS_LANES / 2; h; h /= 2) {
        __mmask16 upper = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(h));
        __m512i shift = _mm512_set1_epi32(PONS_LANES - h);
        __m512i left = _mm512_mask_add_epi32(lane, upper, lane, shift);
        __m512i right = _mm512_add_epi32(lane, _mm512_set1_epi32(h));
        right = _mm512_mask_add_epi32(right, upper, lane, _mm512_set1_epi32(PONS_LANES));
        for (int i = 0; i < PONS_LANES; i++)
            if (!(i & h)) {
                __m512i a = r[i], b = r[i + h];
                r[i] = _mm512_permutex2var_epi32(a, left, b);
                r[i + h] = _mm512_permutex2var_epi32(a, right, b);
            }
    }
}

/* 2^x to 3e-6, far below the rounding of the weights; 1 for 0, 0 for -inf, NaN stays. */
static __m512 power_of_two(__m512 x)
{
    __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); /* x - floor(x) */
    __m512 p = _mm512_set1_ps(0x1.b7f732p-7f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.abf868p-5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.ee245p-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.62d6c6p-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    return _mm512_scalef_ps(p, x);
}

/* Keys of one head from k0 on, DEPTH of them, into tiles. */
static void pack_keys(const problem *p, int64_t head, int64_t k0, const float *k, uint16_t *to)
{
    for (int64_t s = k0; s < k0 + DEPTH; s++)
        for (int64_t i = 0; i < p->depth; i += DEPTH) {
            const float *from = k + (s * p->kv_heads + head) * p->hd + i;
            int64_t n = s < p->S ? p->hd - i : 0;
            __m512i both = join(load_some(from, n), load_some(from + ROWS, n - ROWS));
            _mm512_storeu_si512(to + (s - k0) * p->depth + i, both);
        }
}

/* The same of values, transposed. */
static void pack_values(const problem *p, int64_t head, int64_t k0, const float *v, uint16_t *to)
{
    for (int64_t i = 0; i < p->depth; i += ROWS) {
        __m512i r[PONS_LANES];
        for (int64_t j = 0; j < PONS_LANES; j++) {
            int64_t s = k0 + 2 * j, n = p->hd - i;
            const float *from = v + (s * p->kv_heads + head) * p->hd + i;
            r[j] = pairs(load_some(from, s < p->S ? n : 0),
                         load_some(from + p->kv_heads * p->hd, s + 1 < p->S ? n : 0));
        }
        transpose(r);
        for (int64_t j = 0; j < PONS_LANES; j++)
            _mm512_storeu_si512(to + (i + j) * DEPTH, r[j]);
    }
}

/* A block of queries in the unit of the exponents of two. */
static void pack_queries(const problem *p, int64_t head, int64_t first, uint32_t *to)
{
    __m512 factor = _mm512_set1_ps((float)(1.4426950408889634 / sqrt((double)p->hd)));
    for (int64_t i = 0; i < p->depth; i += DEPTH)
        for (int64_t half = 0; half < QUERIES; half += PONS_LANES) {
            __m512i r[PONS_LANES];
            for (int64_t j = 0; j < PONS_LANES; j++) {
                int64_t s = first + half + j, n = s < p->S ? p->hd - i : 0;
                const float *from = p->q + (s * p->heads + head) * p->hd + i;
                r[j] = join(_mm512_mul_ps(factor, load_some(from, n)),
                            _mm512_mul_ps(factor, load_some(from + ROWS, n - ROWS)));
            }
            transpose(r);
            for (int64_t j = 0; j < PONS_LANES; j++)
                _mm512_storeu_si512(to + (i / 2 + j) * QUERIES + half, r[j]);
        }
}

/* Hide from each query of the block the keys k0 .. k0 + n - 1 that it must not see: query s sees
 * (s - window, s]. */
static void hide(const problem *p, int64_t first, int64_t k0, int64_t n, float *scores)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int64_t last = first + QUERIES - 1, window = p->window ? p->window : p->S + QUERIES;
    for (int64_t k = k0; k < k0 + n; k++) {
        if (k <= first && k + window > last) continue; /* all see it */
        for (int64_t half = 0; half < HALVES; half++) {
            float *s = scores + (k - k0) * QUERIES + half * PONS_LANES;
            int newest =
                (int)(k - first - half * PONS_LANES); /* lanes from here on are late enough */
            int64_t end = newest + window;
            __mmask16 seen = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(newest));
            seen &= _mm512_cmplt_epi32_mask(
                lane, _mm512_set1_epi32((int)(end < PONS_LANES ? end : PONS_LANES)));
            _mm512_mask_storeu_ps(s, (__mmask16)~seen, _mm512_set1_ps(-INFINITY));
        }
    }
}

/* Scores of n keys -> weights relative to the running maximum; rescales what the queries have
 * gathered so far to a maximum that grew. */
static void softmax_round(int64_t n, int64_t depth, scratch *w)
{
    __m512 top[HALVES], shift[HALVES], sum[HALVES];
    const __m512 one = _mm512_set1_ps(1);
    const __m512bh ones = (__m512bh)join(one, one);
    bool grew = false;
    for (int h = 0; h < HALVES; h++) {
        __m512 m = (__m512)w->top[h], m2 = m;
        for (int64_t k = 0; k < n; k += 2) {
            const float *s = w->scores + k * QUERIES + h * PONS_LANES;
            m = _mm512_max_ps(_mm512_loadu_ps(s), m); /* of a NaN: the second */
            m2 = _mm512_max_ps(_mm512_loadu_ps(s + QUERIES), m2);
        }
        top[h] = _mm512_max_ps(m, m2);
        /* no visible key so far: a maximum of 0 makes the weights of -inf vanish */
        shift[h] = _mm512_mask_mov_ps(
            top[h], _mm512_cmpeq_ps_mask(top[h], _mm512_set1_ps(-INFINITY)), _mm512_setzero_ps());
    }
    for (int h = 0; h < HALVES; h++) {
        __m512 scale = power_of_two(_mm512_sub_ps((__m512)w->top[h], shift[h]));
        sum[h] = _mm512_mul_ps((__m512)w->sum[h], scale);
        w->top[h] = (pons_vec)top[h];
        grew = _mm512_cmpneq_ps_mask(scale, one);
        for (int64_t i = 0; i < depth && grew; i++) {
            float *g = w->gathered + i * QUERIES + h * PONS_LANES;
            _mm512_storeu_ps(g, _mm512_mul_ps(_mm512_loadu_ps(g), scale));
        }
    }
    for (int64_t k = 0; k < n; k += 2)
        for (int h = 0; h < HALVES; h++) {
            const float *s = w->scores + k * QUERIES + h * PONS_LANES;
            __m512 a = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(s), shift[h]));
            __m512 b = power_of_two(_mm512_sub_ps(_mm512_loadu_ps(s + QUERIES), shift[h]));
            __m512i rounded = pairs(a, b);
            _mm512_storeu_si512(w->weights + k / 2 * QUERIES + h * PONS_LANES, rounded);
            sum[h] = _mm512_dpbf16_ps(sum[h], (__m512bh)rounded, ones);
        }
    for (int h = 0; h < HALVES; h++)
        w->sum[h] = (pons_vec)sum[h];
}

/* What the queries have gathered, over the sum of their weights. */
static void put_block(const problem *p, int64_t head, int64_t first, const scratch *w)
{
    for (int h = 0; h < HALVES; h++) {
        __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1), (__m512)w->sum[h]);
        for (int64_t i = 0; i < p->hd; i += PONS_LANES) {
            __m512i r[PONS_LANES];
            int64_t n = p->hd - i, s = first + h * PONS_LANES;
            __mmask16 some = n >= PONS_LANES ? 0xffff : (__mmask16)((1u << n) - 1);
            for (int64_t j = 0; j < PONS_LANES; j++)
                r[j] = (__m512i)_mm512_mul_ps(
                    _mm512_loadu_ps(w->gathered + (i + j) * QUERIES + h * PONS_LANES), inverse);
            transpose(r);
            for (int64_t j = 0; j < PONS_LANES && s + j < p->S; j++)
                _mm512_mask_storeu_ps(p->out + ((s + j) * p->heads + head) * p->hd + i, some,
                                      (__m512)r[j]);
        }
    }
}

/* All keys for one block of queries of one head. */
static void attend(const problem *p, int64_t head, int64_t block, scratch *w)
{
    int64_t first = block * QUERIES, end = first + QUERIES, kv = head / (p->heads / p->kv_heads);
    int64_t oldest = p->window && first >= p->window ? first - p->window + 1 : 0;
    const uint16_t *keys = p->keys + kv * p->span * p->depth;
    const uint16_t *values = p->values + kv * p->span * p->depth;
    pack_queries(p, head, first, w->query);
    for (int h = 0; h < HALVES; h++) {
        w->top[h] = pons_splat(-INFINITY);
        w->sum[h] = pons_splat(0);
    }
    memset(w->gathered, 0, (size_t)(p->depth * QUERIES) * sizeof *w->gathered);
    for (int64_t k0 = oldest / DEPTH * DEPTH; k0 < end; k0 += ROUND) {
        int64_t n = end - k0 < ROUND ? end - k0 : ROUND;
        product(n, p->depth, keys + k0 * p->depth, p->depth, DEPTH, w->query, w->scores, false);
        if (k0 + n > first || p->window) hide(p, first, k0, n, w->scores);
        softmax_round(n, p->depth, w);
        product(p->depth, n, values + k0 * p->depth, DEPTH, DEPTH * p->depth, w->weights,
                w->gathered, true);
    }
    put_block(p, head, first, w);
}

static pons_status on_tiles(int64_t S, int64_t heads, int64_t kv_heads, int64_t hd, const float *q,
                            const float *k, const float *v, int64_t window, float *out)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads();
    int64_t depth = (hd + DEPTH - 1) / DEPTH * DEPTH, blocks = (S + QUERIES - 1) / QUERIES;
    int64_t span = blocks * QUERIES, each = DEPTH * depth;
    uint16_t *keys = NULL, *values = NULL;
    uint32_t *query = NULL;
    float *gathered = NULL;
    scratch *work = NULL;
    PONS_ALLOC(st, keys, kv_heads * span * depth);
    PONS_ALLOC(st, values, kv_heads * span * depth);
    PONS_ALLOC(st, query, threads * depth / 2 * QUERIES);
    PONS_ALLOC(st, gathered, threads * depth * QUERIES);
    PONS_ALLOC(st, work, threads);

    problem p = {S, heads, kv_heads, hd, window, span, depth, q, keys, values, out};
#pragma omp parallel num_threads(threads)
    {
        int self = omp_get_thread_num();
        scratch *mine = work + self;
        mine->query = query + self * depth / 2 * QUERIES;
        mine->gathered = gathered + self * depth * QUERIES;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < kv_heads * blocks; n++) {
            int64_t head = n / blocks, k0 = n % blocks * DEPTH;
            pack_keys(&p, head, k0, k, keys + n * each);
            pack_values(&p, head, k0, v, values + n * each);
        }
        pons_amx_configure();
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < heads * blocks; n++) /* longest first: the last blocks see most */
            attend(&p, n % heads, blocks - 1 - n / heads, mine);
        _tile_release();
    }
done:
    pons_mem_free(work);
    pons_mem_free(gathered);
    pons_mem_free(query);
    pons_mem_free(values);
    pons_mem_free(keys);
    return st;
}

pons_status pons_attention_causal_bf16(int64_t S, int64_t heads, int64_t kv_heads, int64_t hd,
                                       const float *q, const float *k, const float *v,
                                       int64_t window, float *out)
{
    return (pons_bf16_on_tiles() ? on_tiles : pons_attention_causal)(S, heads, kv_heads, hd, q, k,
                                                                     v, window, out);
}

#else

pons_status pons_attention_causal_bf16(int64_t S, int64_t heads, int64_t kv_heads, int64_t hd,
                                       const float *q, const float *k, const float *v,
                                       int64_t window, float *out)
{
    return pons_attention_causal(S, heads, kv_heads, hd, q, k, v, window, out);
}

#endif
