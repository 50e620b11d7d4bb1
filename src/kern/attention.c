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

/* Scores [rows, BLOCK] -> probabilities relative to the running maximum; rescales what the rows
 * have gathered so far. Row r is query first + r, column c is key k0 + c. */
static void softmax_block(const problem *p, int64_t first, int64_t rows, int64_t k0, float *scores,
                          float *top, float *sum, float *gathered)
{
    for (int64_t r = 0; r < rows; r++) {
        float *s = scores + r * BLOCK;
        int64_t end = first + r - k0 + 1; /* keys [begin, end) of this block are visible */
        int64_t begin = p->window ? end - p->window : 0;
        for (int64_t c = 0; c < begin && c < BLOCK; c++)
            s[c] = -INFINITY;
        for (int64_t c = end < 0 ? 0 : end; c < BLOCK; c++)
            s[c] = -INFINITY;

        float lane[PONS_LANES], m = top[r];
        for (int l = 0; l < PONS_LANES; l++)
            lane[l] = m;
        for (int64_t c = 0; c < BLOCK; c += PONS_LANES)
            for (int l = 0; l < PONS_LANES; l++)
                lane[l] = s[c + l] > lane[l] ? s[c + l] : lane[l];
        for (int l = 0; l < PONS_LANES; l++)
            m = lane[l] > m ? lane[l] : m;

        float origin = m == -INFINITY ? 0.0f : m; /* no visible key so far: exp(-inf) stays 0 */
        float total[PONS_LANES] = {0};
        for (int64_t c = 0; c < BLOCK; c += PONS_LANES) {
#pragma omp simd
            for (int l = 0; l < PONS_LANES; l++) {
                s[c + l] = pons_exp(s[c + l] - origin);
                total[l] += s[c + l];
            }
        }
        float scale = pons_exp(top[r] - origin), all = 0;
        for (int l = 0; l < PONS_LANES; l++)
            all += total[l];
        sum[r] = sum[r] * scale + all;
        top[r] = m;
        if (scale != 1.0f)
            for (int64_t i = 0; i < p->hd; i++)
                gathered[r * p->hd + i] *= scale;
    }
}

/* All keys for one block of queries of one head. */
static void attend(const problem *p, int64_t head, int64_t block, float *scratch)
{
    int64_t hd = p->hd, first = block * BLOCK, kv = head / (p->heads / p->kv_heads);
    int64_t rows = p->S - first < BLOCK ? p->S - first : BLOCK;
    float *query = scratch, *gathered = query + BLOCK * hd, *scores = gathered + BLOCK * hd;
    float top[BLOCK], sum[BLOCK], scale = (float)(1.0 / sqrt((double)hd));

    for (int64_t r = 0; r < rows; r++) {
        const float *q = p->q + ((first + r) * p->heads + head) * hd;
        for (int64_t i = 0; i < hd; i++)
            query[r * hd + i] = q[i] * scale;
        top[r] = -INFINITY;
        sum[r] = 0;
    }
    memset(gathered, 0, (size_t)(rows * hd) * sizeof *gathered);

    int64_t oldest = p->window && first >= p->window ? first - p->window + 1 : 0;
    for (int64_t b = oldest / BLOCK; b <= block; b++) {
        int64_t k0 = b * BLOCK, keys = p->S - k0 < BLOCK ? p->S - k0 : BLOCK;
        const float *K = p->keys + (kv * p->blocks + b) * hd * BLOCK;
        const float *V = p->v + (k0 * p->kv_heads + kv) * hd;
        pons_block_nn(rows, BLOCK, hd, query, hd, K, BLOCK, scores, BLOCK, false);
        softmax_block(p, first, rows, k0, scores, top, sum, gathered);
        pons_block_nn(rows, hd, keys, scores, BLOCK, V, p->kv_heads * hd, gathered, hd, true);
    }
    for (int64_t r = 0; r < rows; r++) {
        float *o = p->out + ((first + r) * p->heads + head) * hd;
        for (int64_t i = 0; i < hd; i++)
            o[i] = gathered[r * hd + i] / sum[r];
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
