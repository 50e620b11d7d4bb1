/* Owns the library's reader of linears (include/pons/packed.h). The work is model's. */
#include "pons/packed.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/model.h"

struct pons_packed {
    pons_model *model;
};

pons_status pons_packed_open(const char *path, pons_packed **model)
{
    pons_status st = PONS_OK;
    pons_packed *p = NULL;
    *model = NULL;
    PONS_CALLOC(st, p, 1);
    PONS_TRY(st, pons_model_open(path, &p->model));
    *model = p;
    p = NULL;
done:
    pons_packed_close(&p);
    return st;
}

void pons_packed_close(pons_packed **model)
{
    if (!*model) return;
    pons_model_close(&(*model)->model);
    pons_mem_free(*model);
    *model = NULL;
}

int64_t pons_packed_count(const pons_packed *model)
{
    const pons_model_config *c = pons_model_get_config(model->model);
    return c->layers * c->arch->linears;
}

static int linear_of(const pons_packed *model, int64_t index)
{
    return (int)(index % pons_model_get_config(model->model)->arch->linears);
}

static pons_status describe(const pons_packed *model, int64_t index, pons_packed_linear *out)
{
    int64_t count = pons_packed_count(model);
    if (index < 0 || index >= count)
        return pons_fail(PONS_ERR_USAGE, "%s: found linear %lld, allowed: 0 to %lld",
                         pons_model_path(model->model), (long long)index, (long long)count - 1);
    const pons_arch *arch = pons_model_get_config(model->model)->arch;
    int linear = linear_of(model, index);
    bool symmetric;
    out->block = index / arch->linears;
    snprintf(out->name, sizeof out->name, "model.layers.%lld.%s", (long long)out->block,
             arch->linear[linear].name);
    pons_linear_shape(pons_model_get_config(model->model), linear, &out->rows, &out->cols);
    pons_model_linear_format(model->model, out->block, linear, &out->bits, &out->groups,
                             &symmetric);
    if (!pons_model_is_packed(model->model)) out->bits = 16;
    if (out->bits == 16) out->groups = 0;
    out->symmetric = symmetric;
    return PONS_OK;
}

pons_status pons_packed_describe(const pons_packed *model, int64_t index,
                                 pons_packed_linear *linear)
{
    pons_packed_linear found = PONS_PACKED_LINEAR_INIT;
    if (linear->size < sizeof found.size || linear->size > sizeof found)
        return pons_fail(PONS_ERR_USAGE, "pons_packed_linear: found size %zu, allowed: up to %zu",
                         linear->size, sizeof found);
    pons_status st = describe(model, index, &found);
    if (st != PONS_OK) return st;
    found.size = linear->size;
    memcpy(linear, &found, linear->size);
    return PONS_OK;
}

pons_status pons_packed_read_codes(const pons_packed *model, int64_t index, int8_t *codes,
                                   float *scales, int8_t *zeros)
{
    pons_packed_linear found = PONS_PACKED_LINEAR_INIT;
    pons_status st = describe(model, index, &found);
    if (st != PONS_OK) return st;
    if (found.bits == 16)
        return pons_fail(PONS_ERR_INPUT, "%s: %s is not packed", pons_model_path(model->model),
                         found.name);
    return pons_model_read_codes(model->model, found.block, linear_of(model, index), codes, scales,
                                 zeros);
}

pons_status pons_packed_read_rows(const pons_packed *model, int64_t index, int64_t row,
                                  int64_t count, float *values)
{
    pons_packed_linear found = PONS_PACKED_LINEAR_INIT;
    pons_status st = describe(model, index, &found);
    if (st != PONS_OK) return st;
    if (row < 0 || count < 0 || row > found.rows - count)
        return pons_fail(PONS_ERR_USAGE, "%s: %s: found rows %lld to %lld, allowed: 0 to %lld",
                         pons_model_path(model->model), found.name, (long long)row,
                         (long long)(row + count), (long long)found.rows);
    return pons_model_read_linear(model->model, found.block, linear_of(model, index), row, count,
                                  values);
}
