/*
 * One transformer block in stages, by the steps of its family's table. Owns the block's weights,
 * prepared for products, and the workspace of one window; the arithmetic is in kern, the quantizers are
 * in quant. Reads no files and never communicates.
 */
#include "calib/block.h"

#include <string.h>

#include "base/mem.h"
#include "calib/learned.h"
#include "kern/fused.h"
#include "kern/hadamard.h"
#include "kern/transformer.h"
#include "model/transforms.h"
#include "quant/activation.h"

/* Tokens that go through a run of token by token steps at once, in cache. */
enum { CHUNK = 32 };

/* Buffers for one window; they grow to the longest window seen. */
typedef struct workspace {
    int64_t tokens;
    float *cosine, *sine;     /* [tokens, head_dim / 2] */
    float *scratch;           /* queries, keys, values: [tokens, (heads + 2 kv_heads) head_dim] */
    float *apart;             /* [tokens, width] where linears have inputs of their own */
    pons_matmul_input *input; /* x in the form that products take it */
} workspace;

struct pons_block {
    pons_model_config config;
    int64_t window; /* keys visible to a query, 0: all */
    bool bf16;
    pons_matmul **linear; /* [linears] */
    float *gains;         /* [pons_gain_floats]; NULL: ones */
    float *transforms;    /* NULL: none were set */
    workspace *work;      /* apart, so that a stage can use it in a block it does not change */
};

/* A stage on its way. */
typedef struct pass {
    const pons_block *b;
    const pons_runtime *runtime;
    int64_t count;        /* sequences */
    const int64_t *begin; /* [count + 1] */
    int64_t S;            /* tokens of all */
    float *slot[PONS_SLOTS];
    bool packed; /* the input is prepared for products, with the linears that share it */
} pass;

static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t pons_block_width(const pons_model_config *c)
{
    int64_t width = 0;
    for (int t = 0; t < c->arch->taps; t++)
        width = max_i64(width, pons_tap_width(c, t));
    return width;
}

pons_status pons_block_create(const pons_model_config *config, int64_t layer, bool bf16,
                              pons_block **out)
{
    pons_status st = PONS_OK;
    pons_block *b = NULL;
    PONS_CALLOC(st, b, 1);
    PONS_CALLOC(st, b->work, 1);
    PONS_CALLOC(st, b->linear, config->arch->linears);
    b->config = *config;
    b->bf16 = bf16;
    if (layer >= config->window_from) b->window = config->sliding_window;
    *out = b;
    b = NULL;
done:
    pons_block_destroy(&b);
    return st;
}

static void free_workspace(workspace *w)
{
    pons_matmul_input_destroy(&w->input);
    pons_mem_free(w->apart);
    pons_mem_free(w->scratch);
    pons_mem_free(w->sine);
    pons_mem_free(w->cosine);
    *w = (workspace){0};
}

void pons_block_destroy(pons_block **block)
{
    pons_block *b = *block;
    if (!b) return;
    if (b->work) free_workspace(b->work);
    pons_mem_free(b->work);
    pons_mem_free(b->transforms);
    pons_mem_free(b->gains);
    for (int i = 0; b->linear && i < b->config.arch->linears; i++)
        pons_matmul_destroy(&b->linear[i]);
    pons_mem_free(b->linear);
    pons_mem_free(b);
    *block = NULL;
}

/* Copy of x [n]; NULL stays NULL. */
static pons_status copy_floats(const float *x, int64_t n, float **out)
{
    pons_status st = PONS_OK;
    *out = NULL;
    if (!x) return PONS_OK;
    PONS_ALLOC(st, *out, n);
    memcpy(*out, x, (size_t)n * sizeof *x);
done:
    return st;
}

pons_status pons_block_set_linear(pons_block *block, int linear, const float *W, const float *bias)
{
    pons_status st = PONS_OK;
    pons_matmul *product = NULL;
    int64_t rows, cols;
    pons_linear_shape(&block->config, linear, &rows, &cols);
    PONS_TRY(st, pons_matmul_create(rows, cols, W, block->bf16, &product));
    PONS_TRY(st, pons_matmul_set_bias(product, bias));
    pons_matmul_destroy(&block->linear[linear]);
    block->linear[linear] = product;
    product = NULL;
done:
    pons_matmul_destroy(&product);
    return st;
}

pons_status pons_block_set_gains(pons_block *block, const float *gains)
{
    pons_status st;
    float *copy = NULL;
    PONS_TRY(st, copy_floats(gains, pons_gain_floats(&block->config), &copy));
    pons_mem_free(block->gains);
    block->gains = copy;
done:
    return st;
}

pons_status pons_block_set_transforms(pons_block *block, const float *transforms)
{
    pons_status st;
    float *copy = NULL;
    PONS_TRY(st, copy_floats(transforms, pons_transforms_floats(&block->config), &copy));
    pons_mem_free(block->transforms);
    block->transforms = copy;
done:
    return st;
}

static pons_status reserve(const pons_block *b, int64_t S)
{
    pons_status st = PONS_OK;
    workspace *w = b->work;
    if (S <= w->tokens && (w->apart || !b->transforms)) return PONS_OK;
    if (S < w->tokens) S = w->tokens;
    free_workspace(w);
    PONS_ALLOC(st, w->cosine, S * (b->config.head_dim / 2));
    PONS_ALLOC(st, w->sine, S * (b->config.head_dim / 2));
    PONS_ALLOC(st, w->scratch, S * (b->config.heads + 2 * b->config.kv_heads) * b->config.head_dim);
    if (b->transforms) PONS_ALLOC(st, w->apart, S * pons_block_width(&b->config));
    pons_rope_tables(&b->config, S, w->cosine, w->sine);
    w->tokens = S;
done:
    if (st != PONS_OK) free_workspace(w);
    return st;
}

/* Prepare x [S, dim] for products with `linear` and those that share its input; it must have been
 * set. */
static pons_status pack(const pons_block *b, int linear, int64_t S, const float *x)
{
    int64_t rows, cols;
    if (!b->linear[linear])
        return pons_fail(PONS_ERR_BUG, "a block was run before its %s was set",
                         b->config.arch->linear[linear].short_name);
    pons_linear_shape(&b->config, linear, &rows, &cols);
    return pons_matmul_pack(b->bf16, S, cols, x, cols, &b->work->input);
}

pons_status pons_block_multiply(const pons_block *b, int linear, int64_t n, const float *x,
                                float *y)
{
    int64_t rows, cols;
    pons_linear_shape(&b->config, linear, &rows, &cols);
    if (!b->linear[linear])
        return pons_fail(PONS_ERR_BUG, "a block was asked for products before its %s was set",
                         b->config.arch->linear[linear].short_name);
    return pons_matmul_apply_unbiased(b->linear[linear], n, x, cols, y, rows);
}

bool pons_block_shares_input(const pons_runtime *runtime)
{
    return !runtime->transforms || runtime->activations.bits == 16;
}

void pons_block_linear_input(const pons_block *b, const pons_runtime *runtime, int linear,
                             int64_t S, const float *x, float *y)
{
    int64_t n = S * pons_tap_width(&b->config, b->config.arch->linear[linear].tap);
    memcpy(y, x, (size_t)n * sizeof *y);
    if (!pons_block_shares_input(runtime))
        pons_learned_quantize(&b->config, b->transforms, &runtime->activations, linear, S, y);
}

/* ---- Steps */

static int64_t slot_width(const pons_model_config *c, pons_slot slot)
{
    switch (slot) {
    case PONS_SLOT_QUERIES: return c->heads * c->head_dim;
    case PONS_SLOT_KEYS: /* fall through */
    case PONS_SLOT_VALUES: return c->kv_heads * c->head_dim;
    default: return c->hidden;
    }
}

/* Prepare what multiplies W of `linear`, unless another linear's prepared input serves it. */
static pons_status pack_own(pass *p, int linear)
{
    const pons_block *b = p->b;
    const float *x = p->slot[PONS_SLOT_INPUT];
    bool shared = p->packed && b->linear[linear];
    p->packed = pons_block_shares_input(p->runtime);
    if (p->packed) return shared ? PONS_OK : pack(b, linear, p->S, x);
    pons_block_linear_input(b, p->runtime, linear, p->S, x, b->work->apart);
    return pack(b, linear, p->S, b->work->apart);
}

/* to = W x + bias, or to += it. */
static pons_status run_linear(pass *p, int linear, bool add, pons_slot to)
{
    pons_status st = PONS_OK;
    const pons_block *b = p->b;
    PONS_TRY(st, pack_own(p, linear));
    PONS_TRY(st, (add ? pons_matmul_add : pons_matmul_put)(
                     b->linear[linear], b->work->input, p->slot[to], slot_width(&b->config, to)));
done:
    return st;
}

static pons_status run_gate(pass *p, int gate, int up)
{
    pons_status st = PONS_OK;
    const pons_block *b = p->b;
    float *x = p->slot[PONS_SLOT_INPUT], *apart = b->work->apart;
    int64_t width, cols;
    pons_linear_shape(&b->config, gate, &width, &cols);
    PONS_TRY(st, pack_own(p, gate));
    if (p->packed) {
        PONS_TRY(st, pack_own(p, up));
        return pons_matmul_gate(b->linear[gate], b->linear[up], b->work->input, x, width);
    }
    PONS_TRY(st, pons_matmul_put(b->linear[gate], b->work->input, apart, width));
    pons_learned_quantize(&b->config, b->transforms, &p->runtime->activations, up, p->S, x);
    PONS_TRY(st, pack(b, up, p->S, x));
    PONS_TRY(st, pons_matmul_put(b->linear[up], b->work->input, x, width));
    pons_gate(p->S * width, apart, x);
done:
    return st;
}

static pons_status attend_sequence(const pass *p, int64_t i)
{
    const pons_block *b = p->b;
    const pons_model_config *c = &b->config;
    int64_t first = p->begin[i], q_dim = c->heads * c->head_dim, kv_dim = c->kv_heads * c->head_dim;
    return (b->bf16 ? pons_attention_causal_bf16 : pons_attention_causal)(
        p->begin[i + 1] - first, c->heads, c->kv_heads, c->head_dim,
        p->slot[PONS_SLOT_QUERIES] + first * q_dim, p->slot[PONS_SLOT_KEYS] + first * kv_dim,
        p->slot[PONS_SLOT_VALUES] + first * kv_dim, b->window,
        p->slot[PONS_SLOT_INPUT] + first * q_dim);
}

static pons_status run_attention(const pass *p)
{
    bool failed = false;
    /* The loops of one sequence take all threads: inside a region of one thread, OpenMP would start new ones. */
    if (p->count == 1) {
        failed = attend_sequence(p, 0) != PONS_OK;
    } else {
#pragma omp parallel for schedule(dynamic) reduction(|| : failed)
        for (int64_t i = 0; i < p->count; i++)
            failed = failed || attend_sequence(p, i) != PONS_OK;
    }
    return failed ? pons_fail(PONS_ERR_NOMEM, "out of memory for the attention of a block")
                  : PONS_OK;
}

/* ---- Steps that each token takes alone: n of them from token s on */

static void run_norm(const pass *p, const pons_arch_step *step, int64_t s, int64_t n)
{
    const pons_model_config *c = &p->b->config;
    int64_t d = pons_width_of(c, c->arch->gain[step->gain].width);
    int64_t from = slot_width(c, step->from), to = slot_width(c, step->to);
    const float *gain = p->b->gains ? p->b->gains + pons_gain_offset(c, step->gain) : NULL;
    pons_rmsnorm(n * (from / d), d, p->slot[step->from] + s * from, gain, (float)c->rms_eps,
                 p->slot[step->to] + s * to);
}

static void run_rope(const pass *p, int64_t s, int64_t n)
{
    const pons_model_config *c = &p->b->config;
    const workspace *w = p->b->work;
    int64_t hd = c->head_dim, q_dim = c->heads * hd, kv_dim = c->kv_heads * hd, i = 0;
    for (int64_t end = s + n; s < end; s += n) {
        while (p->begin[i + 1] <= s)
            i++;
        n = min_i64(end, p->begin[i + 1]) - s;
        int64_t at = (s - p->begin[i]) * (hd / 2);
        pons_rope(n, c->heads, hd, p->slot[PONS_SLOT_QUERIES] + s * q_dim, q_dim, w->cosine + at,
                  w->sine + at);
        pons_rope(n, c->kv_heads, hd, p->slot[PONS_SLOT_KEYS] + s * kv_dim, kv_dim, w->cosine + at,
                  w->sine + at);
    }
}

/* Keys or values x [n, kv_heads, head_dim]: one scale per head, or one per token. */
static void quantize_kv(const pons_model_config *c, const pons_kv_quant *kv, int64_t n, float *x)
{
    int64_t d = c->kv_heads * c->head_dim;
    pons_activation_quantize(kv->bits, kv->symmetric, kv->clip_ratio,
                             kv->per_head ? c->head_dim : 0, n, d, x, d);
}

static void run_cache(const pass *p, int64_t s, int64_t n)
{
    const pons_model_config *c = &p->b->config;
    const pons_runtime *runtime = p->runtime;
    int64_t hd = c->head_dim, kv_dim = c->kv_heads * hd;
    float *q = p->slot[PONS_SLOT_QUERIES] + s * c->heads * hd;
    float *k = p->slot[PONS_SLOT_KEYS] + s * kv_dim, *v = p->slot[PONS_SLOT_VALUES] + s * kv_dim;
    if (runtime->transforms) {
        pons_learned_turn(c, p->b->transforms, runtime, n, q, k, v);
        return;
    }
    if (runtime->kv.bits < 16 &&
        runtime->hadamard_qk) { /* R3 leaves q k^T as it is and spreads outliers of k */
        pons_hadamard_rows(q, n * c->heads, hd, hd);
        pons_hadamard_rows(k, n * c->kv_heads, hd, hd);
    }
    quantize_kv(c, &runtime->kv, n, k);
    quantize_kv(c, &runtime->values, n, v);
}

static void quantize_input(const pons_model_config *c, const pons_act_quant *quant, int tap,
                           int64_t n, float *x)
{
    int bits;
    int64_t size, dim = pons_tap_width(c, tap);
    pons_tap_kind kind = c->arch->tap[tap].kind;
    pons_activation_layout(quant, c->hidden, c->head_dim, dim, kind == PONS_INPUT_HEADS,
                           kind == PONS_INPUT_MIDDLE, &bits, &size);
    pons_activation_quantize(bits, quant->symmetric, quant->clip_ratio, size, n, dim, x, dim);
}

/* The online transform of an input and its quantizer, or the learned transform. */
static void run_tap(const pass *p, int tap, int64_t s, int64_t n)
{
    const pons_model_config *c = &p->b->config;
    const pons_runtime *runtime = p->runtime;
    pons_tap_kind kind = c->arch->tap[tap].kind;
    int64_t dim = pons_tap_width(c, tap);
    float *x = p->slot[PONS_SLOT_INPUT] + s * dim;
    bool heads = kind == PONS_INPUT_HEADS && runtime->hadamard_heads;
    bool middle = kind == PONS_INPUT_MIDDLE && runtime->hadamard_down;
    if (heads || middle) {
        pons_dtype_round(runtime->hadamard_dtype, x, n * dim);
        if (heads)
            pons_hadamard_heads(x, n, c->heads, c->head_dim, dim);
        else
            pons_hadamard_rows(x, n, dim, dim);
        pons_dtype_round(runtime->hadamard_dtype, x, n * dim);
    }
    if (runtime->transforms)
        pons_learned_input(c, p->b->transforms, tap, n, x);
    else
        quantize_input(c, &runtime->activations, tap, n, x);
}

static bool is_of_token(pons_step_kind kind)
{
    return kind == PONS_STEP_NORM || kind == PONS_STEP_ROPE || kind == PONS_STEP_CACHE ||
           kind == PONS_STEP_TAP;
}

static void run_token_steps(const pass *p, const pons_arch_step *begin, const pons_arch_step *end)
{
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < p->S; s += CHUNK) {
        int64_t n = min_i64(CHUNK, p->S - s);
        for (const pons_arch_step *step = begin; step < end; step++)
            switch (step->kind) {
            case PONS_STEP_NORM: run_norm(p, step, s, n); break;
            case PONS_STEP_ROPE: run_rope(p, s, n); break;
            case PONS_STEP_CACHE: run_cache(p, s, n); break;
            default: run_tap(p, step->tap, s, n);
            }
    }
}

static pons_status run_whole_step(pass *p, const pons_arch_step *step)
{
    switch (step->kind) {
    case PONS_STEP_LINEAR: return run_linear(p, step->linear, false, step->to);
    case PONS_STEP_ADD: return run_linear(p, step->linear, true, PONS_SLOT_STREAM);
    case PONS_STEP_GATE: return run_gate(p, step->linear, step->other);
    default: return run_attention(p);
    }
}

/* Steps of a stage: those after the tap before it, up to its own. */
static void find_stage(const pons_arch *arch, int stage, const pons_arch_step **begin,
                       const pons_arch_step **end)
{
    const pons_arch_step *step = arch->step, *last = step + arch->steps;
    for (int t = 0; t < stage; step++)
        t += step->kind == PONS_STEP_TAP;
    *begin = step;
    while (step < last && step->kind != PONS_STEP_TAP)
        step++;
    *end = step < last ? step + 1 : last;
}

pons_status pons_block_stage_packed(const pons_block *block, const pons_runtime *runtime, int stage,
                                    int64_t count, const int64_t *begin, float *h, float *x)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = &block->config;
    const pons_arch_step *step, *end, *next;
    int64_t S = begin[count];
    PONS_ASSERT(stage >= 0 && stage < pons_block_stages(c) && S >= 1);
    if (runtime->transforms && !block->transforms)
        return pons_fail(PONS_ERR_BUG, "a block was run before its transforms were set");
    PONS_TRY(st, reserve(block, S));
    float *q = block->work->scratch, *k = q + S * c->heads * c->head_dim;
    pass p = {block, runtime, count, begin, S, {h, x, q, k, k + S * c->kv_heads * c->head_dim},
              false};
    for (find_stage(c->arch, stage, &step, &end); step < end; step = next) {
        for (next = step; next < end && is_of_token(next->kind);)
            next++;
        if (next > step)
            run_token_steps(&p, step, next);
        else
            PONS_TRY(st, run_whole_step(&p, next++));
    }
done:
    return st;
}

pons_status pons_block_stage(const pons_block *block, const pons_runtime *runtime, int stage,
                             int64_t S, float *h, float *x)
{
    return pons_block_stage_packed(block, runtime, stage, 1, (const int64_t[]){0, S}, h, x);
}

const float *pons_block_values(const pons_block *block, int64_t S)
{
    const pons_model_config *c = &block->config;
    PONS_ASSERT(S <= block->work->tokens);
    return block->work->scratch + S * (c->heads + c->kv_heads) * c->head_dim;
}
