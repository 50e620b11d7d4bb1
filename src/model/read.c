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

/* Stored rows [row, row + n) of a matrix; of a vector (row 0) all of it. */
static pons_status read_rows(const pons_model *m, const pons_tensor_view *t, int64_t row, int64_t n,
                             float *out)
{
    enum { CHUNK = 1 << 18 };
    pons_status st = PONS_OK;
    int64_t cols = t->shape[t->ndim - 1];
    size_t bytes = pons_dtype_bytes(t->dtype, cols);
    int64_t step = bytes && bytes < CHUNK ? (int64_t)(CHUNK / bytes) : 1;
    char *stored = NULL;
    if (step > n) step = n;
    PONS_ALLOC(st, stored, step * (int64_t)bytes);
    for (int64_t i = 0; i < n; i += step) {
        int64_t rows = n - i < step ? n - i : step;
        PONS_TRY(st, pons_store_read(m->store, t, (size_t)(row + i) * bytes, (size_t)rows * bytes,
                                     stored));
        for (int64_t k = 0; k < rows; k++) {
            float *to = out + (i + k) * cols;
            pons_dtype_to_float(t->dtype, stored + (size_t)k * bytes, cols, to);
            if (all_finite(to, cols)) continue;
            st = t->ndim == 1
                     ? pons_fail(PONS_ERR_INPUT, "%s: tensor %s holds NaN or Inf", m->path, t->name)
                     : pons_fail(PONS_ERR_INPUT, "%s: tensor %s holds NaN or Inf in row %lld",
                                 m->path, t->name, (long long)(row + i + k));
            goto done;
        }
    }
done:
    pons_mem_free(stored);
    return st;
}

/* Llama GGUF files store the two rows of a rotary pair side by side; Hugging Face stores all first
 * members, then all second ones. Row (head, j + c hd/2) comes from stored row (head, 2 j + c). */
static int64_t stored_row(const pons_linear_tensors *t, int64_t row)
{
    if (!t->interleaved) return row;
    int64_t half = t->interleaved / 2, inside = row % t->interleaved;
    return row - inside + 2 * (inside % half) + inside / half;
}

/* Rows whose order is not the stored one: head by head. */
static pons_status read_interleaved(const pons_model *m, const pons_linear_tensors *t, int64_t row,
                                    int64_t n, float *W)
{
    pons_status st = PONS_OK;
    int64_t side = t->interleaved, end = row + n;
    float *head = NULL;
    PONS_ALLOC(st, head, side * t->cols);
    for (int64_t first = row - row % side; first < end; first += side) {
        PONS_TRY(st, read_rows(m, t->weight, first, side, head));
        for (int64_t i = first < row ? row : first; i < end && i < first + side; i++)
            memcpy(W + (i - row) * t->cols, head + (stored_row(t, i) - first) * t->cols,
                   (size_t)t->cols * sizeof *W);
    }
done:
    pons_mem_free(head);
    return st;
}

/* Words of the codes of rows [row, row + n), in counted memory. */
static pons_status load_words(const pons_model *m, const pons_linear_tensors *t, int64_t row,
                              int64_t n, char **out)
{
    pons_status st = PONS_OK;
    size_t bytes = 4 * (size_t)pons_code_words(t->bits, t->cols);
    char *words = NULL;
    PONS_ALLOC(st, words, n * (int64_t)bytes);
    PONS_TRY(st,
             pons_store_read(m->store, t->packed, (size_t)row * bytes, (size_t)n * bytes, words));
    *out = words;
    words = NULL;
done:
    pons_mem_free(words);
    return st;
}

/* Zero point of row and group; @param zero all stored ones, or NULL */
static int zero_of(const pons_linear_tensors *t, const char *zero, int64_t row, int64_t group)
{
    return zero ? pons_code_at(t->bits, row, zero + 4 * group, t->groups) : 0;
}

static pons_status read_packed(const pons_model *m, const pons_linear_tensors *t, int64_t row,
                               int64_t n, float *W)
{
    pons_status st = PONS_OK;
    float *scale = NULL;
    char *words = NULL;
    void *zero = NULL;
    PONS_ALLOC(st, scale, n * t->groups);
    PONS_TRY(st, read_rows(m, t->scale, row, n, scale));
    PONS_TRY(st, load_words(m, t, row, n, &words));
    if (t->zero) PONS_TRY(st, pons_store_load(m->store, t->zero, &zero));
    for (int64_t i = 0; i < n; i++) {
        const char *codes = words + 4 * i * pons_code_words(t->bits, t->cols);
        for (int64_t g = 0, j = 0; g < t->groups; g++) {
            int z = zero_of(t, zero, row + i, g);
            for (int64_t end = j + t->group_size; j < end; j++)
                W[i * t->cols + j] =
                    scale[i * t->groups + g] * (float)(pons_code_at(t->bits, j, codes, 1) - z);
        }
        if (all_finite(W + i * t->cols, t->cols)) continue;
        st = pons_fail(PONS_ERR_INPUT, "%s: tensor %s overflows when dequantized in row %lld",
                       m->path, t->packed->name, (long long)(row + i));
        goto done;
    }
done:
    pons_mem_free(zero);
    pons_mem_free(words);
    pons_mem_free(scale);
    return st;
}

void pons_model_read_ahead(pons_model *model, int64_t layer, int linear)
{
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    if (t->weight) pons_store_read_ahead(model->store, t->weight);
}

bool pons_model_forget_linear(pons_model *model, int64_t layer, int linear, pons_task_span *span)
{
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    return t->weight && pons_store_forget(model->store, t->weight, span);
}

pons_status pons_model_read_linear(const pons_model *model, int64_t layer, int linear, int64_t row,
                                   int64_t n, float *W)
{
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    PONS_ASSERT(row >= 0 && n >= 0 && row + n <= t->rows);
    if (pons_fault(PONS_FAULT_MODEL_READ))
        return pons_fail_errno(PONS_ERR_IO, EIO, "%s: block %lld %s: cannot read", model->path,
                               (long long)layer, model->config.arch->linear[linear].short_name);
    if (t->packed) return read_packed(model, t, row, n, W);
    if (t->interleaved) return read_interleaved(model, t, row, n, W);
    return read_rows(model, t->weight, row, n, W);
}

pons_status pons_model_read_bias(const pons_model *model, int64_t layer, int linear, float *bias,
                                 bool *present)
{
    pons_status st = PONS_OK;
    float *stored = NULL;
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    *present = t->bias != NULL;
    if (!t->bias) return PONS_OK;
    PONS_ALLOC(st, stored, t->rows);
    PONS_TRY(st, read_rows(model, t->bias, 0, 1, stored));
    for (int64_t i = 0; i < t->rows; i++)
        bias[i] = stored[stored_row(t, i)];
done:
    pons_mem_free(stored);
    return st;
}

pons_status pons_model_read_codes(const pons_model *model, int64_t layer, int linear, int8_t *codes,
                                  float *scale, int8_t *zero)
{
    pons_status st = PONS_OK;
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    char *words = NULL;
    void *stored = NULL;
    if (!t->packed)
        return pons_fail(PONS_ERR_INPUT, "%s: tensor %s is not packed: it has no codes",
                         model->path, t->weight->name);
    PONS_TRY(st, load_words(model, t, 0, t->rows, &words));
    PONS_TRY(st, read_rows(model, t->scale, 0, t->rows, scale));
    if (t->zero) PONS_TRY(st, pons_store_load(model->store, t->zero, &stored));
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < t->rows; row++) {
        const char *own = words + 4 * row * pons_code_words(t->bits, t->cols);
        for (int64_t j = 0; j < t->cols; j++)
            codes[row * t->cols + j] = pons_code_at(t->bits, j, own, 1);
        for (int64_t g = 0; g < t->groups; g++)
            zero[row * t->groups + g] = (int8_t)zero_of(t, stored, row, g);
    }
done:
    pons_mem_free(stored);
    pons_mem_free(words);
    return st;
}

pons_status pons_model_read_gains(const pons_model *model, int64_t layer, float *gains)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = &model->config;
    PONS_ASSERT(layer >= 0 && layer < c->layers);
    for (int g = 0; g < c->arch->gains; g++)
        PONS_TRY(st, read_rows(model, model->gain[layer * c->arch->gains + g], 0, 1,
                               gains + pons_gain_offset(c, g)));
done:
    return st;
}

pons_status pons_model_read_final_norm(const pons_model *model, float *gain)
{
    return read_rows(model, model->final_norm, 0, 1, gain);
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
        PONS_TRY(st, read_rows(model, model->embedding, ids[i], 1, out + i * model->config.hidden));
    }
done:
    return st;
}

pons_status pons_model_read_embedding_rows(const pons_model *model, int64_t row, int64_t n,
                                           float *out)
{
    PONS_ASSERT(row >= 0 && n >= 0 && row + n <= model->embedding->shape[0]);
    return read_rows(model, model->embedding, row, n, out);
}

pons_status pons_model_read_head_rows(const pons_model *model, int64_t row, int64_t n, float *out)
{
    PONS_ASSERT(row >= 0 && n >= 0 && row + n <= model->head->shape[0]);
    return read_rows(model, model->head, row, n, out);
}

pons_status pons_model_read_transforms(const pons_model *model, int64_t layer, float *out)
{
    PONS_ASSERT(model->transforms);
    return pons_transforms_read(model->transforms, &model->config, layer, out);
}
