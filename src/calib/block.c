/*
 * One transformer block in stages. Owns the block's weights, prepared for products, and the
 * workspace of one window; the arithmetic is in kern, the quantizers are in quant. Reads no files
 * and never communicates.
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

/* Tokens that go through all steps of a kind at once, in cache. */
enum { CHUNK = 32 };

/* Buffers for one window; they grow to the longest window seen. */
typedef struct workspace {
    int64_t tokens;
    float *cosine, *sine;     /* [tokens, head_dim / 2] */
    float *scratch;           /* [tokens, (heads + 2 kv_heads) head_dim] */
    float *apart;             /* [tokens, width] where linears have inputs of their own */
    pons_matmul_input *input; /* x in the form that products take it */
} workspace;

struct pons_block {
    pons_model_config config;
    int64_t window; /* keys visible to a query, 0: all */
    bool bf16;
    pons_matmul *linear[PONS_LINEARS];
    float *attention_norm, *mlp_norm;
    float *transforms; /* NULL: none were set */
    workspace *work;   /* apart, so that a stage can use it in a block it does not change */
};

static int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t pons_block_width(const pons_model_config *c)
{
    return max_i64(max_i64(c->hidden, c->heads * c->head_dim), c->intermediate);
}

pons_status pons_block_create(const pons_model_config *config, int64_t layer, bool bf16,
                              pons_block **out)
{
    pons_status st = PONS_OK;
    pons_block *b = NULL;
    PONS_CALLOC(st, b, 1);
    PONS_CALLOC(st, b->work, 1);
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
    pons_mem_free(b->mlp_norm);
    pons_mem_free(b->attention_norm);
    for (int i = 0; i < PONS_LINEARS; i++)
        pons_matmul_destroy(&b->linear[i]);
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

pons_status pons_block_set_linear(pons_block *block, pons_linear linear, const float *W,
                                  const float *bias)
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

pons_status pons_block_set_norms(pons_block *block, const float *attention, const float *mlp)
{
    pons_status st = PONS_OK;
    float *a = NULL, *m = NULL;
    PONS_TRY(st, copy_floats(attention, block->config.hidden, &a));
    PONS_TRY(st, copy_floats(mlp, block->config.hidden, &m));
    pons_mem_free(block->attention_norm);
    pons_mem_free(block->mlp_norm);
    block->attention_norm = a;
    block->mlp_norm = m;
    a = m = NULL;
done:
    pons_mem_free(m);
    pons_mem_free(a);
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
static pons_status pack(const pons_block *b, pons_linear linear, int64_t S, const float *x)
{
    int64_t rows, cols;
    if (!b->linear[linear])
        return pons_fail(PONS_ERR_BUG, "a block was run before its %s was set",
                         pons_linear_short_name(linear));
    pons_linear_shape(&b->config, linear, &rows, &cols);
    return pons_matmul_pack(b->bf16, S, cols, x, cols, &b->work->input);
}

bool pons_block_shares_input(const pons_runtime *runtime)
{
    return !runtime->transforms || runtime->activations.bits == 16;
}

void pons_block_linear_input(const pons_block *b, const pons_runtime *runtime, pons_linear linear,
                             int64_t S, const float *x, float *y)
{
    int64_t n = S * pons_group_dim(&b->config, pons_linear_group(linear));
    memcpy(y, x, (size_t)n * sizeof *y);
    if (!pons_block_shares_input(runtime))
        pons_learned_quantize(&b->config, b->transforms, &runtime->activations, linear, S, y);
}

/* Prepare what multiplies W of `linear`; `shared`: its group's input is prepared already and serves
 * it, too, unless linears have inputs of their own. */
static pons_status pack_own(const pons_block *b, const pons_runtime *runtime, pons_linear linear,
                            bool shared, int64_t S, const float *x)
{
    if (pons_block_shares_input(runtime)) {
        if (shared && b->linear[linear]) return PONS_OK;
        return pack(b, linear, S, x);
    }
    pons_block_linear_input(b, runtime, linear, S, x, b->work->apart);
    return pack(b, linear, S, b->work->apart);
}

/* h += W x + bias */
static pons_status add_linear(const pons_block *b, const pons_runtime *runtime, pons_linear linear,
                              int64_t S, const float *x, float *h)
{
    pons_status st = PONS_OK;
    PONS_TRY(st, pack_own(b, runtime, linear, false, S, x));
    PONS_TRY(st, pons_matmul_add(b->linear[linear], b->work->input, h, b->config.hidden));
done:
    return st;
}

/* Keys or values x [S, kv_heads, head_dim]: one scale per head, or one per token. */
static void quantize_kv(const pons_model_config *c, const pons_kv_quant *kv, int64_t S, float *x)
{
    int64_t d = c->kv_heads * c->head_dim;
    pons_activation_quantize(kv->bits, kv->symmetric, kv->clip_ratio,
                             kv->per_head ? c->head_dim : 0, S, d, x, d);
}

/* Positions, R3 and the quantizers of n tokens from position s of a sequence on. */
static void turn(const pons_block *b, const pons_runtime *runtime, int64_t s, int64_t n, float *q,
                 float *k, float *v)
{
    const pons_model_config *c = &b->config;
    int64_t hd = c->head_dim, q_dim = c->heads * hd, kv_dim = c->kv_heads * hd;
    const float *cosine = b->work->cosine + s * (hd / 2), *sine = b->work->sine + s * (hd / 2);
    q += s * q_dim;
    k += s * kv_dim;
    pons_rope(n, c->heads, hd, q, q_dim, cosine, sine);
    pons_rope(n, c->kv_heads, hd, k, kv_dim, cosine, sine);
    if (runtime->transforms) {
        pons_learned_turn(c, b->transforms, runtime, n, q, k, v + s * kv_dim);
        return;
    }
    if (runtime->kv.bits < 16 &&
        runtime->hadamard_qk) { /* R3 leaves q k^T as it is and spreads outliers of k */
        pons_hadamard_rows(q, n * c->heads, hd, hd);
        pons_hadamard_rows(k, n * c->kv_heads, hd, hd);
    }
    quantize_kv(c, &runtime->kv, n, k);
    quantize_kv(c, &runtime->values, n, v + s * kv_dim);
}

/* x <- attention of one sequence of S tokens. */
static pons_status attend_sequence(const pons_block *b, const pons_runtime *runtime, int64_t S,
                                   float *q, float *k, float *v, float *x)
{
    const pons_model_config *c = &b->config;
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < S; s += CHUNK)
        turn(b, runtime, s, min_i64(CHUNK, S - s), q, k, v);
    return (b->bf16 ? pons_attention_causal_bf16 : pons_attention_causal)(
        S, c->heads, c->kv_heads, c->head_dim, q, k, v, b->window, x);
}

static pons_status attend(const pons_block *b, const pons_runtime *runtime, int64_t count,
                          const int64_t *begin, float *x)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = &b->config;
    int64_t S = begin[count], hd = c->head_dim, q_dim = c->heads * hd, kv_dim = c->kv_heads * hd;
    float *q = b->work->scratch, *k = q + S * q_dim, *v = k + S * kv_dim;
    PONS_TRY(st, pack_own(b, runtime, PONS_Q, false, S, x));
    PONS_TRY(st, pons_matmul_put(b->linear[PONS_Q], b->work->input, q, q_dim));
    PONS_TRY(st, pack_own(b, runtime, PONS_K, true, S, x));
    PONS_TRY(st, pons_matmul_put(b->linear[PONS_K], b->work->input, k, kv_dim));
    PONS_TRY(st, pack_own(b, runtime, PONS_V, true, S, x));
    PONS_TRY(st, pons_matmul_put(b->linear[PONS_V], b->work->input, v, kv_dim));
    bool failed = false;
    /* The loops of one sequence take all threads: inside a region of one thread, OpenMP would start new ones. */
    if (count == 1) {
        failed = attend_sequence(b, runtime, S, q, k, v, x) != PONS_OK;
    } else {
#pragma omp parallel for schedule(dynamic) reduction(|| : failed)
        for (int64_t i = 0; i < count; i++)
            failed =
                failed || attend_sequence(b, runtime, begin[i + 1] - begin[i], q + begin[i] * q_dim,
                                          k + begin[i] * kv_dim, v + begin[i] * kv_dim,
                                          x + begin[i] * q_dim) != PONS_OK;
    }
    if (failed) st = pons_fail(PONS_ERR_NOMEM, "out of memory for the attention of a block");
done:
    return st;
}

static pons_status gate_and_up(const pons_block *b, const pons_runtime *runtime, int64_t S,
                               float *x)
{
    pons_status st = PONS_OK;
    int64_t width = b->config.intermediate;
    float *gate = b->work->apart;
    if (pons_block_shares_input(runtime)) {
        PONS_TRY(st, pack(b, PONS_GATE, S, x));
        PONS_TRY(st, pack_own(b, runtime, PONS_UP, true, S, x));
        return pons_matmul_gate(b->linear[PONS_GATE], b->linear[PONS_UP], b->work->input, x, width);
    }
    PONS_TRY(st, pack_own(b, runtime, PONS_GATE, false, S, x));
    PONS_TRY(st, pons_matmul_put(b->linear[PONS_GATE], b->work->input, gate, width));
    pons_learned_quantize(&b->config, b->transforms, &runtime->activations, PONS_UP, S, x);
    PONS_TRY(st, pack(b, PONS_UP, S, x));
    PONS_TRY(st, pons_matmul_put(b->linear[PONS_UP], b->work->input, x, width));
    pons_gate(S * width, gate, x);
done:
    return st;
}

static void quantize_input(const pons_model_config *c, const pons_act_quant *quant,
                           pons_group group, int64_t S, float *x)
{
    int bits;
    int64_t size, dim = pons_group_dim(c, group);
    pons_activation_layout(quant, c->hidden, c->head_dim, dim, group == PONS_GROUP_O,
                           group == PONS_GROUP_DOWN, &bits, &size);
    pons_activation_quantize(bits, quant->symmetric, quant->clip_ratio, size, S, dim, x, dim);
}

/* What ends a stage token by token: the norm (of h into x) or the online Hadamard transform of its
 * input, and its quantizer; or the learned transform. */
static void finish_input(const pons_block *b, const pons_runtime *runtime, pons_group group,
                         int64_t n, const float *h, float *x)
{
    const pons_model_config *c = &b->config;
    float eps = (float)c->rms_eps;
    switch (group) {
    case PONS_GROUP_QKV: pons_rmsnorm(n, c->hidden, h, b->attention_norm, eps, x); break;
    case PONS_GROUP_O:
        if (runtime->hadamard_heads) {
            pons_dtype_round(runtime->hadamard_dtype, x, n * c->heads * c->head_dim);
            pons_hadamard_heads(x, n, c->heads, c->head_dim, c->heads * c->head_dim);
            pons_dtype_round(runtime->hadamard_dtype, x, n * c->heads * c->head_dim);
        }
        break;
    case PONS_GROUP_GATE_UP: pons_rmsnorm(n, c->hidden, h, b->mlp_norm, eps, x); break;
    case PONS_GROUP_DOWN:
        if (runtime->hadamard_down) {
            pons_dtype_round(runtime->hadamard_dtype, x, n * c->intermediate);
            pons_hadamard_rows(x, n, c->intermediate, c->intermediate);
            pons_dtype_round(runtime->hadamard_dtype, x, n * c->intermediate);
        }
        break;
    default: break;
    }
    if (runtime->transforms)
        pons_learned_input(c, b->transforms, group, n, x);
    else
        quantize_input(c, &runtime->activations, group, n, x);
}

pons_status pons_block_stage_packed(const pons_block *block, const pons_runtime *runtime, int stage,
                                    int64_t count, const int64_t *begin, float *h, float *x)
{
    pons_status st = PONS_OK;
    int64_t S = begin[count];
    PONS_ASSERT(stage >= 0 && stage < PONS_STAGES && S >= 1);
    if (runtime->transforms && !block->transforms)
        return pons_fail(PONS_ERR_BUG, "a block was run before its transforms were set");
    PONS_TRY(st, reserve(block, S));
    switch (stage) {
    case 1: PONS_TRY(st, attend(block, runtime, count, begin, x)); break;
    case 2: PONS_TRY(st, add_linear(block, runtime, PONS_O, S, x, h)); break;
    case 3: PONS_TRY(st, gate_and_up(block, runtime, S, x)); break;
    case 4: return add_linear(block, runtime, PONS_DOWN, S, x, h);
    }
    int64_t hidden = block->config.hidden;
    int64_t dim = pons_group_dim(&block->config, (pons_group)stage);
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < S; s += CHUNK)
        finish_input(block, runtime, (pons_group)stage, min_i64(CHUNK, S - s), h + s * hidden,
                     x + s * dim);
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
