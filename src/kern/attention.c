/* Causal attention with a streaming softmax: blocks of queries against blocks of keys, running
 * maximum and sum per query. Owns pons_attention_causal; the rest of a block is transformer.c. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kern/block.h"
#include "kern/simd.h"
#include "kern/threads.h"
#include "kern/transformer.h"

/* Queries and keys of a block: scores, probabilities, keys and values of hd 64 stay in L1. */
enum { BLOCK = 64 };

typedef struct problem {
    int64_t S, heads, kv_heads, hd, window, blocks;
    const float *q, *v;
    const float *keys; /* [kv_heads, blocks, hd, BLOCK]: keys transposed, zero past S */
    float *out;
} problem;

/* Running state of a block of queries. The sum of the probabilities stays in lanes until the end. */
typedef struct running {
    float top[BLOCK], scale[BLOCK], sum[BLOCK][PONS_LANES];
} running;

/* Hide the keys of the block from k0 on that query `q` must not see: it sees (q - window, q]. */
static void hide(const problem *p, int64_t q, int64_t k0, float *scores)
{
    int64_t end = q - k0 + 1, begin = p->window ? end - p->window : 0;
    for (int64_t c = 0; c < begin && c < BLOCK; c++)
        scores[c] = -INFINITY;
    for (int64_t c = end; c < BLOCK; c++)
        scores[c] = -INFINITY;
}

/* Scores [rows, BLOCK] -> exponentials relative to the running maximum; rescales what the rows
 * have gathered so far to a maximum that grew. */
static void softmax_block(int64_t rows, int64_t hd, float *scores, running *now, float *gathered)
{
    for (int64_t r = 0; r < BLOCK; r++) {
        pons_vec m = pons_splat(now->top[r]);
        for (int64_t c = 0; c < BLOCK && r < rows; c += PONS_WIDTH)
            m = pons_max(pons_load(scores + r * BLOCK + c), m);
        float top = pons_top(m);
        now->scale[r] = now->top[r] - (top == -INFINITY ? 0 : top);
        now->top[r] = top;
    }
    for (int64_t r = 0; r < BLOCK; r += PONS_WIDTH)
        pons_store(now->scale + r, pons_exp_vec(pons_load(now->scale + r)));

    for (int64_t r = 0; r < rows; r++) {
        /* no visible key so far: a maximum of 0 makes the exponentials of -inf vanish */
        float top = now->top[r] == -INFINITY ? 0 : now->top[r], scale = now->scale[r];
        for (int64_t l = 0; l < PONS_LANES; l += PONS_WIDTH) {
            pons_vec sum = pons_load(now->sum[r] + l) * scale;
            for (int64_t c = l; c < BLOCK; c += PONS_LANES) {
                float *s = scores + r * BLOCK + c;
                pons_vec e = pons_exp_vec(pons_load(s) - top);
                pons_store(s, e);
                sum += e;
            }
            pons_store(now->sum[r] + l, sum);
        }
        if (scale != 1)
            for (int64_t i = 0; i < hd; i++)
                gathered[r * hd + i] *= scale;
    }
}

/* All keys for one block of queries of one head. */
static void attend(const problem *p, int64_t head, int64_t block, float *scratch)
{
    int64_t hd = p->hd, first = block * BLOCK, kv = head / (p->heads / p->kv_heads);
    int64_t rows = p->S - first < BLOCK ? p->S - first : BLOCK;
    float *query = scratch, *gathered = query + BLOCK * hd, *scores = gathered + BLOCK * hd;
    float factor = (float)(1.0 / sqrt((double)hd));
    running now = {.sum = {{0}}};

    for (int64_t r = 0; r < BLOCK; r++)
        now.top[r] = -INFINITY;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < hd; i++)
            query[r * hd + i] = p->q[((first + r) * p->heads + head) * hd + i] * factor;
    memset(gathered, 0, (size_t)(rows * hd) * sizeof *gathered);

    int64_t oldest = p->window && first >= p->window ? first - p->window + 1 : 0;
    for (int64_t b = oldest / BLOCK; b <= block; b++) {
        int64_t k0 = b * BLOCK, keys = p->S - k0 < BLOCK ? p->S - k0 : BLOCK;
        const float *K = p->keys + (kv * p->blocks + b) * hd * BLOCK;
        const float *V = p->v + (k0 * p->kv_heads + kv) * hd;
        pons_block_nn(rows, BLOCK, hd, query, hd, K, BLOCK, scores, BLOCK, false);
        if (b == block || p->window)
            for (int64_t r = 0; r < rows; r++)
                hide(p, first + r, k0, scores + r * BLOCK);
        softmax_block(rows, hd, scores, &now, gathered);
        pons_block_nn(rows, hd, keys, scores, BLOCK, V, p->kv_heads * hd, gathered, hd, true);
    }
    for (int64_t r = 0; r < rows; r++) {
        float *o = p->out + ((first + r) * p->heads + head) * hd, sum = 0;
        for (int l = 0; l < PONS_LANES; l++)
            sum += now.sum[r][l];
        for (int64_t i = 0; i < hd; i++)
            o[i] = gathered[r * hd + i] / sum;
    }
}

pons_status pons_attention_causal(int64_t S, int64_t heads, int64_t kv_heads, int64_t hd,
                                  const float *q, const float *k, const float *v, int64_t window,
                                  float *out)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads();
    int64_t blocks = (S + BLOCK - 1) / BLOCK, each = BLOCK * (2 * hd + BLOCK);
    float *keys = NULL, *scratch = NULL;
    PONS_ALLOC(st, keys, kv_heads * blocks * hd * BLOCK);
    PONS_ALLOC(st, scratch, threads * each);

    problem p = {S, heads, kv_heads, hd, window, blocks, q, v, keys, out};
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t n = 0; n < kv_heads * blocks; n++) {
            int64_t head = n / blocks, k0 = n % blocks * BLOCK;
            float *to = keys + n * hd * BLOCK;
            for (int64_t c = 0; c < BLOCK; c++)
                for (int64_t i = 0; i < hd; i++)
                    to[i * BLOCK + c] = k0 + c < S ? k[((k0 + c) * kv_heads + head) * hd + i] : 0;
        }
        float *mine = scratch + omp_get_thread_num() * each;
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < heads * blocks; n++) /* longest first: the last blocks see most */
            attend(&p, n % heads, blocks - 1 - n / heads, mine);
    }
done:
    pons_mem_free(scratch);
    pons_mem_free(keys);
    return st;
}
