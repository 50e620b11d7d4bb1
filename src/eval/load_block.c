/* Reading a block's tensors for evaluation. The compression pipeline has its own readers, which
 * fold and rotate. */
#include "eval/load_block.h"

#include "base/mem.h"
#include "eval/deal.h"
#include "model/transforms.h"

/* Item i < linears is [rows, cols] weights, [rows] bias, then 1.0 when there is a bias; then come the
 * norm gains and, where the model has them, the learned transforms. */
typedef struct loader {
    const pons_model *model;
    int64_t layer;
    pons_block *block;
} loader;

static pons_status read_item(void *user, int64_t item, float *out)
{
    pons_status st = PONS_OK;
    const loader *l = user;
    const pons_model_config *c = pons_model_get_config(l->model);
    if (item == c->arch->linears) return pons_model_read_gains(l->model, l->layer, out);
    if (item > c->arch->linears) return pons_model_read_transforms(l->model, l->layer, out);
    int64_t rows, cols;
    bool present;
    pons_linear_shape(c, (int)item, &rows, &cols);
    float *bias = out + rows * cols;
    for (int64_t i = 0; i < rows; i++)
        bias[i] = 0; /* broadcast even when absent */
    PONS_TRY(st, pons_model_read_linear(l->model, l->layer, (int)item, 0, rows, out));
    PONS_TRY(st, pons_model_read_bias(l->model, l->layer, (int)item, bias, &present));
    bias[rows] = present;
done:
    return st;
}

static pons_status take_item(void *user, int64_t item, const float *data)
{
    const loader *l = user;
    const pons_model_config *c = pons_model_get_config(l->model);
    if (item == c->arch->linears) return pons_block_set_gains(l->block, data);
    if (item > c->arch->linears) return pons_block_set_transforms(l->block, data);
    int64_t rows, cols;
    pons_linear_shape(c, (int)item, &rows, &cols);
    const float *bias = data + rows * cols;
    return pons_block_set_linear(l->block, (int)item, data, bias[rows] != 0 ? bias : NULL);
}

pons_status pons_eval_load_block(pons_comm *comm, const pons_model *model, int64_t layer,
                                 pons_block *block)
{
    pons_status st = PONS_OK;
    const pons_model_config *c = pons_model_get_config(model);
    loader l = {model, layer, block};
    int linears = c->arch->linears;
    int64_t *count = pons_mem_alloc(linears + 2, sizeof *count);
    PONS_TRY_ALL(st, comm, count ? PONS_OK : PONS_ERR_NOMEM);
    for (int i = 0; i < linears; i++) {
        int64_t rows, cols;
        pons_linear_shape(c, i, &rows, &cols);
        count[i] = rows * cols + rows + 1;
    }
    count[linears] = pons_gain_floats(c);
    bool transforms = pons_model_runtime(model)->transforms;
    count[linears + 1] = transforms ? pons_transforms_floats(c) : 0;
    st =
        pons_eval_deal_items(comm, linears + (transforms ? 2 : 1), count, read_item, take_item, &l);
done:
    pons_mem_free(count);
    return st;
}
