/* Owns the placement of R1, R2, R4 and the head Hadamards in a model, and norm folding. The
 * matrices themselves are in orthogonal.c, FlatQuant's transforms of the weights in flatquant.c; what
 * the forward pass does online is only declared here (pons_runtime).
 *
 * With x' = x R1 on the residual stream and a' = a M at the o_proj input (M block-diagonal R2, or
 * quarot's head Hadamards) every product is unchanged: (x R1)(W R1)^T = x W^T, and
 * R1^T (W M)(a M)^T = R1^T W a. */
#include "rotate/rotation.h"

#include <string.h>

#include "base/mem.h"
#include "kern/hadamard.h"
#include "rotate/flatquant.h"
#include "rotate/orthogonal.h"
#include "rotate/spinquant_file.h"

struct pons_rotation {
    pons_rotation_kind kind;
    bool online, center_embedding;
    pons_dtype hadamard_dtype;
    pons_act_quant activations;
    pons_kv_quant kv, values;
    pons_model_config config;
    pons_orthogonal r1;
    pons_orthogonal *r2; /* [r2_count]: one per layer (spinquant), or one for all (quarot) */
    int64_t r2_count;
    pons_flatquant *flat; /* flatquant; NULL: another kind */
    double deviation;     /* of the matrices of a file from what they should be */
};

static bool is_power_of_two(int64_t n) { return n > 0 && (n & (n - 1)) == 0; }

/* Where no Hadamard matrix of the order is known, kern/hadamard.h takes a block-diagonal one: any even order will do. */
static pons_status require_hadamard(const char *field, int64_t n, const char *use)
{
    if (pons_hadamard_block(n) > 1) return PONS_OK;
    return pons_fail(PONS_ERR_UNSUPPORTED,
                     "model config: %s: found %lld, allowed for %s: an even number (no Hadamard "
                     "matrix, nor a block-diagonal one, has an odd order)",
                     field, (long long)n, use);
}

pons_status pons_rotation_check(const pons_recipe *recipe, const pons_model_config *c)
{
    pons_status st = PONS_OK;
    if (recipe->rotation.kind == PONS_ROTATION_NONE) return PONS_OK;
    bool online = recipe->rotation.online, quarot = recipe->rotation.kind == PONS_ROTATION_QUAROT;
    bool drawn = !recipe->rotation.file[0];
    if (recipe->rotation.kind == PONS_ROTATION_FLATQUANT) return PONS_OK; /* has no Hadamards */
    if (drawn && recipe->rotation.mode == PONS_ROTATE_HADAMARD)
        PONS_TRY(st, require_hadamard("hidden_size", c->hidden, "the rotation R1"));
    if (drawn) PONS_TRY(st, require_hadamard("head_dim", c->head_dim, "the rotation inside heads"));
    if (!online) return PONS_OK;
    PONS_TRY(st, require_hadamard("intermediate_size", c->intermediate,
                                  "the online Hadamard of down_proj (off: rotation.online false)"));
    if (recipe->kv.bits < 16 && !is_power_of_two(c->head_dim))
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "model config: head_dim: found %lld, allowed for the online Hadamard of "
                         "queries and keys: a power of two (off: rotation.online false or kv.bits "
                         "16)",
                         (long long)c->head_dim);
    if (!quarot || is_power_of_two(c->heads)) return PONS_OK;
    int factor = pons_hadamard_factor(c->heads);
    if (factor == 0)
        return require_hadamard("num_attention_heads", c->heads,
                                "quarot's online Hadamard across heads (off: rotation.online "
                                "false; spinquant has none)");
    if (factor != c->heads)
        return pons_fail(PONS_ERR_UNSUPPORTED,
                         "model config: num_attention_heads: found %lld, allowed for quarot's "
                         "online Hadamard across heads: a power of two, the order of one factor "
                         "(12, 20, 28, ...), or an order without a Hadamard matrix (a product of "
                         "two factors does not compose with the one inside heads; off: "
                         "rotation.online false; spinquant has none)",
                         (long long)c->heads);
done:
    return st;
}

static pons_status draw(const pons_recipe *recipe, pons_rotation *r)
{
    pons_status st = PONS_OK;
    bool spinquant = r->kind == PONS_ROTATION_SPINQUANT;
    pons_mt19937 rng; /* R1 first, then R2 of layer 0, 1, ... */
    pons_mt19937_seed(&rng, recipe->rotation.seed);
    if (recipe->rotation.mode == PONS_ROTATE_RANDOM)
        PONS_TRY(st, pons_orthogonal_random(r->config.hidden, &rng, &r->r1));
    else
        PONS_TRY(st, pons_orthogonal_hadamard(r->config.hidden, &rng, &r->r1));
    int64_t count = spinquant ? r->config.layers : 1;
    PONS_CALLOC(st, r->r2, count);
    for (r->r2_count = 0; r->r2_count < count; r->r2_count++)
        PONS_TRY(st, pons_orthogonal_hadamard(r->config.head_dim, spinquant ? &rng : NULL,
                                              &r->r2[r->r2_count]));
done:
    return st;
}

static pons_status read_file(const pons_recipe *recipe, const pons_model_config *config,
                             pons_rotation *r)
{
    pons_status st = PONS_OK;
    if (r->kind == PONS_ROTATION_FLATQUANT) {
        PONS_TRY(st, pons_flatquant_read(recipe->rotation.file, config, recipe->rotation.tolerance,
                                         &r->flat));
        r->deviation = r->flat->deviation;
        return PONS_OK;
    }
    PONS_CALLOC(st, r->r2, r->config.layers);
    r->r2_count = r->config.layers;
    st = pons_spinquant_read(recipe->rotation.file, config, recipe->rotation.tolerance, &r->r1,
                             r->r2, &r->deviation);
done:
    return st;
}

pons_status pons_rotation_create(const pons_recipe *recipe, const pons_model_config *config,
                                 pons_rotation **out)
{
    pons_status st = PONS_OK;
    pons_rotation *r = NULL;
    bool active = recipe->rotation.kind != PONS_ROTATION_NONE;
    PONS_TRY(st, pons_rotation_check(recipe, config));
    PONS_CALLOC(st, r, 1);
    r->kind = recipe->rotation.kind;
    r->online = active && recipe->rotation.online;
    r->hadamard_dtype = recipe->rotation.hadamard_dtype;
    r->center_embedding = active && recipe->rotation.center_embedding;
    r->activations = recipe->activations;
    r->kv = recipe->kv;
    r->values = recipe->values;
    r->config = *config;
    if (active)
        PONS_TRY(st, recipe->rotation.file[0] ? read_file(recipe, config, r) : draw(recipe, r));
    *out = r;
    return PONS_OK;
done:
    pons_rotation_destroy(&r);
    return st;
}

static void clear_matrices(pons_rotation *r)
{
    for (int64_t i = 0; i < r->r2_count; i++)
        pons_orthogonal_clear(&r->r2[i]);
    pons_mem_free(r->r2);
    pons_orthogonal_clear(&r->r1);
    pons_flatquant_destroy(&r->flat);
}

void pons_rotation_destroy(pons_rotation **rotation)
{
    if (!rotation || !*rotation) return;
    clear_matrices(*rotation);
    pons_mem_free(*rotation);
    *rotation = NULL;
}

pons_runtime pons_rotation_runtime(const pons_rotation *r)
{
    bool hadamards = r->online && !r->flat;
    return (pons_runtime){.hadamard_qk = hadamards,
                          .hadamard_heads = hadamards && r->kind == PONS_ROTATION_QUAROT,
                          .hadamard_down = hadamards,
                          .hadamard_dtype = r->hadamard_dtype,
                          .transforms = r->flat != NULL,
                          .activations = r->activations,
                          .kv = r->kv,
                          .values = r->values};
}

bool pons_rotation_folds(const pons_rotation *r) { return pons_rotation_kind_folds(r->kind); }

double pons_rotation_deviation(const pons_rotation *r) { return r->deviation; }

static const pons_orthogonal *r2_of(const pons_rotation *r, int64_t layer)
{
    PONS_ASSERT(layer >= 0 && layer < r->config.layers);
    return &r->r2[r->kind == PONS_ROTATION_SPINQUANT ? layer : 0];
}

/* W [rows, hidden] <- W diag(gain) R1. */
static pons_status rotate_input(const pons_rotation *r, const float *gain, float *W, int64_t rows)
{
    int64_t hidden = r->config.hidden;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < hidden; j++)
            W[i * hidden + j] = (float)((double)W[i * hidden + j] * gain[j]);
    return pons_orthogonal_rows(&r->r1, W, rows, hidden);
}

/* W [hidden, cols] <- R1^T W, bias likewise. */
static pons_status rotate_output(const pons_rotation *r, float *W, int64_t cols, float *bias)
{
    pons_status st;
    PONS_TRY(st, pons_orthogonal_columns(&r->r1, W, cols, cols));
    if (bias) PONS_TRY(st, pons_orthogonal_columns(&r->r1, bias, 1, 1));
done:
    return st;
}

/* Each kv head's rows W [head_dim, cols] <- R2^T W, bias likewise. */
static pons_status rotate_values(const pons_rotation *r, int64_t layer, float *W, int64_t cols,
                                 float *bias)
{
    pons_status st = PONS_OK;
    const pons_orthogonal *r2 = r2_of(r, layer);
    for (int64_t head = 0; head < r->config.kv_heads; head++) {
        int64_t row = head * r->config.head_dim;
        PONS_TRY(st, pons_orthogonal_columns(r2, W + row * cols, cols, cols));
        if (bias) PONS_TRY(st, pons_orthogonal_columns(r2, bias + row, 1, 1));
    }
done:
    return st;
}

/* Each row of W [rows, heads * head_dim], seen as [heads, head_dim], <- Had_heads row. */
static pons_status rotate_across_heads(const pons_rotation *r, float *W, int64_t rows)
{
    pons_status st = PONS_OK;
    int64_t heads = r->config.heads, width = r->config.head_dim;
    size_t bytes = (size_t)width * sizeof *W;
    float *by_head = NULL; /* [heads, rows * head_dim]: what is to be mixed stands in columns */
    PONS_ALLOC(st, by_head, rows * heads * width);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < heads; k++)
            memcpy(by_head + (k * rows + i) * width, W + (i * heads + k) * width, bytes);
    PONS_TRY(st, pons_hadamard_columns_f64(by_head, heads, rows * width, rows * width));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < heads; k++)
            memcpy(W + (i * heads + k) * width, by_head + (k * rows + i) * width, bytes);
done:
    pons_mem_free(by_head);
    return st;
}

/* The input side of a linear [rows, heads * head_dim] of attention's outputs: per query head
 * W[:, head] <- W[:, head] R2, and under quarot's online transform Had_heads across heads. The two
 * together are the full Hadamard of the width; written as the product they undo the online side whatever
 * factors that width has. */
static pons_status rotate_heads(const pons_rotation *r, int64_t layer, float *W, int64_t rows)
{
    pons_status st;
    int64_t heads = r->config.heads;
    /* seen as [rows * heads, head_dim] */
    PONS_TRY(st, pons_orthogonal_rows(r2_of(r, layer), W, rows * heads, r->config.head_dim));
    if (r->online && r->kind == PONS_ROTATION_QUAROT) PONS_TRY(st, rotate_across_heads(r, W, rows));
done:
    return st;
}

pons_status pons_rotation_linear(const pons_rotation *r, int64_t layer, int linear,
                                 const float *gains, float *W, float *bias)
{
    pons_status st = PONS_OK;
    const pons_arch_linear *of = &r->config.arch->linear[linear];
    const pons_arch_tap *tap = &r->config.arch->tap[of->tap];
    int64_t rows, cols;
    if (r->flat) return pons_flatquant_linear(r->flat, layer, linear, W, bias);
    if (!pons_rotation_folds(r)) return PONS_OK;
    pons_linear_shape(&r->config, linear, &rows, &cols);
    if (tap->kind == PONS_INPUT_STREAM)
        PONS_TRY(st, rotate_input(r, gains + pons_gain_offset(&r->config, tap->gain), W, rows));
    else if (tap->kind == PONS_INPUT_HEADS)
        PONS_TRY(st, rotate_heads(r, layer, W, rows));
    else if (r->online)
        PONS_TRY(st, pons_hadamard_rows_f64(W, rows, cols, cols));
    if (of->output == PONS_OUTPUT_VALUES)
        PONS_TRY(st, rotate_values(r, layer, W, cols, bias));
    else if (of->output == PONS_OUTPUT_STREAM)
        PONS_TRY(st, rotate_output(r, W, cols, bias));
done:
    return st;
}

pons_status pons_rotation_replace(pons_rotation *r, const float *R1, const float *R2)
{
    pons_status st = PONS_OK;
    double deviation;
    int64_t count = 0, size = r->config.head_dim * r->config.head_dim;
    pons_orthogonal r1 = {0}, *r2 = NULL;
    PONS_ASSERT(r->kind == PONS_ROTATION_SPINQUANT);
    PONS_TRY(st, pons_orthogonal_given(r->config.hidden, R1, &deviation, &r1));
    PONS_CALLOC(st, r2, r->config.layers);
    for (; count < r->config.layers; count++)
        PONS_TRY(st, pons_orthogonal_given(r->config.head_dim, R2 + count * size, &deviation,
                                           &r2[count]));
    clear_matrices(r);
    r->r1 = r1;
    r->r2 = r2;
    r->r2_count = count;
    return PONS_OK;
done:
    for (int64_t i = 0; i < count; i++)
        pons_orthogonal_clear(&r2[i]);
    pons_mem_free(r2);
    pons_orthogonal_clear(&r1);
    return st;
}

void pons_rotation_center(const pons_rotation *r, float *E, int64_t n)
{
    if (!r->center_embedding) return;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < r->config.hidden; j++)
            sum += E[i * r->config.hidden + j];
        for (int64_t j = 0; j < r->config.hidden; j++)
            E[i * r->config.hidden + j] =
                (float)(E[i * r->config.hidden + j] - sum / (double)r->config.hidden);
    }
}

void pons_rotation_gains(const pons_rotation *r, int64_t layer, float *gains)
{
    const pons_model_config *c = &r->config;
    if (r->flat) pons_flatquant_gains(r->flat, layer, gains);
    if (!pons_rotation_folds(r)) return;
    for (int t = 0; t < c->arch->taps; t++) {
        if (c->arch->tap[t].kind != PONS_INPUT_STREAM) continue;
        float *gain = gains + pons_gain_offset(c, c->arch->tap[t].gain);
        for (int64_t j = 0; j < c->hidden; j++)
            gain[j] = 1;
    }
}

void pons_rotation_transforms(const pons_rotation *r, int64_t layer, float *out)
{
    PONS_ASSERT(r->flat && layer >= 0 && layer < r->config.layers);
    pons_flatquant_transforms(r->flat, layer, out);
}

pons_status pons_rotation_embedding(const pons_rotation *r, float *E, int64_t n)
{
    if (!pons_rotation_folds(r)) return PONS_OK;
    pons_rotation_center(r, E, n);
    return pons_orthogonal_rows(&r->r1, E, n, r->config.hidden);
}

pons_status pons_rotation_head(const pons_rotation *r, const float *final_gain, float *W, int64_t n)
{
    if (!pons_rotation_folds(r)) return PONS_OK;
    return rotate_input(r, final_gain, W, n);
}

static pons_status write_explicit(const pons_orthogonal *Q, int64_t n, float *R)
{
    memset(R, 0, (size_t)(n * n) * sizeof *R);
    for (int64_t i = 0; i < n; i++)
        R[i * n + i] = 1;
    return Q ? pons_orthogonal_rows(Q, R, n, n) : PONS_OK;
}

pons_status pons_rotation_r1(const pons_rotation *r, float *R)
{
    return write_explicit(pons_rotation_folds(r) ? &r->r1 : NULL, r->config.hidden, R);
}

pons_status pons_rotation_r2(const pons_rotation *r, int64_t layer, float *R)
{
    return write_explicit(pons_rotation_folds(r) ? r2_of(r, layer) : NULL, r->config.head_dim, R);
}

pons_status pons_rotation_export(const pons_rotation *r, const char *path)
{
    pons_status st = PONS_OK;
    int64_t size = r->config.head_dim * r->config.head_dim;
    float *r1 = NULL, *r2 = NULL;
    PONS_ALLOC(st, r1, r->config.hidden * r->config.hidden);
    PONS_ALLOC(st, r2, r->config.layers * size);
    PONS_TRY(st, pons_rotation_r1(r, r1));
    for (int64_t layer = 0; layer < r->config.layers; layer++)
        PONS_TRY(st, pons_rotation_r2(r, layer, r2 + layer * size));
    st = pons_spinquant_write(path, r->config.hidden, r->config.head_dim, r->config.layers, r1, r2);
done:
    pons_mem_free(r2);
    pons_mem_free(r1);
    return st;
}
