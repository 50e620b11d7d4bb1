/* Owns reading rows as fp32: row order, dequantization, and the refusal of NaN and Inf. */
#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "base/half.h"
#include "base/mem.h"
#include "model/codes.h"
#include "model/tensors.h"
#include "model/transforms.h"

/* Whether all n values are finite; on bits, so that no compiler setting can undo it. */
static bool all_finite(const float *x, int64_t n)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++)
        bad |= (pons_float_bits(x[i]) & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

/* Stored row `row` of a matrix, or a whole vector (row 0). */
static pons_status read_row(const pons_model *m, const pons_tensor_view *t, int64_t row, float *out)
{
    int64_t cols = t->shape[t->ndim - 1];
    pons_dtype_to_float(t->dtype, (const char *)t->data + pons_dtype_bytes(t->dtype, row * cols),
                        cols, out);
    if (all_finite(out, cols)) return PONS_OK;
    if (t->ndim == 1)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s holds NaN or Inf", m->path, t->name);
    return pons_fail(PONS_ERR_INPUT, "%s: tensor %s holds NaN or Inf in row %lld", m->path, t->name,
                     (long long)row);
}

/* Llama GGUF files store the two rows of a rotary pair side by side; Hugging Face stores all first
 * members, then all second ones. Row (head, j + c hd/2) comes from stored row (head, 2 j + c). */
static int64_t stored_row(const pons_linear_tensors *t, int64_t row)
{
    if (!t->interleaved) return row;
    int64_t half = t->interleaved / 2, inside = row % t->interleaved;
    return row - inside + 2 * (inside % half) + inside / half;
}

static pons_status read_packed_row(const pons_model *m, const pons_linear_tensors *t, int64_t row,
                                   float *scale, float *W)
{
    pons_status st = read_row(m, t->scale, row, scale);
    if (st != PONS_OK) return st;
    const char *words = (const char *)t->packed->data + 4 * row * pons_code_words(t->bits, t->cols);
    for (int64_t g = 0, j = 0; g < t->groups; g++) {
        int zero = t->zero
                       ? pons_code_at(t->bits, row, (const char *)t->zero->data + 4 * g, t->groups)
                       : 0;
        for (int64_t end = j + t->group_size; j < end; j++)
            W[j] = scale[g] * (float)(pons_code_at(t->bits, j, words, 1) - zero);
    }
    if (all_finite(W, t->cols)) return PONS_OK;
    return pons_fail(PONS_ERR_INPUT, "%s: tensor %s overflows when dequantized in row %lld",
                     m->path, t->packed->name, (long long)row);
}

pons_status pons_model_read_linear(const pons_model *model, int64_t layer, pons_linear linear,
                                   int64_t row, int64_t n, float *W)
{
    pons_status st = PONS_OK;
    float *scale = NULL;
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    PONS_ASSERT(row >= 0 && n >= 0 && row + n <= t->rows);
    if (pons_fault(PONS_FAULT_MODEL_READ))
        return pons_fail_errno(PONS_ERR_IO, EIO, "%s: block %lld %s: cannot read", model->path,
                               (long long)layer, pons_linear_short_name(linear));
    if (t->packed) PONS_ALLOC(st, scale, t->groups);
    for (int64_t i = 0; i < n; i++) {
        if (t->packed)
            PONS_TRY(st, read_packed_row(model, t, row + i, scale, W + i * t->cols));
        else
            PONS_TRY(st, read_row(model, t->weight, stored_row(t, row + i), W + i * t->cols));
    }
done:
    pons_mem_free(scale);
    return st;
}

pons_status pons_model_read_bias(const pons_model *model, int64_t layer, pons_linear linear,
                                 float *bias, bool *present)
{
    pons_status st = PONS_OK;
    float *stored = NULL;
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    *present = t->bias != NULL;
    if (!t->bias) return PONS_OK;
    PONS_ALLOC(st, stored, t->rows);
    PONS_TRY(st, read_row(model, t->bias, 0, stored));
    for (int64_t i = 0; i < t->rows; i++)
        bias[i] = stored[stored_row(t, i)];
done:
    pons_mem_free(stored);
    return st;
}

pons_status pons_model_read_codes(const pons_model *model, int64_t layer, pons_linear linear,
                                  int8_t *codes, float *scale, int8_t *zero)
{
    pons_status st = PONS_OK;
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    if (!t->packed)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s is not packed: it has no codes",
                         model->path, t->weight->name);
    for (int64_t row = 0; row < t->rows; row++) {
        const char *words =
            (const char *)t->packed->data + 4 * row * pons_code_words(t->bits, t->cols);
        for (int64_t j = 0; j < t->cols; j++)
            codes[row * t->cols + j] = pons_code_at(t->bits, j, words, 1);
        PONS_TRY(st, read_row(model, t->scale, row, scale + row * t->groups));
        for (int64_t g = 0; g < t->groups; g++)
            zero[row * t->groups + g] =
                t->zero ? pons_code_at(t->bits, row, (const char *)t->zero->data + 4 * g, t->groups)
                        : 0;
    }
done:
    return st;
}

pons_status pons_model_read_norms(const pons_model *model, int64_t layer, float *attention,
                                  float *mlp)
{
    PONS_ASSERT(layer >= 0 && layer < model->config.layers);
    pons_status st = read_row(model, model->blocks[layer].attention_norm, 0, attention);
    if (st == PONS_OK) st = read_row(model, model->blocks[layer].mlp_norm, 0, mlp);
    return st;
}

pons_status pons_model_read_final_norm(const pons_model *model, float *gain)
{
    return read_row(model, model->final_norm, 0, gain);
}

pons_status pons_model_read_embedding(const pons_model *model, const int32_t *ids, int64_t n,
                                      float *out)
{
    pons_status st = PONS_OK;
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= model->config.vocab)
            return pons_fail(PONS_ERR_INPUT,
                             "%s: token id %d at position %lld is outside the vocabulary of %lld",
                             model->path, ids[i], (long long)i, (long long)model->config.vocab);
        PONS_TRY(st, read_row(model, model->embedding, ids[i], out + i * model->config.hidden));
    }
done:
    return st;
}

static pons_status read_rows(const pons_model *model, const pons_tensor_view *t, int64_t row,
                             int64_t n, float *out)
{
    pons_status st = PONS_OK;
    PONS_ASSERT(row >= 0 && n >= 0 && row + n <= t->shape[0]);
    for (int64_t i = 0; i < n; i++)
        PONS_TRY(st, read_row(model, t, row + i, out + i * t->shape[1]));
done:
    return st;
}

pons_status pons_model_read_embedding_rows(const pons_model *model, int64_t row, int64_t n,
                                           float *out)
{
    return read_rows(model, model->embedding, row, n, out);
}

pons_status pons_model_read_head_rows(const pons_model *model, int64_t row, int64_t n, float *out)
{
    return read_rows(model, model->head, row, n, out);
}

pons_status pons_model_read_transforms(const pons_model *model, int64_t layer, float *out)
{
    PONS_ASSERT(model->transforms);
    return pons_transforms_read(model->transforms, &model->config, layer, out);
}
