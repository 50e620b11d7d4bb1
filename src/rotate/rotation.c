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
    int64_t hidden, intermediate, layers, heads, kv_heads, head_dim;
    pons_orthogonal r1;
    pons_orthogonal *r2; /* [r2_count]: one per layer (spinquant), or one for all (quarot) */
    int64_t r2_count;
    pons_flatquant *flat; /* flatquant; NULL: another kind */
    double deviation;     /* of the matrices of a file from what they should be */
};

static bool is_power_of_two(int64_t n) { return n > 0 && (n & (n - 1)) == 0; }

static pons_status require_hadamard(const char *field, int64_t n, const char *use)
{
    if (pons_hadamard_factor(n) > 0) return PONS_OK;
    return pons_fail(
        PONS_ERR_UNSUPPORTED,
        "model config: %s: found %lld, allowed for %s: a power of two times 1, 12, 20, "
        "28, 36, 40, 44, 52, 60, 108, 140, 148, 156 or 172 (no Hadamard matrix of "
        "another order is known here)",
        field, (long long)n, use);
}

/* Whether every transform that the recipe asks for exists for this model. */
static pons_status check_sizes(const pons_recipe *recipe, const pons_model_config *c)
{
    pons_status st = PONS_OK;
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
    if (quarot && !is_power_of_two(c->heads) && pons_hadamard_factor(c->heads) != c->heads)
        return pons_fail(
            PONS_ERR_UNSUPPORTED,
            "model config: num_attention_heads: found %lld, allowed for quarot's "
            "online Hadamard across heads: a power of two, 12, 20, 28, 36, 40, 44, 52, "
            "60, 108, 140, 148, 156 or 172 (%s; off: rotation.online false; spinquant "
            "has none)",
            (long long)c->heads,
            pons_hadamard_factor(c->heads) ? "a product of two factors does not "
                                             "compose with the one inside heads"
                                           : "no Hadamard matrix of this order");
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
        PONS_TRY(st, pons_orthogonal_random(r->hidden, &rng, &r->r1));
    else
        PONS_TRY(st, pons_orthogonal_hadamard(r->hidden, &rng, &r->r1));
    int64_t count = spinquant ? r->layers : 1;
    PONS_CALLOC(st, r->r2, count);
    for (r->r2_count = 0; r->r2_count < count; r->r2_count++)
        PONS_TRY(st, pons_orthogonal_hadamard(r->head_dim, spinquant ? &rng : NULL,
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
    PONS_CALLOC(st, r->r2, r->layers);
    r->r2_count = r->layers;
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
    if (active) PONS_TRY(st, check_sizes(recipe, config));
    PONS_CALLOC(st, r, 1);
    r->kind = recipe->rotation.kind;
    r->online = active && recipe->rotation.online;
    r->hadamard_dtype = recipe->rotation.hadamard_dtype;
    r->center_embedding = active && recipe->rotation.center_embedding;
    r->activations = recipe->activations;
    r->kv = recipe->kv;
    r->values = recipe->values;
    r->hidden = config->hidden;
    r->intermediate = config->intermediate;
    r->layers = config->layers;
    r->heads = config->heads;
    r->kv_heads = config->kv_heads;
    r->head_dim = config->head_dim;
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
    PONS_ASSERT(layer >= 0 && layer < r->layers);
    return &r->r2[r->kind == PONS_ROTATION_SPINQUANT ? layer : 0];
}

/* W [rows, hidden] <- W diag(gain) R1. */
static pons_status rotate_input(const pons_rotation *r, const float *gain, float *W, int64_t rows)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < r->hidden; j++)
            W[i * r->hidden + j] = (float)((double)W[i * r->hidden + j] * gain[j]);
    return pons_orthogonal_rows(&r->r1, W, rows, r->hidden);
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

/* Each kv head's rows W [head_dim, hidden] <- R2^T W, bias likewise. */
static pons_status rotate_values(const pons_rotation *r, int64_t layer, float *W, float *bias)
{
    pons_status st = PONS_OK;
    const pons_orthogonal *r2 = r2_of(r, layer);
    for (int64_t head = 0; head < r->kv_heads; head++) {
        int64_t row = head * r->head_dim;
        PONS_TRY(st, pons_orthogonal_columns(r2, W + row * r->hidden, r->hidden, r->hidden));
        if (bias) PONS_TRY(st, pons_orthogonal_columns(r2, bias + row, 1, 1));
    }
done:
    return st;
}

/* Each row of W [hidden, heads * head_dim], seen as [heads, head_dim], <- Had_heads row. */
static pons_status rotate_across_heads(const pons_rotation *r, float *W)
{
    pons_status st = PONS_OK;
    int64_t heads = r->heads, width = r->head_dim, rows = r->hidden;
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

/* The input side of o_proj: per query head W[:, head] <- W[:, head] R2, and under quarot's online
 * transform Had_heads across heads. The two together are the full Hadamard of the width; written
 * as the product they undo the online side whatever factors that width has. */
static pons_status rotate_heads(const pons_rotation *r, int64_t layer, float *W)
{
    pons_status st;
    /* W [hidden, heads * head_dim] seen as [hidden * heads, head_dim] */
    PONS_TRY(st, pons_orthogonal_rows(r2_of(r, layer), W, r->hidden * r->heads, r->head_dim));
    if (r->online && r->kind == PONS_ROTATION_QUAROT) PONS_TRY(st, rotate_across_heads(r, W));
done:
    return st;
}

pons_status pons_rotation_linear(const pons_rotation *r, int64_t layer, pons_linear linear,
                                 const float *gain, float *W, float *bias)
{
    pons_status st = PONS_OK;
    if (r->flat) return pons_flatquant_linear(r->flat, layer, linear, W, bias);
    if (!pons_rotation_folds(r)) return PONS_OK;
    switch (linear) {
    case PONS_Q: return rotate_input(r, gain, W, r->heads * r->head_dim);
    case PONS_K: return rotate_input(r, gain, W, r->kv_heads * r->head_dim);
    case PONS_UP: /* fall through */
    case PONS_GATE: return rotate_input(r, gain, W, r->intermediate);
    case PONS_V:
        PONS_TRY(st, rotate_input(r, gain, W, r->kv_heads * r->head_dim));
        PONS_TRY(st, rotate_values(r, layer, W, bias));
        break;
    case PONS_O:
        PONS_TRY(st, rotate_heads(r, layer, W));
        PONS_TRY(st, rotate_output(r, W, r->heads * r->head_dim, bias));
        break;
    case PONS_DOWN:
        if (r->online)
            PONS_TRY(st, pons_hadamard_rows_f64(W, r->hidden, r->intermediate, r->intermediate));
        PONS_TRY(st, rotate_output(r, W, r->intermediate, bias));
        break;
    case PONS_LINEARS: PONS_ASSERT(!"a linear");
    }
done:
    return st;
}

pons_status pons_rotation_replace(pons_rotation *r, const float *R1, const float *R2)
{
    pons_status st = PONS_OK;
    double deviation;
    int64_t count = 0, size = r->head_dim * r->head_dim;
    pons_orthogonal r1 = {0}, *r2 = NULL;
    PONS_ASSERT(r->kind == PONS_ROTATION_SPINQUANT);
    PONS_TRY(st, pons_orthogonal_given(r->hidden, R1, &deviation, &r1));
    PONS_CALLOC(st, r2, r->layers);
    for (; count < r->layers; count++)
        PONS_TRY(st, pons_orthogonal_given(r->head_dim, R2 + count * size, &deviation, &r2[count]));
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
        for (int64_t j = 0; j < r->hidden; j++)
            sum += E[i * r->hidden + j];
        for (int64_t j = 0; j < r->hidden; j++)
            E[i * r->hidden + j] = (float)(E[i * r->hidden + j] - sum / (double)r->hidden);
    }
}

void pons_rotation_norms(const pons_rotation *r, int64_t layer, float *attention, float *mlp)
{
    if (r->flat) pons_flatquant_norms(r->flat, layer, attention, mlp);
    for (int64_t j = 0; pons_rotation_folds(r) && j < r->hidden; j++)
        attention[j] = mlp[j] = 1;
}

void pons_rotation_transforms(const pons_rotation *r, int64_t layer, float *out)
{
    PONS_ASSERT(r->flat && layer >= 0 && layer < r->layers);
    pons_flatquant_transforms(r->flat, layer, out);
}

pons_status pons_rotation_embedding(const pons_rotation *r, float *E, int64_t n)
{
    if (!pons_rotation_folds(r)) return PONS_OK;
    pons_rotation_center(r, E, n);
    return pons_orthogonal_rows(&r->r1, E, n, r->hidden);
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
    return write_explicit(pons_rotation_folds(r) ? &r->r1 : NULL, r->hidden, R);
}

pons_status pons_rotation_r2(const pons_rotation *r, int64_t layer, float *R)
{
    return write_explicit(pons_rotation_folds(r) ? r2_of(r, layer) : NULL, r->head_dim, R);
}

pons_status pons_rotation_export(const pons_rotation *r, const char *path)
{
    pons_status st = PONS_OK;
    int64_t size = r->head_dim * r->head_dim;
    float *r1 = NULL, *r2 = NULL;
    PONS_ALLOC(st, r1, r->hidden * r->hidden);
    PONS_ALLOC(st, r2, r->layers * size);
    PONS_TRY(st, pons_rotation_r1(r, r1));
    for (int64_t layer = 0; layer < r->layers; layer++)
        PONS_TRY(st, pons_rotation_r2(r, layer, r2 + layer * size));
    st = pons_spinquant_write(path, r->hidden, r->head_dim, r->layers, r1, r2);
done:
    pons_mem_free(r2);
    pons_mem_free(r1);
    return st;
}
