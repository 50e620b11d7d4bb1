/* Cross-entropy of logits that only ever exist as tiles. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kern/fused.h"
#include "kern/simd.h"
#include "kern/threads.h"
#include "kern/tiles.h"

/* Sum of exp(x - top), top the largest x: fp32 exponentials, added in sixteen fp64 lanes, the lanes
 * in their order. */
static double sum_exp(int64_t n, const float *x, float *largest)
{
    enum { HALF = PONS_WIDTH / 2 };
    int64_t whole = n - n % PONS_LANES, i;
    pons_vec high = pons_splat(x[0]);
    pons_dvec part[PONS_LANES / HALF] = {{0}};
    double lane[PONS_LANES], sum = 0;
    for (i = 0; i < whole; i += PONS_WIDTH)
        high = pons_max(pons_load(x + i), high);
    float top = pons_top(high);
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;

    for (i = 0; i < whole; i += PONS_LANES)
        for (int p = 0; p < PONS_PARTS; p++) {
            float e[PONS_WIDTH];
            pons_store(e, pons_exp_vec(pons_load(x + i + p * PONS_WIDTH) - top));
            part[2 * p] += pons_load_double(e);
            part[2 * p + 1] += pons_load_double(e + HALF);
        }
    memcpy(lane, part, sizeof lane);
    for (; i < n; i++)
        lane[i - whole] += (double)pons_exp(x[i] - top);
    for (int l = 0; l < PONS_LANES; l++)
        sum += lane[l];
    *largest = top;
    return sum;
}

/* What is left of the logits: of each tile its largest and the sum of exponentials relative to it,
 * of each token the logit of its target. */
typedef struct remains {
    int64_t tiles;     /* of all parts */
    int64_t tile, row; /* first of the part at hand */
    const int32_t *target;
    float *top;  /* [T, tiles] */
    double *sum; /* [T, tiles] */
    float *hit;  /* [T] */
} remains;

static void take_tile(void *user, const pons_tile *t)
{
    const remains *r = user;
    for (int64_t i = 0; i < t->tokens; i++) {
        const float *x = t->y[0] + i * t->ld;
        int64_t token = t->token + i, at = token * r->tiles + r->tile + t->number;
        int64_t hit = r->target[token] - r->row - t->row;
        r->sum[at] = sum_exp(t->rows, x, &r->top[at]);
        if (hit >= 0 && hit < t->rows) r->hit[token] = x[hit];
    }
}

static double term_of(const remains *r, int64_t token)
{
    const float *top = r->top + token * r->tiles;
    double largest = (double)top[0], sum = 0;
    for (int64_t n = 1; n < r->tiles; n++)
        largest = top[n] > largest ? top[n] : largest;
    for (int64_t n = 0; n < r->tiles; n++)
        sum += r->sum[token * r->tiles + n] * exp(top[n] - largest);
    return largest + log(sum) - (double)r->hit[token];
}

pons_status pons_matmul_token_losses(int64_t parts, int64_t part_rows, pons_matmul *const *W,
                                     const pons_matmul_input *X, const int32_t *target,
                                     double *loss)
{
    pons_status st = PONS_OK;
    int threads = pons_kern_threads();
    int64_t T = pons_matmul_tokens(X);
    remains r = {.target = target};
    for (int64_t p = 0; p < parts; p++)
        r.tiles += pons_matmul_tiles(W[p]);
    PONS_ALLOC(st, r.top, T * r.tiles);
    PONS_ALLOC(st, r.sum, T * r.tiles);
    PONS_ALLOC(st, r.hit, T);
    for (int64_t p = 0; p < parts; p++) {
        const pons_matmul *part = W[p];
        r.row = p * part_rows;
        PONS_TRY(st, pons_matmul_run(1, &part, X, take_tile, &r));
        r.tile += pons_matmul_tiles(part);
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t t = 0; t < T; t++)
        loss[t] = term_of(&r, t);
done:
    pons_mem_free(r.hit);
    pons_mem_free(r.sum);
    pons_mem_free(r.top);
    return st;
}
