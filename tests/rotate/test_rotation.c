/* Rotation against dense matrices written out from the specification (5.2, 5.3), and the identities
 * that make it legal: every product of a block is what it was, in the rotated basis. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <omp.h>

#include "base/mem.h"
#include "base/mt19937.h"
#include "kern/hadamard.h"
#include "model/arch_tables.h"
#include "rotate/rotation.h"

enum { T = 5, LARGEST = 160 };

static pons_model_config model(int64_t hidden, int64_t intermediate, int64_t heads,
                               int64_t kv_heads, int64_t head_dim)
{
    return (pons_model_config){.arch = &pons_arch_llama,
                               .hidden = hidden,
                               .intermediate = intermediate,
                               .layers = 3,
                               .heads = heads,
                               .kv_heads = kv_heads,
                               .head_dim = head_dim,
                               .vocab = 11};
}

static pons_recipe recipe(pons_rotation_kind kind, pons_rotate_mode mode, bool online)
{
    pons_recipe r;
    pons_recipe_default(&r);
    r.rotation.kind = kind;
    r.rotation.mode = mode;
    r.rotation.online = online;
    return r;
}

static pons_rotation *create(const pons_recipe *r, const pons_model_config *c)
{
    pons_rotation *rotation = NULL;
    if (pons_rotation_create(r, c, &rotation) != PONS_OK) fail_msg("%s", pons_error_message());
    return rotation;
}

static float *random_floats(pons_mt19937 *rng, int64_t n)
{
    float *x = pons_mem_alloc(n, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)pons_mt19937_next(rng) / 2147483648.0f - 1;
    return x;
}

static float *copy_floats(const float *x, int64_t n)
{
    float *y = pons_mem_alloc(n, sizeof *y);
    assert_non_null(y);
    return memcpy(y, x, (size_t)n * sizeof *y);
}

/* (H_K (x) Sylvester)[i][j] / sqrt(n), entry by entry; blocks along the diagonal where there is no such matrix. */
static double hadamard(int64_t n, int64_t i, int64_t j)
{
    int64_t block = pons_hadamard_block(n);
    if (i / block != j / block) return 0;
    n = block;
    i %= n;
    j %= n;
    int K = pons_hadamard_factor(n);
    int64_t m = n / K;
    int sign = pons_hadamard_matrix(K)[i / m * K + j / m];
    if (__builtin_popcountll((unsigned long long)(i % m & j % m)) % 2) sign = -sign;
    return sign / sqrt((double)n);
}

static void assert_close(const float *x, const double *y, int64_t n, double tolerance)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i] - y[i]) <= tolerance))
            fail_msg("entry %lld: %.9g, expected %.9g", (long long)i, x[i], y[i]);
}

static void assert_orthogonal(const float *R, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += (double)R[i * n + k] * R[j * n + k];
            assert_true(fabs(sum - (i == j)) < 1e-6);
        }
}

/* Random Hadamards in the reference's draw order: signs of R1, then of each layer's R2. */
static void hadamards_of_the_specification(void **state)
{
    (void)state;
    static const char first[] = "-++-+++++++--+-----+-++--++++-+-"; /* specification 5.3, seed 0 */
    static float R[LARGEST * LARGEST];
    static double expected[LARGEST * LARGEST];
    const pons_rotation_kind kinds[] = {PONS_ROTATION_SPINQUANT, PONS_ROTATION_QUAROT};
    for (int k = 0; k < 2; k++) {
        pons_model_config c = model(48, 80, 4, 2, 8);
        pons_recipe r = recipe(kinds[k], PONS_ROTATE_HADAMARD, true);
        pons_rotation *rotation = create(&r, &c);
        pons_mt19937 rng;
        pons_mt19937_seed(&rng, 0);
        for (int64_t i = 0; i < 48; i++) {
            int sign = pons_mt19937_next(&rng) & 1u ? 1 : -1;
            if (i < 32) assert_int_equal(sign > 0 ? '+' : '-', first[i]);
            for (int64_t j = 0; j < 48; j++)
                expected[i * 48 + j] = sign * hadamard(48, j, i);
        }
        assert_int_equal(pons_rotation_r1(rotation, R), PONS_OK);
        assert_close(R, expected, 48 * 48, 1e-7);
        assert_orthogonal(R, 48);
        for (int64_t layer = 0; layer < 3; layer++) {
            for (int64_t i = 0; i < 8; i++) {
                int sign = k == 1 || pons_mt19937_next(&rng) & 1u ? 1 : -1;
                for (int64_t j = 0; j < 8; j++)
                    expected[i * 8 + j] = sign * hadamard(8, j, i);
            }
            assert_int_equal(pons_rotation_r2(rotation, layer, R), PONS_OK);
            assert_close(R, expected, 8 * 8, 1e-7);
        }
        pons_rotation_destroy(&rotation);
        assert_null(rotation);
    }
}

/* y [rows, cols] = A^T X with A [rows, rows], or X A with A [cols, cols], in fp64. */
static void left(const double *A, double *X, int64_t rows, int64_t cols)
{
    double *y = pons_mem_calloc(rows * cols, sizeof(double));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < rows; k++)
            for (int64_t j = 0; j < cols; j++)
                y[i * cols + j] += A[k * rows + i] * X[k * cols + j];
    memcpy(X, y, (size_t)(rows * cols) * sizeof *y);
    pons_mem_free(y);
}

static void right(double *X, const double *A, int64_t rows, int64_t cols)
{
    double *y = pons_mem_calloc(rows * cols, sizeof(double));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < cols; k++)
            for (int64_t j = 0; j < cols; j++)
                y[i * cols + j] += X[i * cols + k] * A[k * cols + j];
    memcpy(X, y, (size_t)(rows * cols) * sizeof *y);
    pons_mem_free(y);
}

/* Block-diagonal `count` copies of R [n, n]. */
static double *blocks(const float *R, int64_t n, int64_t count)
{
    int64_t N = n * count;
    double *A = pons_mem_calloc(N * N, sizeof(double));
    for (int64_t b = 0; b < count; b++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                A[(b * n + i) * N + b * n + j] = R[i * n + j];
    return A;
}

/* Had_n transposed, so that x A = Had_n x. */
static double *dense_hadamard(int64_t n)
{
    double *A = pons_mem_calloc(n * n, sizeof(double));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            A[i * n + j] = hadamard(n, j, i);
    return A;
}

/* The same across heads for each channel. */
static double *dense_across(int64_t heads, int64_t width)
{
    int64_t n = heads * width;
    double *A = pons_mem_calloc(n * n, sizeof(double));
    for (int64_t i = 0; i < heads; i++)
        for (int64_t j = 0; j < heads; j++)
            for (int64_t c = 0; c < width; c++)
                A[(i * width + c) * n + j * width + c] = hadamard(heads, j, i);
    return A;
}

/* Each linear against the table of specification 5.3 with dense matrices. */
static void check_placement(const pons_recipe *r, const pons_model_config *c)
{
    pons_rotation *rotation = create(r, c);
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 5);
    int64_t h = c->hidden, f = c->intermediate, a = c->heads * c->head_dim,
            v = c->kv_heads * c->head_dim;
    float *gain = random_floats(&rng, 2 * h);
    float *R1f = pons_mem_alloc(h * h, sizeof *R1f);
    float *R2f = pons_mem_alloc(c->head_dim * c->head_dim, sizeof *R2f);
    assert_int_equal(pons_rotation_r1(rotation, R1f), PONS_OK);
    double *R1 = blocks(R1f, h, 1), *R4 = r->rotation.online ? dense_hadamard(f) : NULL;
    const int64_t layer = 2;
    assert_int_equal(pons_rotation_r2(rotation, layer, R2f), PONS_OK);
    double *values = blocks(R2f, c->head_dim, c->kv_heads);
    double *heads = blocks(R2f, c->head_dim, c->heads), *across = NULL, *mixing = NULL;
    bool mixes = r->rotation.kind == PONS_ROTATION_QUAROT && r->rotation.online;
    if (mixes && pons_hadamard_block(c->heads) < c->heads)
        mixing = dense_across(c->heads, c->head_dim);
    else if (mixes)
        across = dense_hadamard(a); /* "full Had on each row" */

    const int64_t shape[PONS_LINEARS][2] = {
        [PONS_K] = {v, h},  [PONS_V] = {v, h},    [PONS_Q] = {a, h},   [PONS_O] = {h, a},
        [PONS_UP] = {f, h}, [PONS_GATE] = {f, h}, [PONS_DOWN] = {h, f}};
    for (int l = 0; l < PONS_LINEARS; l++) {
        int64_t rows = shape[l][0], cols = shape[l][1];
        float *W = random_floats(&rng, rows * cols), *bias = random_floats(&rng, rows);
        double *X = pons_mem_alloc(rows * cols, sizeof *X);
        double *b = pons_mem_alloc(rows, sizeof *b);
        for (int64_t i = 0; i < rows * cols; i++)
            X[i] = (double)W[i] * (l == PONS_O || l == PONS_DOWN    ? 1
                                   : l == PONS_UP || l == PONS_GATE ? gain[h + i % cols]
                                                                    : gain[i % cols]);
        for (int64_t i = 0; i < rows; i++)
            b[i] = bias[i];
        if (l == PONS_O) {
            if (across)
                right(X, across, rows, cols);
            else
                right(X, heads, rows, cols);
            if (mixing) right(X, mixing, rows, cols);
            left(R1, X, rows, cols);
            left(R1, b, rows, 1);
        } else if (l == PONS_DOWN) {
            if (r->rotation.online) right(X, R4, rows, cols);
            left(R1, X, rows, cols);
            left(R1, b, rows, 1);
        } else {
            right(X, R1, rows, cols);
            if (l == PONS_V) left(values, X, rows, cols);
            if (l == PONS_V) left(values, b, rows, 1);
        }
        assert_int_equal(pons_rotation_linear(rotation, layer, l,
                                              l == PONS_O || l == PONS_DOWN ? NULL : gain, W, bias),
                         PONS_OK);
        assert_close(W, X, rows * cols, 2e-6);
        assert_close(bias, b, rows, 2e-6);
        pons_mem_free(W);
        pons_mem_free(bias);
        pons_mem_free(X);
        pons_mem_free(b);
    }
    pons_mem_free(gain);
    pons_mem_free(R1f);
    pons_mem_free(R2f);
    pons_mem_free(R1);
    pons_mem_free(R4);
    pons_mem_free(values);
    pons_mem_free(heads);
    pons_mem_free(across);
    pons_mem_free(mixing);
    pons_rotation_destroy(&rotation);
}

static void placement(void **state)
{
    (void)state;
    const pons_model_config spin = model(48, 80, 6, 2, 8), bare = model(30, 7, 3, 3, 8),
                            power = model(32, 64, 4, 2, 8), twelve = model(48, 80, 12, 4, 8),
                            six = model(50, 90, 6, 2, 8); /* block-diagonal ones */
    for (int online = 0; online < 2; online++) {
        pons_recipe r = recipe(PONS_ROTATION_SPINQUANT, PONS_ROTATE_HADAMARD, online);
        check_placement(&r, &spin);
        r = recipe(PONS_ROTATION_QUAROT, PONS_ROTATE_HADAMARD, online);
        check_placement(&r, &power);
        check_placement(&r, &twelve);
        check_placement(&r, &six);
        r = recipe(PONS_ROTATION_QUAROT, PONS_ROTATE_RANDOM, online);
        check_placement(&r, &power);
    }
    /* no Hadamard of 30, 7 or 3 is needed by a random rotation without online transforms */
    pons_recipe r = recipe(PONS_ROTATION_QUAROT, PONS_ROTATE_RANDOM, false);
    check_placement(&r, &bare);
}

/* y [T, rows] = x W^T + b. */
static float *linear(const float *x, const float *W, const float *bias, int64_t rows, int64_t cols)
{
    float *y = pons_mem_alloc(T * rows, sizeof *y);
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < rows; i++) {
            double sum = bias ? bias[i] : 0;
            for (int64_t j = 0; j < cols; j++)
                sum += (double)x[t * cols + j] * W[i * cols + j];
            y[t * rows + i] = (float)sum;
        }
    return y;
}

/* What a block computes from its normalised input x, with random attention weights in place of
 * softmax: q, k, scores' ingredients; the o_proj and down_proj outputs; logits of the head. */
typedef struct outputs {
    float *q, *k, *attention, *mlp, *logits;
} outputs;

typedef struct weights {
    float *W[PONS_LINEARS], *bias[PONS_LINEARS], *head;
} weights;

static outputs run(const pons_model_config *c, const weights *w, const float *gain, const float *x,
                   const float *mixing, const pons_runtime *runtime)
{
    int64_t h = c->hidden, f = c->intermediate, a = c->heads * c->head_dim,
            kv = c->kv_heads * c->head_dim;
    outputs out;
    float *scaled = copy_floats(x, T * h); /* x diag(gain); the rotated model's gains are one */
    for (int64_t i = 0; i < T * h && gain; i++)
        scaled[i] *= gain[i % h];
    out.q = linear(scaled, w->W[PONS_Q], w->bias[PONS_Q], a, h);
    out.k = linear(scaled, w->W[PONS_K], w->bias[PONS_K], kv, h);
    out.logits = linear(scaled, w->head, NULL, c->vocab, h);
    float *v = linear(scaled, w->W[PONS_V], w->bias[PONS_V], kv, h);
    float *mixed = pons_mem_calloc(T * a, sizeof *mixed);
    for (int64_t t = 0; t < T; t++)
        for (int64_t head = 0; head < c->heads; head++)
            for (int64_t s = 0; s < T; s++)
                for (int64_t i = 0; i < c->head_dim; i++)
                    mixed[t * a + head * c->head_dim + i] +=
                        mixing[(head * T + t) * T + s] *
                        v[s * kv + head / (c->heads / c->kv_heads) * c->head_dim + i];
    if (runtime->hadamard_heads) pons_hadamard_heads(mixed, T, c->heads, c->head_dim, a);
    out.attention = linear(mixed, w->W[PONS_O], w->bias[PONS_O], h, a);
    float *up = linear(scaled, w->W[PONS_UP], w->bias[PONS_UP], f, h);
    float *gate = linear(scaled, w->W[PONS_GATE], w->bias[PONS_GATE], f, h);
    for (int64_t i = 0; i < T * f; i++)
        up[i] *= gate[i] / (1 + expf(-gate[i]));
    if (runtime->hadamard_down) pons_hadamard_rows(up, T, f, f);
    out.mlp = linear(up, w->W[PONS_DOWN], w->bias[PONS_DOWN], h, f);
    pons_mem_free(scaled);
    pons_mem_free(v);
    pons_mem_free(mixed);
    pons_mem_free(up);
    pons_mem_free(gate);
    return out;
}

static void free_outputs(outputs *o)
{
    pons_mem_free(o->q);
    pons_mem_free(o->k);
    pons_mem_free(o->attention);
    pons_mem_free(o->mlp);
    pons_mem_free(o->logits);
}

static void same(const float *x, const float *y, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(y[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)x[i] - y[i]) <= 3e-6 * largest + 1e-7))
            fail_msg("entry %lld: %.9g, expected %.9g", (long long)i, x[i], y[i]);
}

/* x <- x R1 by the explicit matrix. */
static void rotate_stream(const pons_rotation *rotation, float *x, int64_t h)
{
    float *R = pons_mem_alloc(h * h, sizeof *R);
    assert_int_equal(pons_rotation_r1(rotation, R), PONS_OK);
    double *A = blocks(R, h, 1), *y = pons_mem_alloc(T * h, sizeof *y);
    for (int64_t i = 0; i < T * h; i++)
        y[i] = x[i];
    right(y, A, T, h);
    for (int64_t i = 0; i < T * h; i++)
        x[i] = (float)y[i];
    pons_mem_free(R);
    pons_mem_free(A);
    pons_mem_free(y);
}

static void check_invariance(const pons_recipe *r, const pons_model_config *c)
{
    pons_rotation *rotation = create(r, c);
    pons_runtime runtime = pons_rotation_runtime(rotation), plain = {0};
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 6);
    int64_t h = c->hidden, f = c->intermediate, a = c->heads * c->head_dim,
            kv = c->kv_heads * c->head_dim;
    const int64_t shape[PONS_LINEARS][2] = {
        [PONS_K] = {kv, h}, [PONS_V] = {kv, h},   [PONS_Q] = {a, h},   [PONS_O] = {h, a},
        [PONS_UP] = {f, h}, [PONS_GATE] = {f, h}, [PONS_DOWN] = {h, f}};
    weights w = {0};
    for (int l = 0; l < PONS_LINEARS; l++) {
        w.W[l] = random_floats(&rng, shape[l][0] * shape[l][1]);
        w.bias[l] = random_floats(&rng, shape[l][0]);
    }
    w.head = random_floats(&rng, c->vocab * h);
    float *gain = random_floats(&rng, 2 * h), *x = random_floats(&rng, T * h);
    memcpy(gain + h, gain, (size_t)h * sizeof *gain);
    float *mixing = random_floats(&rng, c->heads * T * T);
    outputs before = run(c, &w, gain, x, mixing, &plain);

    for (int l = 0; l < PONS_LINEARS; l++)
        assert_int_equal(pons_rotation_linear(rotation, 1, l, gain, w.W[l], w.bias[l]), PONS_OK);
    assert_int_equal(pons_rotation_head(rotation, gain, w.head, c->vocab), PONS_OK);
    assert_int_equal(pons_rotation_embedding(rotation, x, T), PONS_OK); /* x is embedding rows */
    bool active = pons_rotation_folds(rotation);
    outputs after = run(c, &w, active ? NULL : gain, x, mixing, &runtime);
    rotate_stream(rotation, before.attention, h);
    rotate_stream(rotation, before.mlp, h);
    same(after.q, before.q, T * a);
    same(after.k, before.k, T * kv);
    same(after.attention, before.attention, T * h);
    same(after.mlp, before.mlp, T * h);
    same(after.logits, before.logits, T * c->vocab);

    free_outputs(&before);
    free_outputs(&after);
    for (int l = 0; l < PONS_LINEARS; l++) {
        pons_mem_free(w.W[l]);
        pons_mem_free(w.bias[l]);
    }
    pons_mem_free(w.head);
    pons_mem_free(gain);
    pons_mem_free(x);
    pons_mem_free(mixing);
    pons_rotation_destroy(&rotation);
}

static void invariance(void **state)
{
    (void)state;
    pons_recipe none = recipe(PONS_ROTATION_NONE, PONS_ROTATE_HADAMARD, true);
    pons_model_config odd = model(30, 50, 3, 1, 10);
    check_invariance(&none, &odd);
    for (int online = 0; online < 2; online++) {
        pons_recipe spin = recipe(PONS_ROTATION_SPINQUANT, PONS_ROTATE_HADAMARD, online);
        pons_recipe quarot = recipe(PONS_ROTATION_QUAROT, PONS_ROTATE_HADAMARD, online);
        pons_recipe random = recipe(PONS_ROTATION_QUAROT, PONS_ROTATE_RANDOM, online);
        pons_model_config nine = model(72, 96, 9, 3, 8); /* spinquant minds no head count */
        check_invariance(&spin, &nine);
        if (!online) check_invariance(&quarot, &nine);
        /* 20 heads of 4: the width 80 would take K = 40, the heads take K = 20 */
        /* the last two have the heads of Qwen2.5 7B and 32B, and its factors of the MLP's width */
        const pons_model_config fit[] = {model(48, 80, 4, 2, 8), model(64, 24, 12, 4, 4),
                                         model(48, 80, 20, 5, 4), model(112, 148, 28, 4, 4),
                                         model(160, 108, 40, 8, 4)};
        for (int i = 0; i < 5; i++) {
            check_invariance(&spin, &fit[i]);
            check_invariance(&quarot, &fit[i]);
            check_invariance(&random, &fit[i]);
        }
    }
}

/* Every transform exists for the models that people compress. */
static void sizes_of_known_models(void **state)
{
    (void)state;
    const pons_model_config known[] = {model(4096, 11008, 32, 32, 128), /* Llama-2 7B */
                                       model(5120, 13824, 40, 40, 128), /* Llama-2 13B */
                                       model(8192, 28672, 64, 8, 128),  /* Llama-2 and 3 70B */
                                       model(4096, 14336, 32, 8, 128),  /* Llama-3 8B */
                                       model(3584, 18944, 28, 4, 128),  /* Qwen2.5 7B */
                                       model(5120, 27648, 40, 8, 128)}; /* Qwen2.5 32B */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        for (int kind = PONS_ROTATION_QUAROT; kind <= PONS_ROTATION_SPINQUANT; kind++) {
            pons_recipe r = recipe((pons_rotation_kind)kind, PONS_ROTATE_HADAMARD, true);
            pons_rotation *rotation = create(&r, &known[i]);
            pons_rotation_destroy(&rotation);
        }
}

static void centred_embedding(void **state)
{
    (void)state;
    pons_model_config c = model(48, 80, 4, 2, 8);
    pons_recipe r = recipe(PONS_ROTATION_SPINQUANT, PONS_ROTATE_HADAMARD, true);
    r.rotation.center_embedding = true;
    pons_rotation *rotation = create(&r, &c);
    pons_mt19937 rng;
    pons_mt19937_seed(&rng, 7);
    float *E = random_floats(&rng, T * 48), *expected = copy_floats(E, T * 48);
    for (int t = 0; t < T; t++) {
        double mean = 0;
        for (int i = 0; i < 48; i++)
            mean += expected[t * 48 + i] / 48.0;
        for (int i = 0; i < 48; i++)
            expected[t * 48 + i] -= (float)mean;
    }
    rotate_stream(rotation, expected, 48);
    assert_int_equal(pons_rotation_embedding(rotation, E, T), PONS_OK);
    same(E, expected, T * 48);
    pons_mem_free(E);
    pons_mem_free(expected);
    pons_rotation_destroy(&rotation);
}

static void runtime_flags(void **state)
{
    (void)state;
    pons_model_config c = model(48, 80, 4, 2, 8);
    for (int kind = PONS_ROTATION_NONE; kind <= PONS_ROTATION_SPINQUANT; kind++)
        for (int online = 0; online < 2; online++) {
            pons_recipe r = recipe((pons_rotation_kind)kind, PONS_ROTATE_HADAMARD, online);
            r.activations.bits = 5;
            r.kv.bits = 6;
            r.values.bits = 3;
            pons_rotation *rotation = create(&r, &c);
            pons_runtime runtime = pons_rotation_runtime(rotation);
            bool active = kind != PONS_ROTATION_NONE;
            assert_int_equal(pons_rotation_folds(rotation), active);
            assert_int_equal(runtime.hadamard_qk, active && online);
            assert_int_equal(runtime.hadamard_down, active && online);
            assert_int_equal(runtime.hadamard_heads, kind == PONS_ROTATION_QUAROT && online);
            assert_true(runtime.activations.bits == 5 && runtime.kv.bits == 6);
            assert_int_equal(runtime.values.bits, 3);
            pons_rotation_destroy(&rotation);
        }
}

static void refuse(const pons_recipe *r, pons_model_config c, const char *field, const char *found)
{
    pons_rotation *rotation = NULL;
    assert_int_equal(pons_rotation_create(r, &c, &rotation), PONS_ERR_UNSUPPORTED);
    assert_null(rotation);
    if (!strstr(pons_error_message(), field) || !strstr(pons_error_message(), found))
        fail_msg("\"%s\" lacks %s or %s", pons_error_message(), field, found);
}

static void refusals(void **state)
{
    (void)state;
    pons_recipe spin = recipe(PONS_ROTATION_SPINQUANT, PONS_ROTATE_HADAMARD, true);
    pons_recipe quarot = recipe(PONS_ROTATION_QUAROT, PONS_ROTATE_HADAMARD, true);
    refuse(&spin, model(51, 80, 4, 2, 8), "hidden_size", "found 51");
    refuse(&spin, model(48, 51, 4, 2, 8), "intermediate_size", "found 51");
    refuse(&spin, model(48, 80, 4, 2, 9), "head_dim", "found 9");
    refuse(&spin, model(48, 80, 4, 2, 12), "head_dim", "a power of two");
    refuse(&quarot, model(72, 80, 9, 3, 8), "num_attention_heads", "no Hadamard matrix");
    refuse(&quarot, model(96, 80, 24, 8, 4), "num_attention_heads", "found 24");
    spin.kv.bits = 16;
    pons_model_config twelve = model(48, 80, 4, 2, 12);
    pons_rotation *rotation = create(&spin, &twelve);
    pons_rotation_destroy(&rotation);
    spin.rotation.online = false;
    pons_model_config odd = model(48, 50, 9, 3, 8);
    rotation = create(&spin, &odd);
    pons_rotation_destroy(&rotation);
}

/* Uniform over O(n), not only over rotations: for n = 2 half the determinants are -1, and no
 * entry has a preferred sign. */
static void random_is_uniform(void **state)
{
    (void)state;
    enum { DRAWS = 1000 };
    pons_model_config c = model(2, 80, 4, 2, 8);
    pons_recipe r = recipe(PONS_ROTATION_QUAROT, PONS_ROTATE_RANDOM, true);
    int reflections = 0, quadrant[4] = {0};
    double sum[4] = {0};
    for (uint32_t seed = 0; seed < DRAWS; seed++) {
        float Q[4];
        r.rotation.seed = seed;
        pons_rotation *rotation = create(&r, &c);
        assert_int_equal(pons_rotation_r1(rotation, Q), PONS_OK);
        assert_orthogonal(Q, 2);
        reflections += Q[0] * Q[3] < Q[1] * Q[2];
        quadrant[(Q[0] < 0) + 2 * (Q[2] < 0)]++;
        for (int i = 0; i < 4; i++)
            sum[i] += Q[i];
        pons_rotation_destroy(&rotation);
    }
    assert_in_range(reflections, DRAWS * 4 / 10, DRAWS * 6 / 10); /* six standard deviations */
    for (int i = 0; i < 4; i++) {
        assert_in_range(quadrant[i], DRAWS * 17 / 100, DRAWS * 33 / 100);
        assert_true(fabs(sum[i]) < 0.14 * DRAWS);
    }
}

static void bits_independent_of_threads(void **state)
{
    (void)state;
    pons_model_config c = model(48, 80, 12, 4, 4);
    int before = omp_get_max_threads();
    for (int mode = PONS_ROTATE_HADAMARD; mode <= PONS_ROTATE_RANDOM; mode++) {
        pons_recipe r = recipe(PONS_ROTATION_QUAROT, (pons_rotate_mode)mode, true);
        pons_rotation *rotation = create(&r, &c);
        pons_mt19937 rng;
        pons_mt19937_seed(&rng, 8);
        float *x = random_floats(&rng, 48 * 48), *y = copy_floats(x, 48 * 48);
        omp_set_num_threads(1);
        assert_int_equal(pons_rotation_linear(rotation, 0, PONS_O, NULL, x, NULL), PONS_OK);
        omp_set_num_threads(3);
        assert_int_equal(pons_rotation_linear(rotation, 0, PONS_O, NULL, y, NULL), PONS_OK);
        assert_memory_equal(x, y, 48 * 48 * sizeof *x);
        pons_mem_free(x);
        pons_mem_free(y);
        pons_rotation_destroy(&rotation);
    }
    omp_set_num_threads(before);
}

static int nothing_left(void **state)
{
    (void)state;
    return pons_mem_outstanding() != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hadamards_of_the_specification),
                                       cmocka_unit_test(placement),
                                       cmocka_unit_test(invariance),
                                       cmocka_unit_test(sizes_of_known_models),
                                       cmocka_unit_test(centred_embedding),
                                       cmocka_unit_test(runtime_flags),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(random_is_uniform),
                                       cmocka_unit_test(bits_independent_of_threads)};
    return cmocka_run_group_tests(tests, NULL, nothing_left);
}
