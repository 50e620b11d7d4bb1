/* Reading a block's tensors for evaluation. The compression pipeline has its own readers, which
 * fold and rotate. */
#include "eval/load_block.h"

#include "eval/deal.h"
#include "model/transforms.h"

/* Item i < PONS_LINEARS is [rows, cols] weights, [rows] bias, then 1.0 when there is a bias; then come
 * the two norm gains and, where the model has them, the learned transforms. */
enum { NORMS = PONS_LINEARS, TRANSFORMS, ITEMS };

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
    if (item == NORMS) return pons_model_read_norms(l->model, l->layer, out, out + c->hidden);
    if (item == TRANSFORMS) return pons_model_read_transforms(l->model, l->layer, out);
    int64_t rows, cols;
    bool present;
    pons_linear_shape(c, (pons_linear)item, &rows, &cols);
    float *bias = out + rows * cols;
    for (int64_t i = 0; i < rows; i++)
        bias[i] = 0; /* broadcast even when absent */
    PONS_TRY(st, pons_model_read_linear(l->model, l->layer, (pons_linear)item, 0, rows, out));
    PONS_TRY(st, pons_model_read_bias(l->model, l->layer, (pons_linear)item, bias, &present));
    bias[rows] = present;
done:
    return st;
}

static pons_status take_item(void *user, int64_t item, const float *data)
{
    const loader *l = user;
    const pons_model_config *c = pons_model_get_config(l->model);
    if (item == NORMS) return pons_block_set_norms(l->block, data, data + c->hidden);
    if (item == TRANSFORMS) return pons_block_set_transforms(l->block, data);
    int64_t rows, cols;
    pons_linear_shape(c, (pons_linear)item, &rows, &cols);
    const float *bias = data + rows * cols;
    return pons_block_set_linear(l->block, (pons_linear)item, data, bias[rows] != 0 ? bias : NULL);
}

pons_status pons_eval_load_block(pons_comm *comm, const pons_model *model, int64_t layer,
                                 pons_block *block)
{
    const pons_model_config *c = pons_model_get_config(model);
    loader l = {model, layer, block};
    int64_t count[ITEMS];
    for (int i = 0; i < PONS_LINEARS; i++) {
        int64_t rows, cols;
        pons_linear_shape(c, (pons_linear)i, &rows, &cols);
        count[i] = rows * cols + rows + 1;
    }
    count[NORMS] = 2 * c->hidden;
    bool transforms = pons_model_runtime(model)->transforms;
    count[TRANSFORMS] = transforms ? pons_transforms_floats(c) : 0;
    return pons_eval_deal_items(comm, transforms ? ITEMS : TRANSFORMS, count, read_item, take_item,
                                &l);
}
