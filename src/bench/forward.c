/* One window through one block of a model. Owns the count of its flop and of the products that its
 * linears would be alone; reads block 0 only. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench/bench.h"
#include "calib/block.h"
#include "eval/load_block.h"
#include "kern/gemm.h"
#include "kern/transformer.h"

typedef struct forward {
    const pons_block *block;
    pons_runtime runtime;
    int stages;
    int64_t tokens;
    size_t bytes;
    const float *input;
    float *h, *x;
} forward;

static pons_status run_forward(void *user)
{
    const forward *f = user;
    pons_status st = PONS_OK;
    memcpy(f->h, f->input, f->bytes);
    for (int stage = 0; stage < f->stages; stage++)
        PONS_TRY(st, pons_block_stage(f->block, &f->runtime, stage, f->tokens, f->h, f->x));
done:
    return st;
}

static pons_status time_block(const pons_bench_setting *s, const pons_model *model, bool bf16,
                              forward *f, double *seconds, int64_t *workspace)
{
    pons_status st = PONS_OK;
    pons_block *block = NULL;
    PONS_TRY_ALL(st, s->comm, pons_block_create(pons_model_get_config(model), 0, bf16, &block));
    PONS_TRY(st, pons_eval_load_block(s->comm, model, 0, block));
    f->block = block;
    PONS_TRY(st, pons_bench_time(s, run_forward, f, seconds, workspace));
done:
    pons_block_destroy(&block);
    return st;
}

typedef struct attention {
    const pons_model_config *config;
    bool bf16;
    int64_t tokens;
    const float *q, *k, *v;
    float *out;
} attention;

static pons_status run_attention(void *user)
{
    const attention *a = user;
    const pons_model_config *c = a->config;
    return (a->bf16 ? pons_attention_causal_bf16 : pons_attention_causal)(
        a->tokens, c->heads, c->kv_heads, c->head_dim, a->q, a->k, a->v, 0, a->out);
}

static double attention_flop(const pons_model_config *c, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)tokens * (double)c->heads * (double)c->head_dim;
}

/* What of the block no matrix product of the linears is. Collective. */
static pons_status time_attention(const pons_bench_setting *s, const pons_model_config *c,
                                  bool bf16, int64_t tokens, pons_bench_result *r)
{
    pons_status st = PONS_OK;
    int64_t wide = tokens * c->heads * c->head_dim, narrow = tokens * c->kv_heads * c->head_dim;
    float *x = pons_mem_alloc(2 * (wide + narrow), sizeof *x);
    PONS_TRY_ALL(st, s->comm, x ? PONS_OK : PONS_ERR_NOMEM);
    pons_bench_gauss(0, 4, 2 * (wide + narrow), 1.0, x);
    attention a = {c, bf16, tokens, x, x + wide, x + wide + narrow, x + wide + 2 * narrow};
    PONS_TRY(st, pons_bench_time(s, run_attention, &a, &r->attention_seconds, NULL));
    r->attention_gflops = 1e-9 * attention_flop(c, tokens) * r->ranks / r->attention_seconds;
done:
    pons_mem_free(x);
    return st;
}

/* flop of a window, and the rate that products of the linears' shapes reach together. */
static pons_status count(const pons_bench_setting *s, const pons_model_config *c, bool bf16,
                         int64_t tokens, double *flop, double *peak)
{
    pons_status st = PONS_OK;
    double work = 0, seconds = 0;
    for (int i = 0; i < c->arch->linears; i++) {
        int64_t rows, cols;
        double rate;
        pons_linear_shape(c, i, &rows, &cols);
        PONS_TRY(st, pons_bench_peak(s, bf16, tokens, rows, cols, &rate));
        double own = 2e-9 * (double)tokens * (double)rows * (double)cols;
        work += own;
        seconds += own / rate;
    }
    *peak = work / seconds;
    *flop = 1e9 * work + attention_flop(c, tokens);
done:
    return st;
}

pons_status pons_bench_forward(const pons_bench_setting *s, const pons_model *model, bool bf16,
                               int64_t tokens, pons_bench_result *out)
{
    pons_status st = PONS_OK, local = PONS_OK;
    const pons_model_config *c = pons_model_get_config(model);
    double flop, worst[2] = {0, 0};
    int64_t size = tokens * c->hidden;
    pons_bench_result r = pons_bench_result_empty(s, "forward", "block 0", bf16 ? "bf16" : "fp32");
    float *input = pons_mem_alloc(size, sizeof *input), *h = pons_mem_alloc(size, sizeof *h);
    float *plain = pons_mem_alloc(size, sizeof *plain);
    float *x = pons_mem_alloc(tokens * pons_block_width(c), sizeof *x);
    int32_t *ids = pons_mem_alloc(tokens, sizeof *ids);
    if (!input || !h || !plain || !x || !ids) local = PONS_ERR_NOMEM;
    if (local == PONS_OK && bf16 && !pons_kern_has_bf16())
        local = pons_fail(PONS_ERR_UNSUPPORTED, "this build or processor has no bf16 products");
    if (local == PONS_OK) {
        for (int64_t t = 0; t < tokens; t++)
            ids[t] = (int32_t)(t * 7919 % c->vocab);
        local = pons_model_read_embedding(model, ids, tokens, input);
        memset(h, 0, (size_t)size * sizeof *h); /* not workspace */
        memset(x, 0, (size_t)(tokens * pons_block_width(c)) * sizeof *x);
    }
    PONS_TRY_ALL(st, s->comm, local);
    forward f = {.runtime = *pons_model_runtime(model),
                 .stages = pons_block_stages(c),
                 .tokens = tokens,
                 .bytes = (size_t)size * sizeof *h,
                 .input = input,
                 .h = h,
                 .x = x};
    pons_runtime_drop_quantizers(&f.runtime); /* as while calibrating */
    PONS_TRY(st, time_block(s, model, bf16, &f, &r.seconds, &r.workspace_bytes));
    memcpy(plain, h, f.bytes);
    if (bf16) {
        double seconds;
        PONS_TRY(st, time_block(s, model, false, &f, &seconds, NULL));
        r.baseline = (pons_bench_baseline){"the same in fp32",
                                           tokens * r.ranks,
                                           s->threads,
                                           seconds / (double)(tokens * r.ranks),
                                           seconds,
                                           seconds / r.seconds};
        for (int64_t i = 0; i < size; i++) {
            worst[0] = fmax(worst[0], fabs((double)h[i] - (double)plain[i]));
            worst[1] = fmax(worst[1], fabs((double)h[i]));
        }
        r.relative_error = worst[0] / worst[1];
    }
    PONS_TRY(st, time_attention(s, c, bf16, tokens, &r));
    PONS_TRY(st, count(s, c, bf16, tokens, &flop, &r.peak_gflops));
    r.rows = tokens * r.ranks;
    r.d = c->hidden;
    r.gflops = 1e-9 * flop * r.ranks / r.seconds;
    r.share_of_peak = r.gflops / r.peak_gflops;
    *out = r;
done:
    pons_mem_free(ids);
    pons_mem_free(x);
    pons_mem_free(plain);
    pons_mem_free(h);
    pons_mem_free(input);
    return st;
}
