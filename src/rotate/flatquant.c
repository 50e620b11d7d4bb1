/* Owns what FlatQuant does to weights, norms and the forward pass; the file is flatquant_file.c.
 *
 * A linear sees x' = (x diag(s)) (A (x) B), s folded into the norm (or into up_proj's rows), so its
 * weight is (W / s) (A^-T (x) B^-T): the product is unchanged. The value transform goes through
 * attention, since it acts inside a head, and is undone by o_proj with the one across heads. */
#include "rotate/flatquant.h"

#include <math.h>
#include <string.h>

#include <omp.h>

#include "base/mem.h"
#include "kern/dense_f64.h"
#include "kern/kronecker.h"
#include "model/transforms.h"

/* The transforms that undo those of a linear's input. */
typedef struct input_side {
    int64_t L, R;
    pons_flat_part left, right;
    int scale; /* part, or -1 */
} input_side;

static input_side input_of(const pons_flatquant *flat, int tap)
{
    const pons_model_config *c = &flat->config;
    input_side s = {0};
    switch (pons_transform_of_tap(c->arch, tap)) {
    case PONS_TRANSFORM_HEADS:
        return (input_side){c->heads, c->head_dim, PONS_FLAT_HEADS_INVERSE, PONS_FLAT_VALUE_INVERSE,
                            -1};
    case PONS_TRANSFORM_GATE_UP_LEFT:
        s = (input_side){0, 0, PONS_FLAT_GATE_UP_LEFT_INVERSE, PONS_FLAT_GATE_UP_RIGHT_INVERSE,
                         PONS_FLAT_GATE_UP_SCALE};
        break;
    case PONS_TRANSFORM_DOWN_LEFT:
        s = (input_side){0, 0, PONS_FLAT_DOWN_LEFT_INVERSE, PONS_FLAT_DOWN_RIGHT_INVERSE,
                         PONS_FLAT_DOWN_SCALE};
        break;
    default:
        s = (input_side){0, 0, PONS_FLAT_QKV_LEFT_INVERSE, PONS_FLAT_QKV_RIGHT_INVERSE,
                         PONS_FLAT_QKV_SCALE};
    }
    pons_kronecker_factors(pons_tap_width(c, tap), &s.L, &s.R);
    return s;
}

static float sigmoid(float x) { return (float)(1 / (1 + exp(-(double)x))); }

/* New fp64 copy of a part; NULL when memory is out. */
static double *widen(const pons_flatquant *flat, int64_t layer, int part)
{
    const float *from = pons_flatquant_part(flat, layer, part);
    int64_t n = flat->offset[part + 1] - flat->offset[part];
    double *to = pons_mem_alloc(n, sizeof *to);
    for (int64_t i = 0; to && i < n; i++)
        to[i] = from[i];
    return to;
}

/* Each row [cols] of W: divided, transformed, clipped to a share of its range. */
static pons_status transform_rows(const pons_flatquant *flat, int64_t layer, int linear,
                                  int64_t rows, int64_t cols, float *W)
{
    pons_status st = PONS_OK;
    input_side side = input_of(flat, flat->config.arch->linear[linear].tap);
    int clip = PONS_FLAT_LINEARS + 4 * linear;
    const float *most = pons_flatquant_part(flat, layer, clip + PONS_FLAT_WEIGHT_MAX);
    const float *least = pons_flatquant_part(flat, layer, clip + PONS_FLAT_WEIGHT_MIN);
    const float *scale = side.scale < 0 ? NULL : pons_flatquant_part(flat, layer, side.scale);
    int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    double *A = widen(flat, layer, side.left), *B = widen(flat, layer, side.right);
    double *scratch = pons_mem_alloc(threads * 2 * cols, sizeof *scratch);
    if (!A || !B || !scratch) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < rows; r++) {
        double *row = scratch + omp_get_thread_num() * 2 * cols, low = INFINITY, high = -INFINITY;
        float *w = W + r * cols;
        for (int64_t j = 0; j < cols; j++)
            row[j] = scale ? (double)w[j] / scale[j] : w[j];
        pons_kronecker_f64(side.L, side.R, A, B, row, row + cols);
        for (int64_t j = 0; j < cols; j++) {
            low = fmin(low, row[j]);
            high = fmax(high, row[j]);
        }
        low *= sigmoid(least[r]);
        high *= sigmoid(most[r]);
        for (int64_t j = 0; j < cols; j++)
            w[j] = (float)fmin(fmax(row[j], low), high);
    }
done:
    pons_mem_free(scratch);
    pons_mem_free(B);
    pons_mem_free(A);
    return st;
}

/* Each kv head's rows W [head_dim, cols] <- M^T W, bias likewise. */
static pons_status transform_values(const pons_flatquant *flat, int64_t layer, int64_t cols,
                                    float *W, float *bias)
{
    pons_status st = PONS_OK;
    int64_t heads = flat->config.kv_heads, hd = flat->config.head_dim;
    double *M = widen(flat, layer, PONS_FLAT_VALUE);
    if (!M) return PONS_ERR_NOMEM;
    for (int64_t head = 0; head < heads; head++)
        PONS_TRY(st, pons_dense_vectors_f64(M, hd, W + head * hd * cols, cols, 1, cols));
    if (bias) PONS_TRY(st, pons_dense_vectors_f64(M, hd, bias, heads, hd, 1));
done:
    pons_mem_free(M);
    return st;
}

pons_status pons_flatquant_linear(const pons_flatquant *flat, int64_t layer, int linear, float *W,
                                  float *bias)
{
    pons_status st;
    int64_t rows, cols;
    pons_linear_shape(&flat->config, linear, &rows, &cols);
    PONS_TRY(st, transform_rows(flat, layer, linear, rows, cols, W));
    pons_output output = flat->config.arch->linear[linear].output;
    if (output == PONS_OUTPUT_VALUES) PONS_TRY(st, transform_values(flat, layer, cols, W, bias));
    if (output == PONS_OUTPUT_MIDDLE) {
        const float *scale = pons_flatquant_part(flat, layer, PONS_FLAT_DOWN_SCALE);
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t j = 0; j < cols; j++)
                W[r * cols + j] *= scale[r];
            if (bias) bias[r] *= scale[r];
        }
    }
done:
    return st;
}

void pons_flatquant_gains(const pons_flatquant *flat, int64_t layer, float *gains)
{
    const pons_model_config *c = &flat->config;
    for (int t = 0; t < c->arch->taps; t++) {
        if (c->arch->tap[t].kind != PONS_INPUT_STREAM) continue;
        const float *scale = pons_flatquant_part(flat, layer, input_of(flat, t).scale);
        float *gain = gains + pons_gain_offset(c, c->arch->tap[t].gain);
        for (int64_t j = 0; j < c->hidden; j++)
            gain[j] *= scale[j];
    }
}

/* out [n, n] <- a part, transposed when asked. */
static void put_matrix(const pons_flatquant *flat, int64_t layer, pons_flat_part part,
                       bool transposed, pons_transform to, float *out)
{
    int64_t shape[2];
    const float *M = pons_flatquant_part(flat, layer, part);
    pons_transform_shape(&flat->config, to, shape);
    int64_t n = shape[0];
    out += pons_transform_offset(&flat->config, to);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            out[i * n + j] = transposed ? M[j * n + i] : M[i * n + j];
}

void pons_flatquant_transforms(const pons_flatquant *flat, int64_t layer, float *out)
{
    static const struct {
        pons_flat_part from;
        pons_transform to;
        bool transposed;
    } matrices[] = {{PONS_FLAT_QKV_LEFT, PONS_TRANSFORM_QKV_LEFT, true},
                    {PONS_FLAT_QKV_RIGHT, PONS_TRANSFORM_QKV_RIGHT, false},
                    {PONS_FLAT_HEADS, PONS_TRANSFORM_HEADS, true},
                    {PONS_FLAT_GATE_UP_LEFT, PONS_TRANSFORM_GATE_UP_LEFT, true},
                    {PONS_FLAT_GATE_UP_RIGHT, PONS_TRANSFORM_GATE_UP_RIGHT, false},
                    {PONS_FLAT_DOWN_LEFT, PONS_TRANSFORM_DOWN_LEFT, true},
                    {PONS_FLAT_DOWN_RIGHT, PONS_TRANSFORM_DOWN_RIGHT, false},
                    {PONS_FLAT_KEY_INVERSE, PONS_TRANSFORM_QUERY, false},
                    {PONS_FLAT_KEY, PONS_TRANSFORM_KEY, false}};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        put_matrix(flat, layer, matrices[i].from, matrices[i].transposed, matrices[i].to, out);
    float *clip = out + pons_transform_offset(&flat->config, PONS_TRANSFORM_INPUT_CLIP);
    for (int l = 0; l < flat->config.arch->linears; l++)
        for (int k = 0; k < 2; k++)
            clip[2 * l + k] = sigmoid(*pons_flatquant_part(
                flat, layer, PONS_FLAT_LINEARS + 4 * l + PONS_FLAT_INPUT_MAX + k));
    clip = out + pons_transform_offset(&flat->config, PONS_TRANSFORM_KV_CLIP);
    for (int k = 0; k < 4; k++)
        clip[k] = sigmoid(*pons_flatquant_part(flat, layer, PONS_FLAT_KEY_CLIP_MAX + k));
}
