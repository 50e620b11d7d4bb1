/* Owns opening and closing a model. Finding tensors is in tensors.c, reading them in read.c. */
#include "model/model.h"

#include "base/mem.h"
#include "io/file.h"
#include "model/fields.h"
#include "model/tensors.h"
#include "model/transforms.h"

/* pons.json of an output directory: what the forward pass does besides the weights. */
static pons_status read_manifest(const char *path, pons_runtime *runtime)
{
    pons_status st = PONS_OK;
    json_t *root = NULL;
    int64_t format = 0;
    PONS_TRY(st, pons_json_read(path, &root));
    pons_fields f = {path, "", root}, object;
    if (!json_is_object(root)) {
        st = pons_fail(PONS_ERR_INPUT, "%s: found no JSON object, allowed one object", path);
        goto done;
    }
    PONS_TRY(st, pons_fields_integer(&f, "format", 1, 1, &format));
    PONS_TRY(st, pons_fields_object(&f, "runtime", "runtime.", &object));
    PONS_TRY(st, pons_runtime_from_json(path, object.object, runtime));
done:
    json_decref(root);
    return st;
}

static pons_status open_directory(pons_model *m, pons_quant_config *quant)
{
    pons_status st = PONS_OK;
    json_t *root = NULL;
    char *config = pons_mem_printf("%s/config.json", m->path);
    char *manifest = pons_mem_printf("%s/pons.json", m->path);
    if (!config || !manifest) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_model_config_read(config, &m->config));
    PONS_TRY(st, pons_json_read(config, &root));
    PONS_TRY(st, pons_quant_config_read(config, root, quant));
    if (pons_file_exists(manifest)) PONS_TRY(st, read_manifest(manifest, &m->runtime));
    PONS_TRY(st, pons_store_open(m->path, &m->store));
    if (m->runtime.transforms)
        PONS_TRY(st, pons_transforms_open(m->path, &m->config, &m->transforms));
done:
    json_decref(root);
    pons_mem_free(manifest);
    pons_mem_free(config);
    return st;
}

static pons_status open_gguf(pons_model *m)
{
    pons_status st = pons_store_open(m->path, &m->store);
    if (st != PONS_OK) return st;
    if (!pons_store_is_gguf(m->store))
        return pons_fail(PONS_ERR_INPUT,
                         "%s: found a file that is not GGUF, allowed a model directory or a .gguf "
                         "file",
                         m->path);
    return pons_model_config_from_gguf(m->store, &m->config);
}

pons_status pons_model_open(const char *path, pons_model **out)
{
    pons_status st = PONS_OK;
    pons_model *m = NULL;
    pons_quant_config quant = {0};
    PONS_CALLOC(st, m, 1);
    m->runtime = pons_runtime_plain();
    PONS_TRY(st, pons_store_locate(path, &m->path));
    if (pons_dir_exists(m->path))
        PONS_TRY(st, open_directory(m, &quant));
    else
        PONS_TRY(st, open_gguf(m));
    PONS_TRY(st, pons_model_find_tensors(m, &quant));
    *out = m;
    m = NULL;
done:
    pons_quant_config_free(&quant);
    pons_model_close(&m);
    return st;
}

pons_status pons_model_open_block(const char *shard, const pons_model_config *config, int64_t layer,
                                  pons_model **out)
{
    pons_status st = PONS_OK;
    pons_model *m = NULL;
    PONS_ASSERT(layer >= 0 && layer < config->layers);
    PONS_CALLOC(st, m, 1);
    m->runtime = pons_runtime_plain();
    m->config = *config;
    m->path = pons_mem_strdup(shard);
    if (!m->path) {
        st = PONS_ERR_NOMEM;
        goto done;
    }
    PONS_TRY(st, pons_store_open(shard, &m->store));
    PONS_TRY(st, pons_model_find_block(m, layer));
    *out = m;
    m = NULL;
done:
    pons_model_close(&m);
    return st;
}

void pons_model_close(pons_model **model)
{
    pons_model *m = *model;
    if (!m) return;
    pons_mem_free(m->gain);
    pons_mem_free(m->linear);
    pons_store_close(&m->transforms);
    pons_store_close(&m->store);
    pons_mem_free(m->path);
    pons_mem_free(m);
    *model = NULL;
}

const pons_model_config *pons_model_get_config(const pons_model *model) { return &model->config; }
const char *pons_model_path(const pons_model *model) { return model->path; }
const pons_runtime *pons_model_runtime(const pons_model *model) { return &model->runtime; }
const pons_store *pons_model_store(const pons_model *model) { return model->store; }
bool pons_model_is_packed(const pons_model *model) { return model->packed; }

void pons_model_linear_format(const pons_model *model, int64_t layer, int linear, int *bits,
                              int64_t *groups, bool *symmetric)
{
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    *bits = t->bits;
    *groups = t->groups;
    *symmetric = !t->zero;
}

int pons_model_linear_bits(const pons_model *model, int64_t layer, int linear)
{
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    return t->packed ? t->bits : pons_dtype_bits(t->weight->dtype);
}

static int64_t bytes_of(const pons_tensor_view *t)
{
    return t ? (int64_t)pons_dtype_bytes(t->dtype, pons_tensor_elements(t)) : 0;
}

int64_t pons_model_bytes(const pons_model *model)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < pons_store_count(model->store); i++)
        bytes += bytes_of(pons_store_at(model->store, i));
    return bytes;
}

int64_t pons_model_linear_bytes(const pons_model *model, int64_t layer, int linear)
{
    const pons_linear_tensors *t = pons_model_linear(model, layer, linear);
    return bytes_of(t->weight) + bytes_of(t->packed) + bytes_of(t->shape) + bytes_of(t->scale) +
           bytes_of(t->zero);
}
